# SPDX-License-Identifier: Apache-2.0
"""Does what kube-proxy does: turns the Services and EndpointSlices of the API into DNAT rules of the cluster's network
namespace. It does so once, when it is called; among the ready endpoints of a port the choice is random."""

import json
import subprocess

from tests.harness.commands import output_of


def program_rules(cluster):
    """Writes rules for all Services with a cluster address, by their current EndpointSlices."""
    api = cluster.api
    services, slices = (json.loads(api.kubectl("get", kind, "--all-namespaces", "--output=json"))["items"]
                        for kind in ("services", "endpointslices"))
    led, refused = ["type nat hook output priority -100;"], ["type filter hook output priority 0;"]
    for service in services:
        address, of = service["spec"].get("clusterIP", "None"), service["metadata"]
        if address == "None":
            continue
        for port in service["spec"]["ports"]:
            ends = endpoints(slices, of["namespace"], of["name"], port.get("name", ""))
            here = f"ip daddr {address} tcp dport {port['port']}"
            if ends:
                choice = ", ".join(f"{i} : {host} . {number}" for i, (host, number) in enumerate(ends))
                led.append(f"{here} dnat to numgen random mod {len(ends)} map {{ {choice} }}")
            else:
                refused.append(f"{here} reject with tcp reset")
    rules = ["table ip services", "delete table ip services", "table ip services {", "chain led {", *led, "}",
             "chain refused {", *refused,
             "}", "}"]
    subprocess.run(["ip", "netns", "exec", cluster.space, "nft", "--file", "-"], input="\n".join(rules), text=True,
                   check=True)
    route = ["ip", "-n", cluster.space, "route", "replace", "10.96.0.0/16", "via", f"{cluster.network}.1"]
    output_of(*route)


def endpoints(slices, namespace, service, port_name):
    """(address, port) of each ready endpoint."""
    found = []
    for each in slices:
        of = each["metadata"]
        if of["namespace"] != namespace or of.get("labels", {}).get("kubernetes.io/service-name") != service:
            continue
        for port in each.get("ports") or []:
            if port.get("name", "") == port_name:
                found += [(address,
                           port["port"]) for end in each.get("endpoints") or [] if end["conditions"].get("ready", True)
                          for address in end["addresses"]]
    return found
