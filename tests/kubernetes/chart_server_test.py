# SPDX-License-Identifier: Apache-2.0
"""The server in the pod of the chart's Deployment: with the ConfigMap and the Secret that the API returns, in the
kubelet's layout, with the chart's account, its token and its rights. A change of either takes effect without a
restart."""

import json
import socket
import subprocess
import unittest
import urllib.error
import urllib.request

from tests.harness.case import Case
from tests.harness.certificates import TRUST_DOMAIN, Authority, Credentials
from tests.harness.culvert_program import ACCOUNT, Agent
from tests.harness.kubernetes import chart
from tests.harness.kubernetes.cluster import MAPPINGS, NAMESPACE
from tests.harness.kubernetes.cluster_case import ClusterCase, answer_of, mapping
from tests.harness.kubernetes.pod import Pod
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


class ChartServer(ClusterCase):
    chart_values = None  # The test installs everything itself.

    def setUp(self):
        Case.setUp(self)
        self.addCleanup(self.api.kubectl, "delete", MAPPINGS, "--all")
        self.authority = Authority(self.folder / "certificates")
        self.write_secret(self.authority.server("tunnel.example.com"))

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

    def assert_checks(self):
        status, said = self.pod.check()
        self.assertEqual(status, 0, said)

    def start(self):
        self.pod.start()
        wait_until(lambda: self.probe("startupProbe") == 200, 20, "the server to have started")
        wait_until(lambda: self.probe("readinessProbe") == 200, 20, "it to be ready")

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
                needed = [each for each in objects if each["kind"] in ("ServiceAccount", "ConfigMap")]
                self.cluster.apply(*needed)
                self.make_pod(deployment)
                try:
                    self.assert_checks()
                finally:
                    self.pod.close()
                self.api.kubectl("delete", "--filename=-", input={"apiVersion": "v1", "kind": "List", "items": needed})


if __name__ == "__main__":
    unittest.main(verbosity=2)
