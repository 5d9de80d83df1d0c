# SPDX-License-Identifier: Apache-2.0
"""culvert-server's image: its format, its content, and that it runs the demo under a runtime, as its own user, on a
read-only root. Needs root; `scripts/test --image` runs it."""

import errno
import gzip
import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tarfile
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
from tests.harness import certificates, container
from tests.harness.case import Case
from tests.harness.container import CLIENTS, INSIDE, OUTSIDE, PROXY, TUNNEL
from tests.harness.culvert_program import Agent
from tests.harness.hardening import missing_hardening
from tests.harness.ports import free_port
from tests.harness.program import Program
from tests.harness.tcp_server import echo, serve
from tests.harness.token_issuer import Issuer
from tests.harness.waiting import wait_until


MEBIBYTES_MAX = 40
NAME = "registry.example/culvert-server:trial"
PORTS = {"8042/tcp", "20003/tcp", "20004/tcp", "9494/tcp"}
ENTRY_POINT = ["/usr/bin/culvert-server", "--config", "/etc/culvert/server.toml"]
ECHO, KEYS = "echoserver.shop.svc.cluster.local", "keys.shop.svc.cluster.local"
MEDIA = "application/vnd.oci.image"
FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="culvert-image-"))
ARCHIVE = FOLDER / "image.tar"


def make(archive):
    answer = subprocess.run([ROOT / "scripts/image", "--out", archive, "--name", NAME], stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, timeout=3000, check=False)
    assert answer.returncode == 0, answer.stdout
    return answer.stdout


class Made(unittest.TestCase):
    """The image that scripts/image writes."""

    def setUp(self):
        with tarfile.open(ARCHIVE) as tar:
            self.files = {member.name: tar.extractfile(member).read() for member in tar}
        self.manifest_descriptor = json.loads(self.files["index.json"])["manifests"][0]
        self.manifest = json.loads(self.blob(self.manifest_descriptor))
        self.config = json.loads(self.blob(self.manifest["config"]))
        self.layer = gzip.decompress(self.blob(self.manifest["layers"][0]))
        with tarfile.open(fileobj=io.BytesIO(self.layer)) as tar:
            self.inside = {member.name: member for member in tar}

    def blob(self, descriptor):
        return self.files["blobs/" + descriptor["digest"].replace(":", "/")]

    def test_it_is_small(self):
        self.assertLess(ARCHIVE.stat().st_size, MEBIBYTES_MAX << 20)

    def test_a_second_run_gives_the_same_bytes(self):
        make(FOLDER / "again.tar")
        self.assertEqual(hashlib.sha256((FOLDER / "again.tar").read_bytes()).digest(),
                         hashlib.sha256(ARCHIVE.read_bytes()).digest())

    def test_the_layout_is_complete(self):
        self.assertEqual(json.loads(self.files["oci-layout"]), {"imageLayoutVersion": "1.0.0"})
        for path, content in self.files.items():
            if path.startswith("blobs/"):
                self.assertEqual(path, "blobs/sha256/" + hashlib.sha256(content).hexdigest())
        for descriptor, media_type in ((self.manifest_descriptor, "manifest.v1+json"),
                                       (self.manifest["config"], "config.v1+json"),
                                       (self.manifest["layers"][0], "layer.v1.tar+gzip")):
            self.assertEqual((descriptor["mediaType"], descriptor["size"]),
                             (f"{MEDIA}.{media_type}", len(self.blob(descriptor))))
        self.assertEqual(self.config["rootfs"], {"type": "layers",
                                                 "diff_ids": [f"sha256:{hashlib.sha256(self.layer).hexdigest()}"]})
        self.assertEqual(len(self.files), 3 + 3, self.files.keys())

    def test_it_has_the_requested_name(self):
        """For podman and containerd, for tools for a layout, for Docker before 25."""
        self.assertEqual(self.manifest_descriptor["annotations"],
                         {"io.containerd.image.name": NAME, "org.opencontainers.image.ref.name": "trial"})
        self.assertEqual(json.loads(self.files["manifest.json"])[0]["RepoTags"], [NAME])

    def test_it_has_the_settings_to_start_it(self):
        settings = self.config["config"]
        self.assertEqual((settings["User"], settings["Entrypoint"], set(settings["ExposedPorts"])),
                         ("65532:65532", ENTRY_POINT, PORTS))
        self.assertEqual(settings["Labels"]["org.opencontainers.image.version"], (ROOT / "VERSION").read_text().strip())
        self.assertNotIn("Env", settings)

    def test_nothing_inside_helps_an_attacker(self):
        """No shell, no tool, nothing that gives privileges, nothing that its user could write."""
        executable = {name for name, member in self.inside.items() if member.isfile() and member.mode & 0o111}
        others = {name for name in executable if not re.search(r"/(ld-linux[^/]*|lib[^/]*)\.so[.\d]*$", name)}
        self.assertEqual(others, {"usr/bin/culvert-server"})
        for name, member in self.inside.items():
            self.assertTrue(member.isfile() or member.isdir() or member.issym(), name)
            self.assertEqual((member.uid, member.gid), (0, 0), name)
            if not member.issym():
                self.assertEqual(member.mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IWGRP | stat.S_IWOTH), 0, name)

    def test_the_program_is_hardened_as_the_package_is(self):
        self.assertEqual(missing_hardening(FOLDER / "bundle/rootfs/usr/bin/culvert-server"), [])

    def test_each_library_brings_its_licence(self):
        licences = {name.split("/")[3] for name in self.inside if re.fullmatch(r"usr/share/doc/[^/]+/copyright", name)}
        self.assertLessEqual({"culvert", "libc6", "libssl3", "libstdc++6", "libboost1.81-dev", "libcjose0",
                              "ca-certificates"}, licences)
        known = {name.removeprefix("var/lib/dpkg/status.d/")
                 for name in self.inside if name.startswith("var/lib/dpkg/status.d/")}
        self.assertEqual(known, licences - {"culvert"})

    def test_only_the_authorities_of_the_package_are_trusted(self):
        bundle = (FOLDER / "bundle/rootfs/etc/ssl/certs/ca-certificates.crt").read_text()
        self.assertEqual(bundle.count("BEGIN CERTIFICATE"),
                         len(list(pathlib.Path("/usr/share/ca-certificates/mozilla").glob("*.crt"))))


