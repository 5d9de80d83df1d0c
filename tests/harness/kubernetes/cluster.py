# SPDX-License-Identifier: Apache-2.0
"""A cluster as a program in it sees it: a real API server, a network in which each back end listens at its own address,
as a pod does, and a DNS server for *.svc.cluster.local. There is no kube-proxy: services are headless, so a name
resolves to the pods themselves."""

import fcntl
import json
import pathlib
import socket
import subprocess
import sys
import tempfile

from tests.harness.commands import output_of
from tests.harness.kubernetes.api_server import ApiServer, end
from tests.harness.kubernetes.chart import CRDS, apply_rights
from tests.harness.waiting import wait_until

HERE = pathlib.Path(__file__).resolve().parent
NAMESPACE = "culvert"  # of the server
MAPPINGS = "servicemappings.connectivityproxy.sap.com"
NETWORK = "10.231"  # cluster N has 10.231.N.0/24


class Cluster:
    """Ready when the constructor returns; close() ends and removes everything. For one thread, except `api`.
    `arguments`: see ApiServer. The server has the rights that the chart gives it with these `values`; None: the chart
    is not installed."""

    def __init__(self, *arguments, values=()):
        self.processes, self.space, self.pods, self.names = [], None, 0, {}
        self.api = ApiServer(*arguments)
        try:
            self.make_network()
            self.start_name_server()
            self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
            if values is not None:
                self.install(values)
        except BaseException:
            self.close()
            raise

    def close(self):
        for process in self.processes:
            end(process, kill=True)
        if self.space:
            output_of("ip", "netns", "del", self.space)
        self.api.close()

    def install(self, values):
        """Installs what the server needs: the definitions, its account and its rights."""
        self.api.kubectl("apply", f"--filename={CRDS}")
        apply_rights(self.api, *values)
        self.api.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"crd/{MAPPINGS}")

    # --- the network --------------------------------------------------------------------------------------------------

    def make_network(self):
        """A network namespace, connected to ours by a pair of interfaces: address .1 is on our side, all others are on
        its side."""
        with open(pathlib.Path(tempfile.gettempdir()) / "culvert-kubernetes-network", "a", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            taken = output_of("ip", "-4", "-oneline", "address") + output_of("ip", "netns", "list")
            number = next(n for n in range(1,
                                           255) if f" {NETWORK}.{n}." not in taken
                          and f"culvert-{n}\n" not in taken.replace(" ", "\n"))
            output_of("ip", "netns", "add", f"culvert-{number}")
            self.space, here, self.network = f"culvert-{number}", f"culvert-{number}", f"{NETWORK}.{number}"
            output_of("ip", "link", "add", here, "type", "veth", "peer", "name", "inside", "netns", self.space)
            output_of("ip", "address", "add", f"{self.network}.1/24", "dev", here)
        output_of("ip", "link", "set", here, "up")
        for name in ("lo", "inside"):
            output_of("ip", "-n", self.space, "link", "set", name, "up")

    def address(self):
        """A new address in the network."""
        self.pods += 1
        address = f"{self.network}.{self.pods + 1}"
        output_of("ip", "-n", self.space, "address", "add", f"{address}/24", "dev", "inside")
        return address

    def launch(self, program, address, port, *arguments):
        command = ["ip", "netns", "exec", self.space, sys.executable, "-B", HERE / program, address, *arguments]
        process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL)
        self.processes.append(process)
        wait_until(lambda: socket.create_connection((address, port), timeout=1).close() or True, 10,
                   f"{program} at {address}:{port}")
        return process

    def back_end(self, name, port=80):
        """A web server that answers every request with `name`. Returns its address."""
        address = self.address()
        self.launch("named_web_server.py", address, port, port, name)
        return address

    # --- names --------------------------------------------------------------------------------------------------------

    def start_name_server(self):
        self.name_table, self.resolv_conf = self.api.folder / "names.json", self.api.folder / "resolv.conf"
        self.set_name()
        address = self.address()
        self.launch("name_server.py", address, 53, self.name_table)
        # In the form that the kubelet writes.
        searched = " ".join(f"{part}cluster.local" for part in (f"{NAMESPACE}.svc.", "svc.", ""))
        self.resolv_conf.write_text(f"nameserver {address}\nsearch {searched}\noptions ndots:5\n")

    def set_name(self, name=None, *addresses):
        """Sets the addresses of "service.namespace" in DNS; without addresses the name does not exist."""
        self.names.update({name: addresses} if name else {})
        aside = self.name_table.with_suffix(".new")
        aside.write_text(json.dumps({each: there for each, there in self.names.items() if there}))
        aside.replace(self.name_table)

    def with_names(self, command):
        """This command with the cluster's DNS instead of the machine's."""
        return ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', self.resolv_conf,
                *command]

    # --- objects ------------------------------------------------------------------------------------------------------

    def apply(self, *objects):
        self.api.kubectl("apply", "--filename=-", input={"apiVersion": "v1", "kind": "List", "items": list(objects)})

    def service(self, name, namespace, port, *back_ends, target_port=None, port_name="http"):
        """A headless Service, whose `port` is `target_port` (default: the same) at these addresses, its EndpointSlice,
        and its name in DNS. Through DNS alone, a client reaches it only if both ports are the same."""
        metadata, target_port = {"name": name, "namespace": namespace}, target_port or port
        self.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
            {"apiVersion": "v1", "kind": "Service", "metadata": metadata,
             "spec": {"clusterIP": "None", "ports": [{"name": port_name, "port": port, "targetPort": target_port}]}},
            {"apiVersion": "discovery.k8s.io/v1beta1", "kind": "EndpointSlice",
             "metadata": {**metadata, "labels": {"kubernetes.io/service-name": name}}, "addressType": "IPv4",
             "ports": [{"name": port_name, "port": target_port, "protocol": "TCP"}],
             "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in back_ends]})
        self.set_name(f"{name}.{namespace}", *back_ends)
