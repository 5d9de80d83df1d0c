# SPDX-License-Identifier: Apache-2.0
"""The server as its image starts it: under a real runtime, crun, with the configuration that a real tool, umoci, makes of the image's own."""

import json
import os
import pathlib
import shutil
import subprocess
import tarfile

from culvert import Server, toml

USER = 65532
OUTSIDE, INSIDE = "10.232.78.1", "10.232.78.2"  # of a network that only the container and this machine are in
TUNNEL, PROXY, METRICS = 8042, 20003, 9494
CLIENTS = {"allow_from": [f"{OUTSIDE}/32"]}
# crun refuses cgroups that are partly of version 1, which this machine may have though none is asked of it: it gets a view of its own.
CRUN = ["unshare", "--mount", "sh", "-c", 'mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec crun --cgroup-manager=disabled "$@"', "crun"]


def run(*command):
    return subprocess.run([str(part) for part in command], stdin=subprocess.DEVNULL, check=True, capture_output=True, text=True).stdout


def unpack(archive, folder):
    """The archive's OCI layout in `folder`/layout, and a bundle of it for a runtime in `folder`/bundle."""
    layout, bundle = folder / "layout", folder / "bundle"
    with tarfile.open(archive) as tar:
        tar.extractall(layout)
    tag = json.loads((layout / "index.json").read_text())["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"]
    run("umoci", "unpack", "--image", f"{layout}:{tag}", bundle)
    return bundle


class Network:
    """A namespace with one cable to this machine."""

    def __init__(self):
        self.name, self.cable = f"culvert-image-{os.getpid()}", f"cv{os.getpid()}"
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", self.cable, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        run("ip", "addr", "add", f"{OUTSIDE}/24", "dev", self.cable)
        run("ip", "link", "set", self.cable, "up")
        for command in (["addr", "add", f"{INSIDE}/24", "dev", "eth0"], ["link", "set", "eth0", "up"], ["link", "set", "lo", "up"]):
            run("ip", "-n", self.name, *command)

    def close(self):
        run("ip", "netns", "del", self.name)


class Contained(Server):
    """Sees of this machine's files what a pod would: its configuration, names, and `trusted`, who stands for the public authorities."""

    host = INSIDE

    def __init__(self, case, bundle, network, credentials, trusted):
        super().__init__(case, credentials)
        self.bundle, self.network, self.metrics_port = bundle, network, METRICS
        mounted = case.folder / "mounted"
        (mounted / "tls").mkdir(parents=True)
        for source, name in ((credentials.certificate, "server.crt"), (credentials.private_key, "server.key"), (credentials.ca, "ca.crt")):
            shutil.copy(source, mounted / "tls" / name)
        shutil.chown(mounted / "tls/server.key", USER)
        self.config = mounted / "server.toml"
        (case.folder / "resolv.conf").write_text(f"nameserver {OUTSIDE}\noptions timeout:1\n")
        (case.folder / "hosts").write_text(f"{OUTSIDE} filed.test\n")
        self.mounts = {"/etc/culvert": mounted, "/etc/resolv.conf": case.folder / "resolv.conf", "/etc/hosts": case.folder / "hosts",
                       "/etc/ssl/certs/ca-certificates.crt": trusted}
        del self.tables["admin"]  # the default
        self.tables["tunnel"].update(listen=f"0.0.0.0:{TUNNEL}", certificate="tls/server.crt", private_key="tls/server.key", client_ca="tls/ca.crt")
        self.tables["metrics"] = {"listen": f"0.0.0.0:{METRICS}", **CLIENTS}
        self.crun = [*CRUN, "--root", str(case.folder / "crun")]
        self.id = case.folder.name
        self.command = [*self.crun, "run", "--bundle", str(bundle), "--config", str(case.folder / "config.json"), self.id]

    def runtime_config(self):
        """The image's, and what Kubernetes' pod security `restricted` and a read-only root add to it."""
        config = json.loads((self.bundle / "config.json").read_text())
        config["root"] = {"path": str(self.bundle / "rootfs"), "readonly": True}
        config["process"].update(terminal=False, noNewPrivileges=True, capabilities={})
        next(each for each in config["linux"]["namespaces"] if each["type"] == "network")["path"] = f"/run/netns/{self.network.name}"
        config["mounts"] = [each for each in config["mounts"] if each["type"] != "cgroup"]
        config["mounts"] += [{"destination": place, "type": "bind", "source": str(source), "options": ["rbind", "ro"]}
                             for place, source in self.mounts.items()]
        config["mounts"] += [{"destination": "/run/culvert", "type": "tmpfs", "source": "tmpfs", "options": [f"uid={USER}", "mode=0700"]}]
        return config

    def write(self):
        self.config.write_text(toml(self.tables))

    def start(self):
        (self.case.folder / "config.json").write_text(json.dumps(self.runtime_config()))
        return super().start()

    def process_folder(self):
        """Of the server, in this machine's /proc."""
        return pathlib.Path("/proc") / str(json.loads(run(*self.crun, "state", self.id))["pid"])

    def execute(self, *command):
        """(exit status, output) of a program inside, as the server's user, which is what `podman exec` and `kubectl exec` do."""
        command = [*self.crun, "exec", "--user", f"{USER}:{USER}", self.id, *command]
        answer = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)
        return answer.returncode, answer.stdout + answer.stderr

    def send(self, number):
        subprocess.run([*self.crun, "kill", self.id, str(int(number))], check=False, capture_output=True)

    def kill(self):
        subprocess.run([*self.crun, "delete", "--force", self.id], check=False, capture_output=True)
        super().kill()
