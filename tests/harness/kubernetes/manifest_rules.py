# SPDX-License-Identifier: Apache-2.0
"""Rules for the chart's objects. Each takes the list of objects and yields what is wrong.

helm template culvert packaging/helm/culvert --namespace culvert | python3 tests/harness/kubernetes/manifest_rules.py"""

import re
import sys
import tomllib

import yaml

HASH_AND_LETTERS = 17  # what a ReplicaSet and its pods append to a Deployment's name
HOST_NAME_MAX = 63
ENDING_SECONDS = 15  # docs/operate.md: how long the end of a drain may take
CARRIED = {8042, 20003, 20004, 8080, 8082}  # ports whose content a mesh must not read


def kind(objects, *kinds):
    return [each for each in objects if each["kind"] in kinds]


def title(thing):
    return f"{thing['kind']} {thing['metadata']['name']}"


def pods(objects):
    """(the Deployment, its pod template)"""
    return [(each, each["spec"]["template"]) for each in kind(objects, "Deployment")]


def containers(objects):
    return [(title(owner), container) for owner, pod in pods(objects)
            for container in pod["spec"]["containers"] + pod["spec"].get("initContainers", [])]


def selects(selector, labels):
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def resources(objects):
    for owner, container in containers(objects):
        given = container.get("resources", {})
        for part, key in (("requests", "cpu"), ("requests", "memory"), ("limits", "memory")):
            if key not in given.get(part, {}):
                yield f"{owner}: no {part} of {key}"


def probes(objects):
    for owner, container in containers(objects):
        ports = {port["name"] for port in container["ports"]}
        for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
            asked = container.get(probe, {}).get("httpGet", {})
            if asked.get("path") != path or asked.get("port") not in ports:
                yield f"{owner}: {probe} does not request {path}"


def pod_security(objects):
    """The profile "restricted", and a root that cannot be written."""
    for owner, pod in pods(objects):
        spec = pod["spec"]
        context = spec.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or context.get("runAsUser", 1) == 0:
            yield f"{title(owner)}: may run as root"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{title(owner)}: no seccomp profile"
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            if spec.get(key):
                yield f"{title(owner)}: {key}"
        for volume in spec.get("volumes", []):
            if not {"configMap", "secret", "projected", "emptyDir"} & set(volume):
                yield f"{title(owner)}: volume {volume['name']} has a kind that is not needed"
    for owner, container in containers(objects):
        context = container.get("securityContext", {})
        wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        if context != wanted:
            yield f"{owner}: its security context is {context}"
        if any("hostPort" in port for port in container["ports"]):
            yield f"{owner}: a port of the node"


def images(objects):
    for owner, container in containers(objects):
        if not re.search(r"(:[^:/@]+|@sha256:[0-9a-f]{64})$",
                         container["image"]) or container["image"].endswith(":latest"):
            yield f"{owner}: {container['image']} has no fixed version"


# Join tokens are made and removed without a right to read them; requests for certificates are our own.
ENROLMENT_RIGHTS = [
    {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create", "delete"]},
    {"apiGroups": ["cert-manager.io"], "resources": ["certificaterequests"], "verbs": ["create", "delete", "get"]}]


# Logins of external systems are read by their names, which are listed if the user has listed them.
GATEWAY_RIGHT = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}


