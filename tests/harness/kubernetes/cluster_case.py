# SPDX-License-Identifier: Apache-2.0
"""The base of tests in which a server is configured by a cluster."""

import json
import socket

from tests.harness.case import Case
from tests.harness.culvert_program import ACCOUNT
from tests.harness.kubernetes.cluster import MAPPINGS, NAMESPACE, Cluster
from tests.harness.pair import Pair
from tests.harness.waiting import wait_until


REPLICAS = "culvert-replicas"  # the headless Service of the servers
COLLECTION = "/apis/connectivityproxy.sap.com/v1/servicemappings"


def mapping(name, address, service, **spec):
    return {"apiVersion": "connectivityproxy.sap.com/v1", "kind": "ServiceMapping", "metadata": {"name": name},
            "spec": {"type": "TCP", "subaccountId": ACCOUNT, "serviceId": service, "internalAddress": address, **spec}}


class ClusterCase(Case):
    """Each class has a cluster, with the services one.test and two.test at port 80; each test has a server and an
    agent, not started yet."""

    seconds = 60
    api_arguments = ()
    chart_values = ()
    endpoint_slices = False  # whether the server resolves targets by EndpointSlices

    @classmethod
    def setUpClass(cls):
        cls.notes = []
        # Printed after the results of the tests, each of which is a line of its own.
        cls.addClassCleanup(lambda: [print(f"note: {note}", flush=True) for note in cls.notes])
        values = (*cls.chart_values, "--set",
                  "config.kubernetes.endpoint_slices=true") if cls.endpoint_slices else cls.chart_values
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
        """By renaming, as the kubelet does, so that no reader sees half of it."""
        aside = self.token.with_suffix(".new")
        aside.write_text(token)
        aside.replace(self.token)

    def join(self, server, port=None):
        """Configures this server for the cluster. `port`: another one that leads to the API server."""
        server.tables["kubernetes"] = {"api_server": f"https://127.0.0.1:{port or self.api.port}", "ca": self.api.ca,
                                       "token_file": self.token, "namespace": NAMESPACE,
                                       "external_address": f"127.0.0.1:{server.port}",
                                       "endpoint_slices": self.endpoint_slices}
        server.command = self.cluster.with_names(server.command)

    def replicate(self, server, identity, address="127.0.0.1"):
        """Makes this server one of several replicas. Kubernetes reports it as ready at this address."""
        server.tables["kubernetes"].update(identity=identity, replicas_service=REPLICAS)
        self.replica_addresses[identity] = address
        self.publish_replicas()

    def publish_replicas(self, *not_ready):
        """Writes the EndpointSlice, as Kubernetes does when pods become ready or unready."""
        self.cluster.apply({
            "apiVersion": "discovery.k8s.io/v1beta1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": REPLICAS, "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": REPLICAS}},
            "ports": [{"name": "tunnel", "port": 8042, "protocol": "TCP"}],
            "endpoints": [{"addresses": [address], "conditions": {"ready": name not in not_ready},
                           "targetRef": {"kind": "Pod", "name": name, "namespace": NAMESPACE}} for name,
                          address in self.replica_addresses.items()]})

    def apply(self, name, address, service="web", **spec):
        self.cluster.apply(mapping(name, address, service, **spec))

    def mapping(self, name):
        return json.loads(self.api.kubectl("get", MAPPINGS, name, "--output=json"))

    def condition(self, name, kind):
        found = [each for each in self.mapping(name).get("status", {}).get("conditions", []) if each["type"] == kind]
        return (found[0]["status"], found[0]["reason"]) if found else None

    def wait_for_status(self, name, seconds=10):
        """Waits until the status is about the current generation of the object."""
        def is_current():
            mapping = self.mapping(name)
            return mapping.get("status", {}).get("observedGeneration") == mapping["metadata"]["generation"]
        wait_until(is_current, seconds, f"the status of {name}")

    def assert_reaches(self, port, name, seconds=10):
        """Within `seconds`, new streams through this channel reach the back end of this name."""
        wait_until(lambda: answer_of(port) == name, seconds, f"{name} behind the channel")

    def assert_refuses(self, port, seconds=2):
        """Within `seconds`, this channel refuses new streams."""
        wait_until(lambda: answer_of(port) is None, seconds, "the channel to be refused")


def answer_of(port):
    """The answer of the service behind a channel; None if the channel refuses."""
    received = b""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            while data := client.recv(4096):
                received += data
    except ConnectionError:
        pass
    return received.split(b"\r\n\r\n", 1)[1].decode() if received else None
