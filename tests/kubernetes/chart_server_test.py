# SPDX-License-Identifier: Apache-2.0
"""The server in the pod of the chart's Deployment: with the ConfigMap and the Secret that the API returns, in the
kubelet's layout, with the chart's account, its token and its rights. A change of either takes effect without a
restart."""

import json
import os
import re
import shlex
import socket
import subprocess
import unittest
import urllib.error
import urllib.request

from tests.harness.case import Case
from tests.harness.certificates import TRUST_DOMAIN, Authority, Credentials
from tests.harness.culvert_program import ACCOUNT, Agent
from tests.harness.environment import ROOT
from tests.harness.kubernetes import chart, program_cache
from tests.harness.kubernetes.cluster import MAPPINGS, NAMESPACE
from tests.harness.kubernetes.cluster_case import ClusterCase, answer_of, mapping
from tests.harness.kubernetes.pod import Pod
from tests.harness.program import Program
from tests.harness.waiting import wait_until

VALUES = ["--set", f"config.tunnel.trust_domain={TRUST_DOMAIN}", "--set", "external.host=tunnel.example.com", "--set",
          "drainSeconds=5",
          "--set", f"config.kubernetes.account={ACCOUNT}", "--set", f"config.http_proxy.account={ACCOUNT}",
          "--set", "config.http_proxy.allow_from={10.232.0.0/16}", "--set",
          "config.on_premise_services.allow_from={10.232.0.0/16}"]


def ask(stream):
    """One request on a connection that stays open."""
    stream.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    received = b""
    while not received.endswith(b"\r\n\r\none"):
        data = stream.recv(4096)
        if not data:
            break
        received += data
    return received.rpartition(b"\r\n\r\n")[2].decode()


class ChartCase(ClusterCase):
    chart_values = None  # The test installs everything itself.

    def setUp(self):
        Case.setUp(self)

    def helm(self, command, *arguments):
        return self.api.kubectl(command, *arguments, f"--namespace={NAMESPACE}", program=chart.helm(), seconds=120)

    def install(self, *values):
        self.helm("install", "culvert", chart.CHART, *values)
        self.addCleanup(self.helm, "uninstall", "culvert")

    def write_secret(self, credentials, name="culvert-tls"):
        self.api.kubectl("apply", "--filename=-", input=self.api.kubectl(
            "create", "secret", "generic", name, f"--namespace={NAMESPACE}", "--dry-run=client", "--output=yaml",
            f"--from-file=tls.crt={credentials.certificate}", f"--from-file=tls.key={credentials.private_key}",
            f"--from-file=ca.crt={credentials.ca}"))

    def make_pod(self, deployment=None):
        deployment = deployment or json.loads(
            self.api.kubectl("get", "deployment", "culvert-server", f"--namespace={NAMESPACE}", "--output=json"))
        self.pod = Pod(self.cluster, self, deployment)
        self.addCleanup(self.pod.close)
        self.container = deployment["spec"]["template"]["spec"]["containers"][0]

    def probe(self, name):
        """Probes as the kubelet does, from the node."""
        asked = self.container[name]["httpGet"]
        (port,) = [each["containerPort"] for each in self.container["ports"] if each["name"] == asked["port"]]
        try:
            return urllib.request.urlopen(f"http://{self.pod.address}:{port}{asked['path']}", timeout=5).status
        except urllib.error.HTTPError as error:
            return error.code

    def start(self):
        self.pod.start()
        wait_until(lambda: self.probe("startupProbe") == 200, 20, "the server to have started")
        wait_until(lambda: self.probe("readinessProbe") == 200, 20, "it to be ready")