def rights(objects):
    for role in kind(objects, "Role", "ClusterRole"):
        for rule in role["rules"]:
            unnamed = {key: value for key, value in rule.items() if key != "resourceNames"}
            if role["kind"] == "Role" and (rule in ENROLMENT_RIGHTS or unnamed == GATEWAY_RIGHT):
                continue
            said = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
            for much in said & {"*", "secrets", "delete", "deletecollection", "impersonate", "escalate", "bind",
                                "pods/exec"}:
                yield f"{title(role)}: {much}"
            if role["kind"] == "ClusterRole" and {"update", "patch",
                                                  "create"} & set(rule["verbs"]) and "configmaps" in rule["resources"]:
                yield f"{title(role)}: writes ConfigMaps of the whole cluster"
    accounts = {(each["metadata"]["namespace"], each["metadata"]["name"]) for each in kind(objects, "ServiceAccount")}
    roles = {(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"])
             for each in kind(objects, "Role", "ClusterRole")}
    for binding in kind(objects, "RoleBinding", "ClusterRoleBinding"):
        if any((subject["namespace"], subject["name"]) not in accounts for subject in binding["subjects"]):
            yield f"{title(binding)}: gives its rights to another account"
        if (binding["roleRef"]["kind"], binding["metadata"].get("namespace"), binding["roleRef"]["name"]) not in roles:
            yield f"{title(binding)}: its role is not in the chart"


def tokens(objects):
    """A pod has a token only if it uses it, and only of an account of the chart."""
    for account in kind(objects, "ServiceAccount"):
        if account.get("automountServiceAccountToken") is not False:
            yield f"{title(account)}: every pod that names it gets a token"
    accounts = {each["metadata"]["name"] for each in kind(objects, "ServiceAccount")}
    for owner, pod in pods(objects):
        if pod["spec"].get("serviceAccountName") not in accounts:
            yield f"{title(owner)}: its account is not in the chart"
        if pod["spec"].get("automountServiceAccountToken", True) != bool(kind(objects, "ClusterRole")):
            yield f"{title(owner)}: a token without rights, or rights without a token"


def network_policies(objects):
    """Each pod has a policy in both directions, and no rule opens all ports to everyone."""
    policies = kind(objects, "NetworkPolicy")
    for owner, pod in pods(objects):
        for way in ("Ingress", "Egress"):
            if not any(way in policy["spec"]["policyTypes"]
                       and policy["metadata"]["namespace"] == owner["metadata"]["namespace"]
                       and selects(policy["spec"]["podSelector"].get("matchLabels"), pod["metadata"]["labels"])
                       for policy in policies):
                yield f"{title(owner)}: no policy for {way}"
    for policy in policies:
        for way, peers in (("ingress", "from"), ("egress", "to")):
            for rule in policy["spec"].get(way, []):
                if not rule.get("ports") and (way == "ingress" or not rule.get(peers)):
                    yield f"{title(policy)}: a rule of {way} without ports"
                if way == "ingress" and not rule.get(peers) and [port["port"]
                                                                 for port in rule.get("ports", [])] != [8042]:
                    yield f"{title(policy)}: opens more than the tunnel to everyone"
                if peers in rule and not rule[peers]:
                    yield f"{title(policy)}: an empty list of peers means everyone"


def disruption_budgets(objects):
    for owner, pod in pods(objects):
        found = [each for each in kind(objects, "PodDisruptionBudget")
                 if selects(each["spec"]["selector"]["matchLabels"], pod["metadata"]["labels"])]
        if len(found) != 1:
            yield f"{title(owner)}: {len(found)} budgets"
        if any(each["spec"].get("maxUnavailable", 0) < 1 for each in found):
            yield f"{title(owner)}: no node can be drained"


def spread(objects):
    for owner, pod in pods(objects):
        over = {each["topologyKey"] for each in pod["spec"].get("topologySpreadConstraints", [])
                if selects(each.get("labelSelector", {}).get("matchLabels"), pod["metadata"]["labels"])}
        if not {"kubernetes.io/hostname", "topology.kubernetes.io/zone"} <= over:
            yield f"{title(owner)}: replicas may run on one node"


def services(objects):
    """Each selects pods and leads to a port that they have; the ports in CARRIED are tcp for a mesh."""
    for service in kind(objects, "Service"):
        found = [pod for _, pod in pods(objects) if selects(service["spec"]["selector"], pod["metadata"]["labels"])]
        if not found:
            yield f"{title(service)}: selects no pod"
        ports = {port["name"]: port["containerPort"] for pod in found for each in pod["spec"]["containers"]
                 for port in each["ports"]}
        for port in service["spec"]["ports"]:
            if ports.get(port["targetPort"]) != port["port"]:
                yield f"{title(service)}: port {port['port']} leads nowhere"
            if port["port"] in CARRIED and port.get("appProtocol") != "tcp":
                yield f"{title(service)}: port {port['port']} without appProtocol: tcp"


def mesh(objects):
    for owner, pod in pods(objects):
        left = pod["metadata"].get("annotations", {}).get("traffic.sidecar.istio.io/excludeInboundPorts", "")
        if "8042" not in left.split(","):
            yield f"{title(owner)}: a sidecar takes the tunnel's port"


def rollout(objects):
    """An upgrade has no gap and time to drain, and nothing is restarted if a reload is enough."""
    for owner, pod in pods(objects):
        if owner["spec"].get("strategy", {}).get("rollingUpdate", {}).get("maxUnavailable") != 0:
            yield f"{title(owner)}: an upgrade removes replicas first"
        if any("checksum" in name for name in pod["metadata"].get("annotations", {})):
            yield f"{title(owner)}: a checksum restarts a program that reads changed files itself"
        drain = int(server_toml(objects)["limits"]["drain_time"].rstrip("s"))
        if pod["spec"].get("terminationGracePeriodSeconds", 30) < drain + ENDING_SECONDS:
            yield f"{title(owner)}: is killed while it drains"
        if len(owner["metadata"]["name"]) + HASH_AND_LETTERS > HOST_NAME_MAX:
            yield f"{title(owner)}: its pods' names, which are the replicas' identities, would be cut"


def secrets(objects):
    for secret in kind(objects, "Secret"):
        yield f"{title(secret)}: is part of the release"
    for owner, container in containers(objects):
        if container.get("env") or container.get("envFrom"):
            yield f"{owner}: has an environment"


def server_toml(objects):
    (text,) = [each["data"]["server.toml"] for each in kind(objects, "ConfigMap") if "server.toml" in each["data"]]
    return tomllib.loads(text)


RULES = [resources, probes, pod_security, images, rights, tokens, network_policies, disruption_budgets, spread,
         services, mesh, rollout,
         secrets]


def findings(objects):
    return [f"{rule.__name__}: {text}" for rule in RULES for text in rule(objects)]


if __name__ == "__main__":
    found = findings([each for each in yaml.safe_load_all(sys.stdin) if each])
    print("\n".join(found) or "no finding")
    sys.exit(bool(found))
