# SPDX-License-Identifier: Apache-2.0
"""ServiceMapping objects of a real API server as entries of the server's table: they take effect without a restart, their status tells
the truth, and an API that is away, cut off or compacted loses nothing."""

import json
import os
import socket
import subprocess
import sys
import time
import unittest

import cache
from api_server import ROOT, ApiServer, wait_until

sys.path.insert(0, str(ROOT / "tests/e2e"))

from conversations import closes  # noqa: E402
from culvert import Case, Pair  # noqa: E402

ACCOUNT = "acme"
MAPPINGS = "servicemappings.connectivityproxy.sap.com"
GATE, SPACE = "10.231.77.1", "10.231.77.2"  # of a network of its own, where the cluster's services are
SERVICES = ["one.test", "two.test"]

SERVER = """
import http.server, sys
class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(sys.argv[2])))
        self.end_headers()
        self.wfile.write(sys.argv[2].encode())
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Answer).serve_forever()
"""


def run(*command):
    subprocess.run(list(map(str, command)), check=True, capture_output=True)


class ServiceMappings(Case):
    seconds = 60

    @classmethod
    def setUpClass(cls):
        cls.api = ApiServer()
        cls.addClassCleanup(cls.api.close)
        cls.api.kubectl("create", "namespace", "culvert")
        cls.api.kubectl("apply", f"--filename={ROOT}/packaging/helm/culvert/crds", f"--filename={ROOT}/packaging/kubernetes/rbac.yaml")
        cls.api.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"crd/{MAPPINGS}")
        cls.space = f"culvert-{os.getpid()}"
        run("ip", "netns", "add", cls.space)
        cls.addClassCleanup(run, "ip", "netns", "del", cls.space)
        run("ip", "link", "add", "culvert-k8s", "type", "veth", "peer", "name", "inside", "netns", cls.space)
        run("ip", "addr", "add", f"{GATE}/24", "dev", "culvert-k8s")
        run("ip", "link", "set", "culvert-k8s", "up")
        for command in (["addr", "add", f"{SPACE}/24", "dev", "inside"], ["link", "set", "inside", "up"], ["link", "set", "lo", "up"]):
            run("ip", "-n", cls.space, *command)
        for port, name in enumerate(("one", "two"), 8081):
            back_end = subprocess.Popen(["ip", "netns", "exec", cls.space, sys.executable, "-c", SERVER, str(port), name])
            cls.addClassCleanup(back_end.wait)
            cls.addClassCleanup(back_end.kill)
            wait_until(lambda port=port: socket.create_connection((SPACE, port), timeout=1).close() or True, 10, f"back end {name}")

    def setUp(self):
        super().setUp()
        self.addCleanup(self.api.kubectl, "delete", MAPPINGS, "--all")
        self.pair = Pair(self)
        self.token = self.folder / "token"
        self.write_token()
        server = self.pair.server
        server.tables["kubernetes"] = {"api_server": self.api.url, "ca": self.api.ca, "token_file": self.token, "namespace": "culvert",
                                       "external_address": f"127.0.0.1:{server.port}"}
        self.with_names(server)

    def write_token(self):
        aside = self.token.with_suffix(".new")
        aside.write_text(self.api.token("culvert-server", "culvert"))
        aside.replace(self.token)

    def with_names(self, server):
        """The cluster's DNS, for this program alone."""
        hosts = self.folder / "hosts"
        hosts.write_text("127.0.0.1 localhost\n" + "".join(f"{SPACE} {name}.svc.cluster.local\n" for name in SERVICES))
        server.command = ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', hosts, *server.command]

    def apply(self, name, address, service="web", **spec):
        self.api.kubectl("apply", "--filename=-", input={
            "apiVersion": "connectivityproxy.sap.com/v1", "kind": "ServiceMapping", "metadata": {"name": name},
            "spec": {"type": "TCP", "subaccountId": ACCOUNT, "serviceId": service, "internalAddress": address, **spec}})

    def condition(self, name, kind):
        status = json.loads(self.api.kubectl("get", MAPPINGS, name, "--output=json")).get("status", {})
        found = [each for each in status.get("conditions", []) if each["type"] == kind]
        return (found[0]["status"], found[0]["reason"]) if found else None

    def says(self, port, text, seconds=10):
        def answers():
            with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                received = b""
                while data := client.recv(4096):
                    received += data
            return received.endswith(text)
        wait_until(answers, seconds, f"{text} behind the channel")

    def start(self):
        self.channel = self.pair.agent.channel(self.pair.server.port, "web")
        self.pair.start()

    def test_an_object_takes_effect_changes_and_goes(self):
        self.start()
        self.assertEqual(closes(self.channel), b"", "nothing maps it yet")
        self.apply("sm", "one.test:8081")
        self.says(self.channel, b"one", 2)
        self.api.kubectl("wait", "--for=condition=Ready", "--timeout=20s", MAPPINGS, "sm")
        self.assertEqual(self.api.kubectl("get", MAPPINGS, "sm", "-ojsonpath={.status.endpoint}"),
                         f"tcp://127.0.0.1:{self.pair.server.port}/web")
        with socket.create_connection(("127.0.0.1", self.channel), timeout=10) as old:
            old.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertIn(b"one", old.recv(4096))
            self.apply("sm", "two.test.svc:8082")
            self.says(self.channel, b"two", 2)
            old.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertIn(b"one", old.recv(4096), "what is open lives on")
        self.api.kubectl("delete", MAPPINGS, "sm")
        wait_until(lambda: closes(self.channel, seconds=0.5) == b"", 2, "the channel to be refused")
        self.pair.agent.wait_for_output("reason=no_such_service")

    def test_what_is_wrong_is_said_and_harms_nothing_else(self):
        self.start()
        self.apply("good", "one.test:8081")
        self.api.kubectl("wait", "--for=condition=Accepted", "--timeout=20s", MAPPINGS, "good")
        self.apply("later", "two.test:8082")
        self.apply("address", "10.0.0.1:80", "other")
        self.apply("nowhere", "nowhere.test:80", "nowhere")
        wait_until(lambda: self.condition("later", "Accepted") == ("False", "Duplicate"), 10, "the duplicate to be refused")
        wait_until(lambda: self.condition("address", "Accepted") == ("False", "BadInternalAddress"), 10, "the address to be refused")
        wait_until(lambda: self.condition("nowhere", "TargetResolved") == ("False", "NotFound"), 15, "the name not to be found")
        events = wait_until(lambda: [event for event in json.loads(self.api.kubectl("get", "events", "--output=json"))["items"]
                                     if event["involvedObject"]["name"] == "later"], 10, "an event")
        self.assertEqual((events[0]["reason"], events[0]["type"]), ("Duplicate", "Warning"))
        self.says(self.channel, b"one", 2)
        self.api.kubectl("delete", MAPPINGS, "good")
        self.says(self.channel, b"two", 3)
        wait_until(lambda: self.condition("later", "Ready") == ("True", "Ready"), 10, "the other one to be ready")

    def test_a_named_port_is_that_of_the_service(self):
        self.start()
        self.api.kubectl("create", "namespace", "test", status=None)
        self.api.kubectl("apply", "--filename=-", input={
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "one", "namespace": "test"},
            "spec": {"ports": [{"name": "http", "port": 8081}]}})
        self.apply("named", "one.test:http")
        self.says(self.channel, b"one")

    def test_status_tells_whether_an_agent_is_there(self):
        self.channel = self.pair.agent.channel(self.pair.server.port, "web")
        self.pair.server.start().wait_until_ready()
        self.apply("sm", "one.test:8081")
        wait_until(lambda: self.condition("sm", "AgentConnected") == ("False", "NoAgent"), 10, "no agent")
        self.pair.agent.start().wait_until_ready()
        self.api.kubectl("wait", "--for=condition=AgentConnected", "--timeout=20s", MAPPINGS, "sm")
        wait_until(lambda: self.condition("sm", "Ready") == ("True", "Ready"), 10, "it to be ready")
        # Nothing happens, so nothing is written.
        version = json.loads(self.api.kubectl("get", MAPPINGS, "sm", "--output=json"))["metadata"]["resourceVersion"]
        time.sleep(5)
        self.assertEqual(json.loads(self.api.kubectl("get", MAPPINGS, "sm", "--output=json"))["metadata"]["resourceVersion"], version)
        self.assertEqual(self.pair.server.status()["kubernetes"][0]["writes_status"], True)

    def test_an_api_that_is_away_loses_nothing(self):
        self.start()
        self.apply("sm", "one.test:8081")
        self.says(self.channel, b"one", 2)
        self.api.stop()
        for _ in range(20):
            self.says(self.channel, b"one", 1)
            time.sleep(0.3)
        self.api.start()
        self.apply("sm", "two.test:8082")
        self.says(self.channel, b"two", 40)
        # What the watch knows is older than what the storage still has.
        self.api.stop()
        self.api.compact()
        self.api.start()
        self.api.kubectl("delete", MAPPINGS, "sm")
        wait_until(lambda: closes(self.channel, seconds=0.5) == b"", 40, "the channel to be refused")

    def test_a_token_that_rotates_is_read_again(self):
        self.token.write_text("expired")
        self.channel = self.pair.agent.channel(self.pair.server.port, "web")
        self.pair.server.start()
        self.pair.server.wait_for_output("code=kubernetes.refused")
        self.assertFalse(self.pair.server.is_ready())
        self.assertNotIn("expired", self.pair.server.output())
        self.write_token()
        self.pair.server.wait_until_ready(40)


if __name__ == "__main__":
    cache.api_server()
    unittest.main(verbosity=2)