class ChartServer(ChartCase):

    def setUp(self):
        super().setUp()
        self.addCleanup(self.api.kubectl, "delete", MAPPINGS, "--all")
        self.authority = Authority(self.folder / "certificates")
        self.write_secret(self.authority.server("tunnel.example.com"))

    def assert_checks(self):
        status, said = self.pod.check()
        self.assertEqual(status, 0, said)

    def start_agent(self, *services):
        """Starts an agent outside the cluster. Returns the ports of its channels."""
        agent = Agent(self)
        credentials = self.authority.agent()
        agent.tables["server"].append({"address": f"{self.pod.address}:8042", "server_name": "tunnel.example.com",
                                       "ca": credentials.ca,
                                       "certificate": credentials.certificate, "private_key": credentials.private_key})
        channels = [agent.channel(8042, service) for service in services]
        for channel in agent.tables["channel"]:
            channel["endpoint"] = channel["endpoint"].replace("127.0.0.1", self.pod.address)
        agent.start().wait_until_ready()
        self.agent = agent
        return channels

    def sync(self, event):
        """Swaps the volume as the kubelet does, and waits for the server's log line."""
        before = self.pod.server.output().count(event)
        self.pod.sync()
        wait_until(lambda: self.pod.server.output().count(event) > before, 10, f"{event} in the log")

    def test_it_runs_with_the_charts_configuration_and_rights(self):
        self.install(*VALUES)
        self.make_pod()
        self.assert_checks()
        self.start()
        (channel,) = self.start_agent("web")
        self.cluster.apply(mapping("sm", "one.test:80", "web"))
        self.assert_reaches(channel, "one")
        self.api.kubectl("wait", "--for=condition=Ready", "--timeout=20s", MAPPINGS, "sm")
        self.assertEqual(self.mapping("sm")["status"]["endpoint"], "tcp://tunnel.example.com:443/web")
        status = json.loads(self.pod.execute("status", "--json"))
        self.assertEqual([each["writes_status"] for each in status["kubernetes"]], [True])
        lease = self.api.kubectl("get", "lease", "culvert-server", f"--namespace={NAMESPACE}",
                                 "--output=jsonpath={.spec.holderIdentity}")
        self.assertEqual(lease, self.pod.name)
        self.assertEqual(self.probe("livenessProbe"), 200)
        self.assertNotIn("kubernetes.refused", self.pod.server.output(),
                         "no request that its roles do not allow")
        self.agent.stop()
        self.assertEqual(self.pod.server.stop(), 0)

    def test_a_change_takes_effect_without_a_restart(self):
        self.install(*VALUES)
        self.make_pod()
        self.start()
        old, new = self.start_agent("old", "new")
        self.cluster.apply(mapping("sm", "one.test:80", "old"))
        self.assert_reaches(old, "one")
        process = self.pod.server.process.pid
        with socket.create_connection(("127.0.0.1", old), timeout=10) as stream:
            self.assertEqual(ask(stream), "one")

            # The ConfigMap.
            more = f'[[service_mapping]]\naccount = "{ACCOUNT}"\nservice_id = "new"\ninternal_address = "two.test:80"'
            self.helm("upgrade", "culvert", chart.CHART, *VALUES, "--set-string", f"extraConfig={more}")
            self.assertIsNone(answer_of(new), "nothing has happened in the pod yet")
            self.sync('"event":"reloaded"')
            self.assert_reaches(new, "two", 2)
            self.assertEqual(ask(stream), "one", "open connections stay")

            # The Secret.
            renewed = self.authority.server("tunnel.example.com", file="renewed")
            self.assertNotEqual(self.shown_serial(), renewed.serial())
            self.write_secret(renewed)
            self.sync('"event":"reloaded"')
            self.assertEqual(self.shown_serial(), renewed.serial())
            self.assertEqual(ask(stream), "one")

            # A mistake changes nothing.
            self.helm("upgrade", "culvert", chart.CHART, *VALUES, "--set-string", "extraConfig=nonsense = 1")
            self.sync('"event":"reload.refused"')
            self.assert_reaches(new, "two", 2)
            self.assertEqual(ask(stream), "one")
        self.assertEqual((self.pod.server.process.pid, self.pod.server.is_running()), (process, True))
        self.agent.stop()

    def shown_serial(self):
        """The serial of the certificate that the tunnel's port presents. A client sees it without a certificate of its
        own."""
        shown = subprocess.run(["openssl", "s_client", "-connect", f"{self.pod.address}:8042", "-alpn", "culvert/1"],
                               stdin=subprocess.DEVNULL,
                               capture_output=True, text=True, timeout=20, check=False).stdout
        path = self.folder / "shown.pem"
        path.write_text(shown)
        return Credentials(path, None, None).serial()

    def test_each_value_set_gives_a_valid_configuration(self):
        for path in [None, *chart.VALUE_SETS]:
            with self.subTest(values=path and path.stem):
                objects = chart.render(*(["--values", path] if path else []), "--kube-version", "1.20")
                deployment = chart.named(objects, "Deployment")
                named = deployment["metadata"]["name"].removesuffix("-server")
                self.write_secret(self.authority.server("tunnel.example.com"), f"{named}-tls")
                self.write_secret(Credentials(self.authority.ca, self.authority.key, self.authority.ca), "culvert-ca")
                needed = [each for each in objects if each["kind"] in ("ServiceAccount", "ConfigMap")]
                self.cluster.apply(*needed)
                self.make_pod(deployment)
                try:
                    self.assert_checks()
                finally:
                    self.pod.close()
                self.api.kubectl("delete", "--filename=-", input={"apiVersion": "v1", "kind": "List", "items": needed})


