# SPDX-License-Identifier: Apache-2.0
"""The server as its image starts it: under a real runtime, crun, with the configuration that umoci derives from the
image's own."""

import json
import os
import pathlib
import shutil
import subprocess
import tarfile

from tests.harness.commands import outcome_of, output_of
from tests.harness.culvert_program import Server
from tests.harness.toml_text import toml

USER = 65532
OUTSIDE, INSIDE = "10.232.78.1", "10.232.78.2"  # of a network between the container and this machine
TUNNEL, PROXY, METRICS = 8042, 20003, 9494
CLIENTS = {"allow_from": [f"{OUTSIDE}/32"]}
# crun refuses to run where cgroups are partly of version 1, though it needs none here: it gets a mount of version 2.
CRUN = ["unshare", "--mount", "sh", "-c",
        'mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec crun --cgroup-manager=disabled "$@"', "crun"]


def unpack(archive, folder):
    """Unpacks the archive's OCI layout into `folder`/layout and a bundle for a runtime into `folder`/bundle. Returns
    the bundle."""
    layout, bundle = folder / "layout", folder / "bundle"
    with tarfile.open(archive) as tar:
        tar.extractall(layout)
    tag = json.loads((layout / "index.json").read_text())["manifests"][0]["annotations"][
        "org.opencontainers.image.ref.name"]
    output_of("umoci", "unpack", "--image", f"{layout}:{tag}", bundle)
    return bundle


class Network:
    """A network namespace, connected to this machine."""

    def __init__(self):
        self.name, self.interface = f"culvert-image-{os.getpid()}", f"cv{os.getpid()}"
        output_of("ip", "netns", "add", self.name)
        output_of("ip", "link", "add", self.interface, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        output_of("ip", "addr", "add", f"{OUTSIDE}/24", "dev", self.interface)
        output_of("ip", "link", "set", self.interface, "up")
        for command in (["addr", "add", f"{INSIDE}/24", "dev", "eth0"], ["link", "set", "eth0", "up"],
                        ["link", "set", "lo", "up"]):
            output_of("ip", "-n", self.name, *command)

    def close(self):
        output_of("ip", "netns", "del", self.name)


class ContainerServer(Server):
    """The server in a container. Of this machine's files it sees its configuration, names, and `trusted`, in place of
    the public authorities."""

    host = INSIDE

    def __init__(self, case, bundle, network, credentials, trusted):
        super().__init__(case, credentials)
        self.bundle, self.network, self.metrics_port = bundle, network, METRICS
        mounted = case.folder / "mounted"
        (mounted / "tls").mkdir(parents=True)
        for source, name in ((credentials.certificate, "server.crt"), (credentials.private_key, "server.key"),
                             (credentials.ca, "ca.crt")):
            shutil.copy(source, mounted / "tls" / name)
        shutil.chown(mounted / "tls/server.key", USER)
        self.config = mounted / "server.toml"
        (case.folder / "resolv.conf").write_text(f"nameserver {OUTSIDE}\noptions timeout:1\n")
        (case.folder / "hosts").write_text(f"{OUTSIDE} filed.test\n")
        self.volumes = {}  # that the server may write: path inside -> folder
        self.mounts = {"/etc/culvert": mounted, "/etc/resolv.conf": case.folder / "resolv.conf",
                       "/etc/hosts": case.folder / "hosts",
                       "/etc/ssl/certs/ca-certificates.crt": trusted}
        del self.tables["admin"]  # It listens at the default.
        self.tables["tunnel"].update(listen=f"0.0.0.0:{TUNNEL}", certificate="tls/server.crt",
                                     private_key="tls/server.key", client_ca="tls/ca.crt")
        self.tables["metrics"] = {"listen": f"0.0.0.0:{METRICS}", **CLIENTS}
        self.crun = [*CRUN, "--root", str(case.folder / "crun")]
        self.id = case.folder.name
        self.command = [*self.crun, "run", "--bundle", str(bundle), "--config", str(case.folder / "config.json"),
                        self.id]

    def enrol(self, authority, address):
        """Lets agents join with a token. They dial `address`, which the server's certificate does not name."""
        tls = self.config.parent / "tls"
        shutil.copy(authority.key, tls / "ca.key")
        shutil.chown(tls / "ca.key", USER)
        del self.tables["tunnel"]["client_ca"]
        self.tables["enrolment"] = {"authority_certificate": "tls/ca.crt", "authority_key": "tls/ca.key",
                                    "addresses": [address], "server_name": "localhost"}

    def runtime_config(self):
        """The image's configuration, with what Kubernetes' pod security `restricted` and a read-only root add to it."""
        config = json.loads((self.bundle / "config.json").read_text())
        config["root"] = {"path": str(self.bundle / "rootfs"), "readonly": True}
        config["process"].update(terminal=False, noNewPrivileges=True, capabilities={})
        next(each
             for each in config["linux"]["namespaces"]
             if each["type"] == "network")["path"] = f"/run/netns/{self.network.name}"
        config["mounts"] = [each for each in config["mounts"] if each["type"] != "cgroup"]
        config["mounts"] += [{"destination": path, "type": "bind", "source": str(source), "options": ["rbind", "ro"]}
                             for path, source in self.mounts.items()]
        config["mounts"] += [{"destination": path, "type": "bind", "source": str(source), "options": ["rbind", "rw"]}
                             for path, source in self.volumes.items()]
        config["mounts"] += [{"destination": "/run/culvert", "type": "tmpfs", "source": "tmpfs",
                              "options": [f"uid={USER}", "mode=0700"]}]
        return config

    def write(self):
        self.config.write_text(toml(self.tables))

    def start(self):
        (self.case.folder / "config.json").write_text(json.dumps(self.runtime_config()))
        return super().start()

    def process_folder(self):
        """The folder of the server's process in this machine's /proc."""
        return pathlib.Path("/proc") / str(json.loads(output_of(*self.crun, "state", self.id))["pid"])

    def execute(self, *command):
        """Runs a program inside as the server's user, as `podman exec` and `kubectl exec` do: (exit status, output)."""
        return outcome_of(*self.crun, "exec", "--user", f"{USER}:{USER}", self.id, *command)

    def send(self, number):
        subprocess.run([*self.crun, "kill", self.id, str(int(number))], check=False, capture_output=True)

    def kill(self):
        subprocess.run([*self.crun, "delete", "--force", self.id], check=False, capture_output=True)
        super().kill()
