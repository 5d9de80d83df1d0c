# SPDX-License-Identifier: Apache-2.0
"""What a cluster is for a program in it: a real API server, a network of its own where back ends listen, each at an address of its own
as a pod has it, and a DNS for *.svc.cluster.local. There is no kube-proxy: services are headless, so a name leads to the pods themselves."""

import fcntl
import json
import pathlib
import socket
import subprocess
import sys
import tempfile

from api_server import ApiServer, end, wait_until
from chart import CRDS, apply_rights

HERE = pathlib.Path(__file__).resolve().parent
NAMESPACE = "culvert"  # of the server
MAPPINGS = "servicemappings.connectivityproxy.sap.com"
NETWORK = "10.231"  # 10.231.N.0/24 is that of cluster N


def run(*command):
    return subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout


class Cluster:
    """Ready at the end of the constructor; close() ends and removes everything. One thread, but for `api`. `arguments` as in ApiServer; `values`
    are those of the chart whose rights the server has, None: nothing of it is installed."""

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
            run("ip", "netns", "del", self.space)
        self.api.close()

    def install(self, values):
        """What an operator installs before the server: definitions, its account, its rights."""
        self.api.kubectl("apply", f"--filename={CRDS}")
        apply_rights(self.api, *values)
        self.api.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"crd/{MAPPINGS}")

    # --- the network ------------------------------------------------------------------------------------------------------

    def make_network(self):
        """A network namespace, joined with ours by a pair of interfaces: .1 is here, the rest is there."""
        with open(pathlib.Path(tempfile.gettempdir()) / "culvert-kubernetes-network", "a", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            taken = run("ip", "-4", "-oneline", "address") + run("ip", "netns", "list")
            number = next(n for n in range(1, 255) if f" {NETWORK}.{n}." not in taken and f"culvert-{n}\n" not in taken.replace(" ", "\n"))
            run("ip", "netns", "add", f"culvert-{number}")
            self.space, here, self.network = f"culvert-{number}", f"culvert-{number}", f"{NETWORK}.{number}"
            run("ip", "link", "add", here, "type", "veth", "peer", "name", "inside", "netns", self.space)
            run("ip", "address", "add", f"{self.network}.1/24", "dev", here)
        run("ip", "link", "set", here, "up")
        for name in ("lo", "inside"):
            run("ip", "-n", self.space, "link", "set", name, "up")

    def address(self):
        """One more in the network."""
        self.pods += 1
        address = f"{self.network}.{self.pods + 1}"
        run("ip", "-n", self.space, "address", "add", f"{address}/24", "dev", "inside")
        return address

    def launch(self, program, address, port, *arguments):
        command = ["ip", "netns", "exec", self.space, sys.executable, "-B", HERE / program, address, *arguments]
        process = subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL)
        self.processes.append(process)
        wait_until(lambda: socket.create_connection((address, port), timeout=1).close() or True, 10, f"{program} at {address}:{port}")
        return process

    def back_end(self, name, port=80):
        """A web server that answers every request with `name`. Returns its address."""
        address = self.address()
        self.launch("back_end.py", address, port, port, name)
        return address

    # --- names ------------------------------------------------------------------------------------------------------------

    def start_name_server(self):
        self.name_table, self.resolv_conf = self.api.folder / "names.json", self.api.folder / "resolv.conf"
        self.set_name()
        address = self.address()
        self.launch("name_server.py", address, 53, self.name_table)
        # As the kubelet writes it.
        searched = " ".join(f"{part}cluster.local" for part in (f"{NAMESPACE}.svc.", "svc.", ""))
        self.resolv_conf.write_text(f"nameserver {address}\nsearch {searched}\noptions ndots:5\n")

    def set_name(self, name=None, *addresses):
        """What "service.namespace" means in DNS from now on; without addresses there is no such name."""
        self.names.update({name: addresses} if name else {})
        aside = self.name_table.with_suffix(".new")
        aside.write_text(json.dumps({each: there for each, there in self.names.items() if there}))
        aside.replace(self.name_table)

    def with_names(self, command):
        """This command, with the cluster's DNS in place of the machine's."""
        return ["unshare", "--mount", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', self.resolv_conf, *command]

    # --- objects ----------------------------------------------------------------------------------------------------------

    def apply(self, *objects):
        self.api.kubectl("apply", "--filename=-", input={"apiVersion": "v1", "kind": "List", "items": list(objects)})

    def service(self, name, namespace, port, *back_ends, target_port=None, port_name="http"):
        """A headless Service `port` of which is `target_port` (the same, unless said) at these addresses; its EndpointSlice; and its name
        in DNS, through which only the same port leads anywhere."""
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