class Guide(ChartCase):
    """The commands of docs/kubernetes.md, from the installation to the removal of an agent, as they are written there.
    The pod stands for what Kubernetes would make of the Deployment, and a relay for the load balancer."""

    def setUp(self):
        super().setUp()
        self.place = self.folder / "checkout"
        self.place.mkdir()
        for name in ("scripts", "packaging"):
            (self.place / name).symlink_to(ROOT / name)
        self.hosts = self.folder / "hosts"

    # --- the guide ----------------------------------------------------------------------------------------------------

    def blocks(self, section, language):
        (text,) = re.findall(rf"^## {section}\n(.*?)^## ", (ROOT / "docs/kubernetes.md").read_text(), re.M | re.S)
        return [block for kind, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S) if kind == language]

    def commands(self, block):
        lines = block.replace("\\\n", " ").splitlines()
        return [line for line in lines if line and not line.startswith("#")]

    def shell(self, command, status=0):
        path = f"{self.api.programs}:{program_cache.newer_tools()}:{os.environ['PATH']}"
        answer = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=self.place, stdin=subprocess.DEVNULL,
                                env={"PATH": path, "KUBECONFIG": str(self.api.kubeconfig), "HOME": str(self.folder)},
                                capture_output=True, text=True, timeout=120, check=False)
        if status is not None:
            self.assertEqual(answer.returncode, status, f"{command}\n{answer.stdout}{answer.stderr}")
        return answer.stdout

    # --- what Kubernetes and the network do ---------------------------------------------------------------------------

    def run_the_pod(self):
        self.make_pod()
        self.start()
        # The name leads to the load balancer, whose port is external.port.
        address = f"127.42.{self.cluster.network.split('.')[-1]}.1"
        self.hosts.write_text(f"{address} tunnel.example.com\n")
        relay = Program(self, "relay", ["socat", f"TCP-LISTEN:443,bind={address},fork,reuseaddr",
                                        f"TCP:{self.pod.address}:8042"])
        relay.start()

    def with_hosts(self, command):
        script = 'mount --bind "$0" /etc/hosts && exec "$@"'
        return ["unshare", "--mount", "sh", "-c", script, *map(str, [self.hosts, *command])]

    # --- the test -----------------------------------------------------------------------------------------------------

    def test_the_guide_for_agents_word_by_word(self):
        self.install_as_the_guide_says()
        agent = Agent(self)
        object_of_guide, *_ = self.blocks("Agents", "yaml")
        (self.place / "gate-1.yaml").write_text(object_of_guide)
        give_token, watch, change = (self.commands(block) for block in self.blocks("Agents", "sh"))
        (shown,) = self.blocks("Agents", "")

        apply, get_token = give_token
        self.shell(apply)
        token = wait_until(lambda: self.shell(get_token, status=None), 10, "the token")
        agent.write()
        said = self.command(*self.with_hosts([agent.binary(), "--config", agent.config, "join", "--directory",
                                              self.folder / "identity"]), input=token.encode(), stdin=None)
        self.assertIn("joined as spiffe://example.com/account/acme/location/plant-1/agent/gate-1", said)
        agent.command = self.with_hosts(agent.command)
        agent.start()

        wait, get = watch
        self.shell(wait)
        header, row = self.shell(get).splitlines()
        expected_header, expected_row = shown.splitlines()
        self.assertEqual(header.split(), expected_header.split())
        self.assertEqual(row.split()[:4], expected_row.split()[:4])

        disable, enable, rejoin, delete = change
        self.shell(disable)
        agent.wait_for_output("code=tunnel.agent_disabled")
        self.shell(enable)
        agent.wait_until_ready(30)
        self.shell(wait)
        self.shell(rejoin)
        another = wait_until(lambda: self.shell(get_token, status=None), 10, "another token")
        self.assertNotEqual(another, token)
        self.shell(delete)
        agent.wait_for_output("code=tunnel.not_enrolled")
        agent.stop()
        self.assertEqual(self.pod.server.stop(), 0)

    def install_as_the_guide_says(self):
        commands = self.commands(self.blocks("Install", "sh")[0])
        self.addCleanup(self.helm, "uninstall", "culvert", "--ignore-not-found")
        done = [" ".join(shlex.split(command)[:2]) for command in commands]
        self.assertEqual((done[0], done[-2:]), ("kubectl create", ["helm install", "kubectl --namespace"]))
        for command in commands[1:-1]:  # The namespace is there.
            self.shell(command)
        self.run_the_pod()
        _, inside = commands[-1].split(" -- /usr/bin/culvert-server ")
        self.assertIn("replica", self.pod.execute(*shlex.split(inside)))


if __name__ == "__main__":
    unittest.main(verbosity=2)