class Runs(Case):
    """The demo: a real agent outside of the container, a channel, a virtual host through the proxy."""

    @classmethod
    def setUpClass(cls):
        cls.network = container.Network()
        cls.addClassCleanup(cls.network.close)

    def setUp(self):
        super().setUp()
        names = self.folder / "names.json"
        names.write_text(json.dumps({"echoserver.shop": [OUTSIDE], "keys.shop": [OUTSIDE]}))
        self.start_listening(OUTSIDE, 53, ROOT / "tests/harness/kubernetes/name_server.py", OUTSIDE, names)
        self.public = certificates.Authority(self.folder / "public", "public")
        self.issuer = Issuer(self, self.public.server(KEYS), OUTSIDE)
        self.authority = authority = certificates.Authority(self.folder / "certificates")
        self.server = container.ContainerServer(self, FOLDER / "bundle", self.network, authority.server(),
                                                self.public.ca)
        self.agent = Agent(self)
        self.agent.connect(self.server.port, authority.agent(), address=f"{INSIDE}:{TUNNEL}")
        self.channel = self.to_cloud("echo", f"{ECHO}:{self.back_end('echoserver.test', OUTSIDE)}")

    def to_cloud(self, service_id, address):
        self.server.tables["service_mapping"].append({"account": "acme", "service_id": service_id,
                                                      "internal_address": address})
        return self.agent.channel(self.server.port, service_id, endpoint=f"tcp://{INSIDE}:{TUNNEL}/{service_id}")

    def back_end(self, host, address):
        port = free_port()
        self.start_listening(address, port, ROOT / "scripts/demo_backend.py", port, host, address)
        return port

    def start_listening(self, address, port, *command):
        """Starts a Python program and waits until it listens."""
        program = Program(self, f"{command[0].stem}-{port}", [sys.executable, "-B", *command]).start()
        wait_until(lambda: socket.create_connection((address, port), timeout=2).close() or True, 15, program.name)

    def start(self):
        self.server.start().wait_until_ready()
        self.agent.start().wait_until_ready()

    def curl(self, *arguments):
        return self.command("curl", "--silent", "--show-error", "--include", "--max-time", 10, "--noproxy", "",
                            *arguments)

    def assert_channel_serves(self, port):
        answer = self.curl(f"http://localhost:{port}/test", "--header", "Host: echoserver.test")
        self.assertRegex(answer, "(?s)^HTTP/1.1 200 .*seen by the back end echoserver.test")

    def test_the_demo(self):
        filed = self.to_cloud("filed", f"filed.test:{self.back_end('echoserver.test', OUTSIDE)}")
        self.server.tables["http_proxy"] = {"listen": f"0.0.0.0:{PROXY}", **CLIENTS}
        url = self.issuer.url.replace("localhost", KEYS)
        self.server.tables["http_proxy.issuer"] = [{**self.issuer.settings(), "jwks_url": url}]
        self.agent.web("erp:80", self.back_end("erp", "127.0.0.1"))
        self.start()
        # One channel leads to a name in DNS, and one to a name that only /etc/hosts has.
        self.assert_channel_serves(self.channel)
        self.assert_channel_serves(filed)
        # The proxy leads to a virtual host. The keys of its tokens come from a server with a certificate of a public
        # authority.
        authorization = f"Proxy-Authorization: Bearer {self.issuer.token()}"
        answer = self.curl("--proxy", f"http://{INSIDE}:{PROXY}", "--proxy-header", authorization, "http://erp/test")
        self.assertRegex(answer, "(?s)^HTTP/1.1 200 .*seen by the back end erp")
        self.assertGreater(self.issuer.asked, 0)
        self.assertEqual([self.server.http(path)[0] for path in ("/healthz", "/readyz", "/metrics")], [200] * 3)

    def test_it_is_confined(self):
        self.start()
        process = self.server.process_folder()
        state = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
        self.assertEqual((state["Uid"].split(), state["Gid"].split()), (["65532"] * 4, ["65532"] * 4))
        self.assertEqual((state["CapEff"], state["CapBnd"], state["NoNewPrivs"]), ("0" * 16, "0" * 16, "1"))
        self.assertEqual((process / "cmdline").read_text().split("\0")[:-1], ENTRY_POINT)
        for place in ("written", "usr/bin/written", "etc/culvert/written"):
            with self.assertRaises(OSError, msg=place) as caught:
                (process / "root" / place).write_text("not even root can")
            self.assertEqual(caught.exception.errno, errno.EROFS)
        for shell in ("/bin/sh", "/usr/bin/sh", "/bin/bash", "/bin/busybox"):
            self.assertNotEqual(self.server.execute(shell, "-c", "echo here")[0], 0)

    def test_it_reports_its_status_inside(self):
        self.start()
        status, said = self.server.execute("/usr/bin/culvert-server", "status", "--json")
        self.assertEqual(status, 0, said)
        self.assertEqual(json.loads(said)["version"], (ROOT / "VERSION").read_text().strip())

    def test_agents_join_it_and_are_kept_in_a_volume(self):
        state = self.folder / "state"
        state.mkdir(0o700)
        shutil.chown(state, container.USER, container.USER)
        self.server.volumes["/var/lib/culvert-server"] = state
        self.server.enrol(self.authority, f"{INSIDE}:{TUNNEL}")
        self.server.start().wait_until_ready()
        status, token = self.server.execute("/usr/bin/culvert-server", "agents", "add", "one", "--account", "acme")
        self.assertEqual(status, 0, token)
        # As an agent in a container does: by itself, at its first start.
        file = self.folder / "token"
        file.touch(0o600)
        file.write_text(token)
        self.agent.tables["server"] = [{"address": f"{INSIDE}:{TUNNEL}", "server_name": "localhost",
                                        "identity": self.folder / "identity", "join_token_file": file}]
        for _ in range(2):
            self.agent.start().wait_until_ready()
            self.assert_channel_serves(self.channel)
            self.assertEqual(self.agent.stop(), 0)
            # The second time the token is not needed, and another container knows the agent.
            file.unlink(missing_ok=True)
            self.server.stop()
            self.server.start().wait_until_ready()
        self.assertEqual((state / "agents" / "one.json").stat().st_uid, container.USER)

    def test_it_drains_on_sigterm(self):
        echo_channel = self.to_cloud("echo-tcp", f"filed.test:{serve(self, echo, OUTSIDE)}")
        self.start()
        with socket.create_connection(("127.0.0.1", echo_channel), timeout=20) as open_stream:
            open_stream.sendall(b"before")
            self.assertEqual(open_stream.recv(100), b"before")
            self.server.send(signal.SIGTERM)
            wait_until(lambda: self.server.http("/readyz")[0] == 503, 10, "readyz to report the drain")
            open_stream.sendall(b"after")
            self.assertEqual(open_stream.recv(100), b"after")
        self.assertEqual(self.server.exit_status(), 0)


def setUpModule():
    if os.geteuid() != 0:
        raise AssertionError("the image is tested as root")
    unittest.addModuleCleanup(shutil.rmtree, FOLDER, ignore_errors=True)
    print(make(ARCHIVE))
    container.unpack(ARCHIVE, FOLDER)


if __name__ == "__main__":
    unittest.main(verbosity=2)
