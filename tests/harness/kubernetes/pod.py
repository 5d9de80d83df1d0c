# SPDX-License-Identifier: Apache-2.0
"""A pod of the chart's Deployment, set up as kubelet and network do it: an address, the projected volume in the
kubelet's layout, the account's token, the cluster's DNS, the image's user, and a network namespace, which is connected
to the cluster's and to ours. There is no image: the server is the one that was built."""

import base64
import json
import pathlib
import shutil
import subprocess
import tempfile

from tests.harness.commands import outcome_of, output_of
from tests.harness.culvert_program import Server
from tests.harness.kubernetes import chart
from tests.harness.kubernetes.api_server import end
from tests.harness.program import Program


USER = 65532
ACCOUNT_FOLDER = "/run/secrets/kubernetes.io"  # /var/run is a link to /run
# Arguments: the pod's name, its resolv.conf, the account's folder, the program, the path at which to mount it, the
# command.
ENTER = f"""
set -e
hostname "$1"
mount --bind "$2" /etc/resolv.conf
mount -t tmpfs none /run
mkdir -p /run/culvert {ACCOUNT_FOLDER}
chown {USER} /run/culvert
ln -s "$3" {ACCOUNT_FOLDER}/serviceaccount
mount --bind "$4" "$5"
shift 5
exec setpriv --reuid={USER} --regid={USER} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all -- "$@"
"""


class Pod:
    """close() ends everything except the server, which is a Program of the test."""

    def __init__(self, cluster, case, deployment):
        self.cluster, self.api, self.case, self.processes = cluster, cluster.api, case, []
        self.template = deployment["spec"]["template"]["spec"]
        self.name = deployment["metadata"]["name"] + "-5d4f8c7b9-x2x7k"
        number = cluster.network.split(".")[-1]
        self.space, self.address = f"culvert-pod-{number}", f"10.232.{number}.2"
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pod-", dir=case.folder))
        self.folder.chmod(0o755)
        self.volume, self.account, self.binary = (self.folder / name for name in ("etc", "account", "culvert-server"))
        self.swaps = 0
        self.make_network(number)
        self.make_account()
        self.binary.touch()
        self.volume.mkdir()
        self.sync()

    def close(self):
        for process in self.processes:
            end(process, kill=True)
        if self.space:
            output_of("ip", "netns", "del", self.space)
        self.processes, self.space = [], None

    def make_network(self, number):
        output_of("ip", "netns", "add", self.space)
        for peer, name, network in ((None, "outside", 232), (self.cluster.space, "services", 233)):
            there = ["ip", "-n", peer] if peer else ["ip"]
            output_of(*there, "link", "add", f"pod-{number}", "type", "veth", "peer", "name", name, "netns", self.space)
            output_of(*there, "address", "add", f"10.{network}.{number}.1/24", "dev", f"pod-{number}")
            output_of(*there, "link", "set", f"pod-{number}", "up")
            output_of("ip", "-n", self.space, "address", "add", f"10.{network}.{number}.2/24", "dev", name)
            output_of("ip", "-n", self.space, "link", "set", name, "up")
        output_of("ip", "-n", self.space, "link", "set", "lo", "up")
        output_of("ip", "-n", self.space, "route", "add", f"{self.cluster.network}.0/24", "via", f"10.233.{number}.1")
        # The API server is on our loopback: a pair of relays brings it to the pod's.
        relay_socket = self.folder / "api.sock"
        for command in (["socat", f"UNIX-LISTEN:{relay_socket},fork", f"TCP:127.0.0.1:{self.api.port}"],
                        ["ip", "netns", "exec", self.space, "socat", "TCP-LISTEN:6443,bind=127.0.0.1,fork,reuseaddr",
                         f"UNIX-CONNECT:{relay_socket}"]):
            self.processes.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL))

    def make_account(self):
        self.account.mkdir()
        (self.account / "namespace").write_text(chart.NAMESPACE)
        (self.account / "token").write_text(self.api.token(self.template["serviceAccountName"], chart.NAMESPACE))
        shutil.copy(self.api.ca, self.account / "ca.crt")

    # --- the volume ---------------------------------------------------------------------------------------------------

    def sync(self):
        """Updates the volume atomically: writes a new folder and swaps the link ..data."""
        (projected,) = [volume["projected"] for volume in self.template["volumes"] if volume["name"] == "config"]
        self.swaps += 1
        fresh, link = self.volume / f"..{self.swaps}", self.volume / "..data_tmp"
        for path, content in self.files_of(projected["sources"]).items():
            (fresh / path).parent.mkdir(parents=True, exist_ok=True)
            (fresh / path).write_bytes(content)
            (fresh / path).chmod(projected["defaultMode"])
            shutil.chown(fresh / path, group=self.template["securityContext"]["fsGroup"])
        link.symlink_to(fresh.name)
        link.rename(self.volume / "..data")
        names = {each.name for each in fresh.iterdir()}
        for name in names - {each.name for each in self.volume.iterdir()}:
            (self.volume / name).symlink_to(pathlib.Path("..data") / name)
        for old in self.volume.iterdir():
            if not old.name.startswith("..") and old.name not in names:
                old.unlink()
        if self.swaps > 1:
            shutil.rmtree(self.volume / f"..{self.swaps - 1}")

    def files_of(self, sources):
        files = {}
        for source in sources:
            ((kind, what),) = source.items()
            text = self.api.kubectl("get", kind.lower(), what["name"], f"--namespace={chart.NAMESPACE}",
                                    "--output=json",
                                    status=None if what.get("optional") else 0)
            if what.get("optional") and "NotFound" in text:
                continue
            data = json.loads(text)["data"]
            files |= {item["path"]: base64.b64decode(data[item["key"]])
                      if kind == "secret" else data[item["key"]].encode()
                      for item in what["items"]}
        return files

    # --- processes ----------------------------------------------------------------------------------------------------

    def command(self, *arguments):
        """The command that runs the server with these arguments in the pod."""
        environment = ["KUBERNETES_SERVICE_HOST=127.0.0.1", "KUBERNETES_SERVICE_PORT=6443"]
        return ["ip", "netns", "exec", self.space, "env", "-i", *environment, "unshare", "--mount", "--uts", "sh", "-c",
                ENTER, "sh",
                self.name, self.cluster.resolv_conf, self.account, Server.binary(), self.binary,
                self.binary, *arguments, "--config", self.volume / "server.toml"]

    def check(self):
        return outcome_of(*self.command("--check"), seconds=30)

    def start(self):
        self.server = Program(self.case, "server", self.command()).start()
        return self.server

    def execute(self, *arguments):
        """Runs the server's program in the running container, as `kubectl exec` does."""
        return output_of("nsenter", f"--target={self.server.process.pid}", "--mount", "--net", "setpriv",
                         f"--reuid={USER}", f"--regid={USER}", "--clear-groups", self.binary, *arguments, "--config",
                         self.volume / "server.toml")
