# SPDX-License-Identifier: Apache-2.0
"""The base of tests in which a server obeys a cluster."""

import json
import socket
import sys

from api_server import ROOT, wait_until
from cluster import MAPPINGS, NAMESPACE, Cluster

sys.path.insert(0, str(ROOT / "tests/e2e"))

from culvert import ACCOUNT, Case, Pair  # noqa: E402

REPLICAS = "culvert-replicas"  # the headless Service of the servers
COLLECTION = "/apis/connectivityproxy.sap.com/v1/servicemappings"


def mapping(name, address, service, **spec):
    return {"apiVersion": "connectivityproxy.sap.com/v1", "kind": "ServiceMapping", "metadata": {"name": name},
            "spec": {"type": "TCP", "subaccountId": ACCOUNT, "serviceId": service, "internalAddress": address, **spec}}


class ClusterCase(Case):
    """A cluster per class, with the services one.test and two.test at port 80, and a server and an agent per test, not started yet."""

    seconds = 60
    api_arguments = ()
    chart_values = ()
    endpoint_slices = False  # whether targets are looked up there

    @classmethod
    def setUpClass(cls):
        cls.notes = []
        # After the verdicts, each of which is a line by itself.
        cls.addClassCleanup(lambda: [print(f"note: {note}", flush=True) for note in cls.notes])
        values = (*cls.chart_values, "--set", "config.kubernetes.endpoint_slices=true") if cls.endpoint_slices else cls.chart_values
        cls.cluster = Cluster(*cls.api_arguments, values=values)
        cls.addClassCleanup(cls.cluster.close)
        cls.api = cls.cluster.api
        for name in ("one", "two"):
            cls.cluster.service(name, "test", 80, cls.cluster.back_end(name))

    def setUp(self):
        super().setUp()
        self.addCleanup(self.api.kubectl, "delete", "--raw", COLLECTION)
        self.pair = Pair(self)
        self.token = self.folder / "token"
        self.write_token(self.api.token("culvert-server", NAMESPACE))
        self.replica_addresses = {}
        self.join(self.pair.server)

    def write_token(self, token):
        """As the kubelet does: no reader sees half of it."""
        aside = self.token.with_suffix(".new")
        aside.write_text(token)
        aside.replace(self.token)

    def join(self, server, port=None):
        """Makes this server one of the cluster; `port` leads to the API server, too."""
        server.tables["kubernetes"] = {"api_server": f"https://127.0.0.1:{port or self.api.port}", "ca": self.api.ca,
                                       "token_file": self.token, "namespace": NAMESPACE, "external_address": f"127.0.0.1:{server.port}",
                                       "endpoint_slices": self.endpoint_slices}
        server.command = self.cluster.with_names(server.command)

    def replicate(self, server, identity, address="127.0.0.1"):
        """Makes this server one of several replicas, of which Kubernetes says that it is ready at this address."""
        server.tables["kubernetes"].update(identity=identity, replicas_service=REPLICAS)
        self.replica_addresses[identity] = address
        self.tell_replicas()

    def tell_replicas(self, *not_ready):
        """What Kubernetes itself does as pods become ready, or do not."""
        self.cluster.apply({
            "apiVersion": "discovery.k8s.io/v1beta1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": REPLICAS, "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": REPLICAS}},
            "ports": [{"name": "tunnel", "port": 8042, "protocol": "TCP"}],
            "endpoints": [{"addresses": [address], "conditions": {"ready": name not in not_ready},
                           "targetRef": {"kind": "Pod", "name": name, "namespace": NAMESPACE}} for name, address in self.replica_addresses.items()]})

    def apply(self, name, address, service="web", **spec):
        self.cluster.apply(mapping(name, address, service, **spec))

    def mapping(self, name):
        return json.loads(self.api.kubectl("get", MAPPINGS, name, "--output=json"))

    def condition(self, name, kind):
        found = [each for each in self.mapping(name).get("status", {}).get("conditions", []) if each["type"] == kind]
        return (found[0]["status"], found[0]["reason"]) if found else None

    def wait_for_status(self, name, seconds=10):
        """Until the status speaks of the object as it is now."""
        def is_of_now():
            mapping = self.mapping(name)
            return mapping.get("status", {}).get("observedGeneration") == mapping["metadata"]["generation"]
        wait_until(is_of_now, seconds, f"the status of {name}")

    def says(self, port, text, seconds=10):
        """New streams behind this channel reach the back end of this name, at the latest after `seconds`."""
        wait_until(lambda: answer_of(port) == text, seconds, f"{text} behind the channel")

    def refuses(self, port, seconds=2):
        wait_until(lambda: answer_of(port) is None, seconds, "the channel to be refused")


def answer_of(port):
    """Of the service behind a channel; None where it is refused."""
    received = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            while data := client.recv(4096):
                received += data
    except ConnectionError:
        pass
    return received.split(b"\r\n\r\n", 1)[1].decode() if received else None
