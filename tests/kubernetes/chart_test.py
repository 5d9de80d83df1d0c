# SPDX-License-Identifier: Apache-2.0
"""The Helm chart as Helm renders it: its objects keep the rules, and wrong values are refused."""

import copy
import json
import pathlib
import re
import subprocess
import tempfile
import unittest

from tests.harness.environment import ROOT
from tests.harness.kubernetes import chart, manifest_rules

PLAIN = ROOT / "packaging/kubernetes/culvert.yaml"
# With every feature enabled.
OPEN = ["--values", chart.CHART / "values/compatibility.yaml", "--set",
        "config.on_premise_services.allow_from={10.0.0.0/8}"]
ENROLMENT = ["--set", "enrolment.enabled=true"]
ISSUER = [*ENROLMENT, "--set", "enrolment.issuer.name=agents"]
APPLICATIONS = "applications.applicationconnector.kyma-project.io"
GATEWAY = ["--set", "gateway.enabled=true", "--set", "gateway.allowFrom={10.0.0.0/8}"]
# Settings in the tables of docs/configure.md that the chart itself decides.
CHARTS_OWN = {
    "tunnel": {"listen", "certificate", "private_key", "client_ca", "replica", "replicas"},
    "metrics": {"listen"}, "limits": {"drain_time"},
    "kubernetes": {"api_server", "ca", "token_file", "client_certificate", "client_key", "namespace", "identity",
                   "external_address",
                   "replicas_service"},
    "enrolment": {"authority_certificate", "authority_key", "addresses", "state"},
    "http_proxy": {"listen"}, "socks5_proxy": {"listen"}, "on_premise_services": {"listen"},
    "gateway": {"listen", "listen_entries", "listen_health", "allow_from", "listen_destinations", "destinations",
                "destination_ports"}}
# Tables of the manual that config of the chart does not have.
NOT_IN_THE_CHART = {"virtual_listener", "admin", "enrolment.issuer", "application",
                    "application.api", "application.api.credentials"}


def changed(objects, kind, path, value, name=None):
    """The objects with another value at a path of one of them; None removes it."""
    result = copy.deepcopy(objects)
    place = next(each for each in result if each["kind"] == kind and name in (None, each["metadata"]["name"]))
    *parents, last = path
    for key in parents:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return result


class RulesTest(unittest.TestCase):
    """The rendered objects keep each rule, and each rule finds a violation."""

    def test_defaults_and_value_sets_keep_the_rules(self):
        self.assertGreaterEqual(len(chart.VALUE_SETS), 5)
        for arguments in [[], OPEN, ENROLMENT, ISSUER, [*OPEN, *GATEWAY], *map(chart.with_values, chart.VALUE_SETS)]:
            for version in ("1.20", "1.34"):
                with self.subTest(values=arguments, version=version):
                    self.assertEqual(manifest_rules.findings(chart.render(*arguments, "--kube-version", version)), [])

    def test_each_rule_finds_a_violation(self):
        good = chart.render(*OPEN)
        pod = ["spec", "template", "spec"]
        server = [*pod, "containers", 0]
        context, template = [*pod, "securityContext"], ["spec", "template", "metadata"]
        elsewhere = {"matchLabels": {"app": "x"}}
        broken = {
            "resources": [("Deployment", [*server, "resources", "limits"], None),
                          ("Deployment", [*server, "resources", "requests"], {"cpu": 1})],
            "probes": [("Deployment", [*server, "livenessProbe"], None),
                       ("Deployment", [*server, "readinessProbe", "httpGet", "path"], "/healthz"),
                       ("Deployment", [*server, "startupProbe", "httpGet", "port"], "tunnels")],
            "pod_security": [("Deployment", [*context, "runAsNonRoot"], False),
                             ("Deployment", [*context, "runAsUser"], 0),
                             ("Deployment", [*context, "seccompProfile"], None),
                             ("Deployment", [*pod, "hostNetwork"], True),
                             ("Deployment", [*server, "securityContext", "readOnlyRootFilesystem"], False),
                             ("Deployment", [*server, "securityContext", "capabilities"],
                              {"drop": ["ALL"], "add": ["NET_ADMIN"]}),
                             ("Deployment", [*server, "ports", 0, "hostPort"], 8042),
                             ("Deployment", [*pod, "volumes", 1], {"name": "run", "hostPath": {"path": "/run"}})],
            "images": [("Deployment", [*server, "image"], "culvert-server:latest"),
                       ("Deployment", [*server, "image"], "localhost:5000/culvert-server")],
            "rights": [("ClusterRole", ["rules", 0, "verbs"], ["*"]), ("Role", ["rules", 0, "resources"], ["secrets"]),
                       ("ClusterRole", ["rules", 0, "verbs"], ["delete"]),
                       ("ClusterRole", ["rules", 0], {"apiGroups": [""], "resources": ["configmaps"],
                                                      "verbs": ["patch"]}),
                       ("ClusterRoleBinding", ["subjects", 0, "name"], "default"),
                       ("Role", ["rules", 0], {"apiGroups": [""], "resources": ["secrets"],
                                               "verbs": ["create", "delete", "get"]}),
                       ("ClusterRole", ["rules", 0], {"apiGroups": [""], "resources": ["secrets"],
                                                      "verbs": ["create", "delete"]}),
                       ("Role", ["rules", 0], {"apiGroups": [""], "resources": ["secrets"],
                                               "verbs": ["get", "list"]}),
                       ("ClusterRole", ["rules", 0], {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}),
                       ("RoleBinding", ["roleRef", "name"], "admin")],
            "tokens": [("ServiceAccount", ["automountServiceAccountToken"], None),
                       ("Deployment", [*pod, "serviceAccountName"], None),
                       ("Deployment", [*pod, "automountServiceAccountToken"], False)],
            "network_policies": [("NetworkPolicy", ["spec", "policyTypes"], ["Ingress"]),
                                 ("NetworkPolicy", ["spec", "podSelector"], elsewhere),
                                 ("NetworkPolicy", ["metadata", "namespace"], "other"),
                                 ("NetworkPolicy", ["spec", "ingress", 1, "from"], []),
                                 ("NetworkPolicy", ["spec", "ingress", 1, "from"], None),
                                 ("NetworkPolicy", ["spec", "ingress", 0, "ports"], None),
                                 ("NetworkPolicy", ["spec", "egress", 2, "to"], None)],
            "disruption_budgets": [("PodDisruptionBudget", ["spec", "maxUnavailable"], 0),
                                   ("PodDisruptionBudget", ["spec", "selector"], elsewhere)],
            "spread": [("Deployment", [*pod, "topologySpreadConstraints"], None),
                       ("Deployment", [*pod, "topologySpreadConstraints", 0, "labelSelector"], None)],
            "services": [("Service", ["spec", "selector"], {"app": "x"}),
                         ("Service", ["spec", "ports", 0, "appProtocol"], None),
                         ("Service", ["spec", "ports", 0, "targetPort"], "tunnels")],
            "mesh": [("Deployment", [*template, "annotations"], {})],
            "rollout": [("Deployment", ["spec", "strategy"], None),
                        ("Deployment", [*pod, "terminationGracePeriodSeconds"], 30),
                        ("Deployment", [*template, "annotations", "checksum/config"], "0"),
                        ("Deployment", ["metadata", "name"], "x" * 47)],
            "secrets": [("Deployment", [*server, "env"], [{"name": "TOKEN", "value": "x"}])],
        }
        self.assertEqual(set(broken), {rule.__name__ for rule in manifest_rules.RULES})
        self.assertEqual(manifest_rules.findings(good), [])
        for rule, ways in broken.items():
            for way in ways:
                with self.subTest(rule=rule, way=way):
                    self.assertIn(rule, {text.split(":")[0] for text in manifest_rules.findings(changed(good, *way))})
        secret = {"kind": "Secret", "metadata": {"name": "key"}}
        self.assertIn("secrets: Secret key: is part of the release", manifest_rules.findings([*good, secret]))


class RenderingTest(unittest.TestCase):

    def refusal_of(self, words, *arguments):
        status, _, complaint = chart.run("template", "culvert", chart.CHART, *arguments)
        self.assertNotEqual(status, 0, arguments)
        self.assertIn(words, complaint)

    def test_lint_finds_nothing(self):
        for arguments in [[], *map(chart.with_values, chart.VALUE_SETS)]:
            status, said, complaint = chart.run("lint", "--strict", chart.CHART, *arguments)
            self.assertEqual(status, 0, said + complaint)
            self.assertNotRegex(said, r"\[(WARNING|ERROR)\]")

    def test_versions_are_those_of_the_program_and_of_supported_clusters(self):
        version = (ROOT / "VERSION").read_text().strip()
        (about,) = chart.read((chart.CHART / "Chart.yaml").read_text())
        self.assertEqual((about["version"], about["appVersion"]), (version, version))
        self.assertTrue(chart.named(chart.render(),
                                    "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"].endswith(
            f":{version}"))
        for release, budget in (("1.20", "policy/v1beta1"), ("1.21", "policy/v1"), ("1.34", "policy/v1")):
            objects = chart.render("--kube-version", release)
            self.assertEqual(chart.named(objects, "PodDisruptionBudget")["apiVersion"], budget)
            sleeps = "lifecycle" in chart.named(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]
            self.assertEqual(sleeps, release == "1.34")
        self.refusal_of("kubeVersion", "--kube-version", "1.19")

    def test_wrong_values_are_refused_with_a_reason(self):
        self.refusal_of("at '/replicas': minimum: got 0, want 1", "--set", "replicas=0")
        self.refusal_of("additional properties 'replica' not allowed", "--set", "replica=2")
        self.refusal_of("at '/config/http_proxy': additional properties 'allowfrom' not allowed", "--set",
                     "config.http_proxy.allowfrom={10.0.0.0/8}")
        self.refusal_of("at '/config/tunnel': additional properties 'listen' not allowed", "--set",
                     "config.tunnel.listen=x")
        self.refusal_of("at '/image/digest'", "--set", "image.digest=sha256:1")
        self.refusal_of("at '/istio/excludeInboundPorts'", "--set", "istio.excludeInboundPorts={9494}")
        self.refusal_of("at '/resources'", "--set", "resources.limits=null")
        self.refusal_of("image.tag is latest", "--set", "image.tag=latest")
        self.refusal_of("config.http_proxy is open to nobody", "--set", "config.http_proxy.account=acme")
        self.refusal_of("config.socks5_proxy is open to nobody", "--set",
                     "config.socks5_proxy.unauthenticated_account=acme")
        self.refusal_of("config.on_premise_services is open to nobody", "--set",
                     "config.on_premise_services.accounts={acme}")
        self.refusal_of("needs config.kubernetes", "--set", "config.kubernetes=null", "--set",
                     "config.on_premise_services.allow_from={10.0.0.0/8}")
        self.refusal_of("enrolment needs config.kubernetes", *ENROLMENT, "--set", "config.kubernetes=null")
        self.refusal_of("config.enrolment is of no use", "--set", "config.enrolment.required=true")
        self.refusal_of("at '/config/enrolment': additional properties 'state' not allowed", "--set",
                     "config.enrolment.state=/var")
        self.refusal_of("gateway is open to nobody", "--set", "gateway.enabled=true")
        self.refusal_of("gateway needs config.kubernetes", *GATEWAY, "--set", "config.kubernetes=null")
        self.refusal_of("config.gateway is of no use", "--set", "config.gateway.compatible_errors=true")
        self.refusal_of("at '/config/gateway': additional properties 'listen' not allowed", *GATEWAY, "--set",
                     "config.gateway.listen=x")
        self.refusal_of("replicas without config.kubernetes", "--set", "replicas=2", "--set", "config.kubernetes=null")
        self.refusal_of("external.host is missing", "--set", "ingress.enabled=true")
        self.refusal_of("external.host is missing", "--set", "istio.gateway.enabled=true")
        self.refusal_of("issuerRef.name is missing", "--set", "tls.certManager.enabled=true")

    def test_the_schema_knows_each_key_of_the_manual(self):
        schema = json.loads((chart.CHART / "values.schema.json").read_text())["properties"]["config"]["properties"]
        manual = (ROOT / "docs/configure.md").read_text()
        seen = set()
        for section in manual.split("\n## ")[1:]:
            heading, programs = re.match(r"`\[+([a-z0-9_.]+)\]+` \(([^)]*)\)", section).groups()
            if "server" not in programs.split(", ") or heading in NOT_IN_THE_CHART:
                continue
            keys = set(re.findall(r"^\| `([a-z0-9_]+)` \|", section, re.M))
            table, *rest = heading.split(".")
            place = schema[table]["items"] if schema[table]["type"] in ("array", ["array", "null"]) else schema[table]
            for key in rest:
                place = place["properties"][key]["items"]
            own = CHARTS_OWN.get(table, set()) if not rest else set()
            known = {key for key, value in place["properties"].items() if not ("items" in value
                                                                               and "properties" in value["items"])}
            self.assertEqual(known, keys - own - ({"issuer"} if not rest else set()), heading)
            seen.add(heading)
        self.assertGreaterEqual(seen, {*schema, "http_proxy.issuer", "socks5_proxy.consumer"})

    def test_server_toml_contains_the_values(self):
        issuer = {"issuer": 'a "b" <&>\n', "subjects": ["x", "y"], "jwks_url": "https://c", "account": "acme"}
        mapping = {"account": "acme", "service_id": "web", "internal_address": "web.shop.svc:80",
                   "locations": ["", "p"]}
        objects = chart.render(
            *OPEN, "--set", "bindAddress=[::]", "--set", "external.port=8443", "--set", "drainSeconds=120", "--set",
            "config.log.level=debug",
            "--set-json", f"config.http_proxy.issuer={json.dumps([issuer])}",
            "--set-json", f"config.service_mapping={json.dumps([mapping])}",
            "--set-json", "config.http_proxy.connections_max=1000000", "--set-string", "extraConfig=[deny]")
        toml = manifest_rules.server_toml(objects)
        self.assertEqual(toml["tunnel"], {"listen": "[::]:8042", "certificate": "tls/tls.crt",
                                          "private_key": "tls/tls.key",
                                          "client_ca": "tls/ca.crt", "trust_domain": "culvert.local"})
        self.assertEqual(toml["kubernetes"], {"account": "acme", "allow_address_targets": False,
                                              "external_address": "tunnel.example.com:8443",
                                              "replicas_service": "connectivity-proxy-replicas"})
        self.assertEqual(toml["http_proxy"]["listen"], "[::]:20003")
        self.assertEqual(toml["http_proxy"]["connections_max"], 1000000)
        self.assertEqual(toml["http_proxy"]["issuer"], [issuer])
        self.assertEqual(toml["service_mapping"], [mapping])
        self.assertEqual(toml["on_premise_services"], {"listen": "[::]:20100-20499", "allow_from": ["10.0.0.0/8"]})
        self.assertEqual((toml["limits"]["drain_time"], toml["log"]["level"]), ("120s", "debug"))
        self.assertIn("\n[deny]", chart.named(objects, "ConfigMap", "connectivity-proxy-server")["data"]["extra.toml"])
        self.assertEqual(chart.named(objects,
                                     "Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"], 140)

    def test_disabled_features_have_no_objects(self):
        objects = chart.render()
        self.assertEqual(set(manifest_rules.server_toml(objects)), {"tunnel", "kubernetes", "metrics", "log", "limits"})
        services = {each["metadata"]["name"] for each in objects if each["kind"] == "Service"}
        self.assertEqual(services, {"culvert-tunnel", "culvert-metrics", "culvert-replicas"})
        self.assertEqual([len(chart.named(objects, "NetworkPolicy")["spec"][way]) for way in ("ingress", "egress")],
                         [1, 3])
        alone = chart.render("--set", "config.kubernetes=null")
        self.assertEqual({each["kind"] for each in alone} & chart.RIGHTS, {"ServiceAccount"})
        self.assertNotIn("kubernetes", manifest_rules.server_toml(alone))
        # Without the cluster, replicas would not know each other.
        self.assertEqual([chart.named(each, "Deployment")["spec"]["replicas"] for each in (objects, alone)], [2, 1])

    def test_the_compatibility_set_has_the_names_of_the_originals(self):
        objects = chart.render(*chart.with_values(chart.CHART / "values/compatibility.yaml"), namespace="kyma-system",
                               release="cp")
        ports = {port["port"] for port in chart.named(objects, "Service", "connectivity-proxy")["spec"]["ports"]}
        self.assertEqual(ports, {20003, 20004})
        chart.named(objects, "Service", "connectivity-proxy-tunnel")
        self.assertEqual(chart.named(objects, "ConfigMap", "connectivity-proxy-info")["data"], {
            "onpremise_proxy_host": "connectivity-proxy.kyma-system.svc.cluster.local",
            "onpremise_proxy_http_port": "20003",
            "onpremise_proxy_port": "20003", "onpremise_socks5_proxy_port": "20004"})
        self.assertEqual({each["metadata"].get("namespace") for each in objects}, {"kyma-system", "default", None})

    def test_rights_follow_the_enabled_features(self):
        def rules(objects, kind, name):
            return {(group, resource, verb, *each.get("resourceNames", []))
                    for each in chart.named(objects, kind, name)["rules"]
                    for group in each["apiGroups"] for resource in each["resources"] for verb in each["verbs"]}

        few = rules(chart.render(), "ClusterRole", "culvert-server")
        self.assertIn(("", "services", "get"), few)
        more = rules(chart.render("--set", "config.kubernetes.endpoint_slices=true"), "ClusterRole", "culvert-server")
        self.assertEqual(more - few, {("", "services", "list"), ("", "services", "watch"),
                                      ("discovery.k8s.io", "endpointslices", "list"),
                                      ("discovery.k8s.io", "endpointslices", "watch")})
        self.assertEqual(few - more, {("", "services", "get")})
        limited = chart.render(*chart.with_values(chart.CHART / "values/on-premise-services.yaml"))
        places = [each["metadata"]["namespace"]
                  for each in limited if each["metadata"]["name"] == "culvert-server-on-premise-services"]
        self.assertEqual(sorted(places), ["billing", "billing", "shop", "shop"])
        self.assertEqual(rules(limited, "ClusterRole", "culvert-server"), few)
        usual = rules(chart.render(), "Role", "culvert-server")
        enrolment = rules(chart.render(*ENROLMENT), "Role", "culvert-server")
        self.assertEqual({each for each in enrolment - usual if each[1] == "secrets"},
                         {("", "secrets", "create"), ("", "secrets", "delete")})
        self.assertEqual(rules(chart.render(*ISSUER), "Role", "culvert-server") - enrolment,
                         {("cert-manager.io", "certificaterequests", verb) for verb in ("create", "delete", "get")})
        everywhere = chart.render("--set", "config.on_premise_services.allow_from={10.0.0.0/8}")
        self.assertIn(("", "services", "create"), rules(everywhere, "ClusterRole",
                                                        "culvert-server-on-premise-services"))

    def test_enrolment_mounts_its_authority(self):
        def volume(objects):
            spec = chart.named(objects, "Deployment")["spec"]["template"]["spec"]
            return {(source["secret"]["name"], item["key"], item["path"])
                    for source in spec["volumes"][0]["projected"]["sources"] if "secret" in source
                    for item in source["secret"]["items"] if item["path"].startswith("authority/")}

        self.assertEqual(volume(chart.render()), set())
        self.assertNotIn("enrolment", manifest_rules.server_toml(chart.render()))
        mine = chart.render(*ENROLMENT, "--set", "external.host=tunnel.example.com", "--set",
                            "config.enrolment.lifetime=7d")
        self.assertEqual(volume(mine), {("culvert-authority", "tls.crt", "authority/tls.crt"),
                                        ("culvert-authority", "tls.key", "authority/tls.key")})
        self.assertEqual(manifest_rules.server_toml(mine)["enrolment"], {
            "authority_certificate": "authority/tls.crt", "authority_key": "authority/tls.key",
            "addresses": ["tunnel.example.com:443"], "lifetime": "7d"})
        theirs = chart.render(*ISSUER, "--set", "enrolment.authority.secretName=ca", "--set",
                              "enrolment.addresses={a:1,b:2}")
        self.assertEqual(volume(theirs), {("ca", "tls.crt", "authority/tls.crt")}, "no key is in the pod")
        self.assertEqual(manifest_rules.server_toml(theirs)["enrolment"], {
            "authority_certificate": "authority/tls.crt", "addresses": ["a:1", "b:2"],
            "issuer": {"name": "agents", "kind": "Issuer", "group": "cert-manager.io"}})

    def test_the_gateway_has_its_service_rights_and_definition(self):
        def secrets(objects):
            return [rule for rule in chart.named(objects, "Role", "culvert-server")["rules"]
                    if rule["resources"] == ["secrets"]]

        closed, opened = chart.render(), chart.render(*GATEWAY, "--set", "config.gateway.compatible_errors=true")
        self.assertEqual(manifest_rules.server_toml(opened)["gateway"], {
            "listen": "0.0.0.0:8080", "listen_entries": "0.0.0.0:8082", "listen_health": "0.0.0.0:8081",
            "allow_from": ["10.0.0.0/8"], "compatible_errors": True})
        ports = chart.named(opened, "Service", "central-application-gateway")["spec"]["ports"]
        self.assertEqual([port["port"] for port in ports], [8080, 8082, 8081])
        self.assertEqual(secrets(opened), [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}])
        limited = chart.render(*GATEWAY, "--set", "gateway.secretNames={orders,crm}")
        self.assertEqual(secrets(limited)[0]["resourceNames"], ["orders", "crm"])
        names = lambda objects: {each["metadata"]["name"] for each in objects}
        self.assertEqual(names(opened) - names(closed), {"central-application-gateway", APPLICATIONS})
        # Kyma's own definition is there.
        self.assertEqual(names(opened) - names(chart.render(*GATEWAY, "--set", "crds.applications=false")),
                         {APPLICATIONS})
        with_tokens = chart.render("--set", "gateway.enabled=true", "--set-json", "config.gateway.issuer="
                                   '[{"issuer": "i", "jwks_url": "https://i/keys"}]')
        self.assertEqual(manifest_rules.server_toml(with_tokens)["gateway"]["issuer"][0]["issuer"], "i")

    def test_destinations_have_their_ports_rights_and_definition(self):
        without, opened = chart.render(*GATEWAY), chart.render(*GATEWAY, "--set", "gateway.destinations=true", "--set",
                                                               "networkPolicy.clientNamespaces={shop}", "--set",
                                                               "gateway.secretNames={orders}")
        self.assertEqual(manifest_rules.server_toml(opened)["gateway"]["destination_ports"], "0.0.0.0:20500-20899")
        added = {(each["kind"], each["metadata"]["name"]) for each in opened} - {
            (each["kind"], each["metadata"]["name"]) for each in without}
        self.assertEqual(added, {("CustomResourceDefinition", "destinations.destination.connectivity.api.sap"),
                                 ("ClusterRole", "culvert-server-destinations"),
                                 ("ClusterRoleBinding", "culvert-server-destinations")})
        readable = [rule["resourceNames"] for rule in chart.named(opened, "Role", "culvert-server")["rules"]
                    if rule["resources"] == ["secrets"]]
        self.assertEqual(readable, [["orders"], ["culvert-destinations"]])
        ports = [port for rule in chart.named(opened, "NetworkPolicy")["spec"]["ingress"] for port in rule["ports"]]
        self.assertIn({"protocol": "TCP", "port": 20500, "endPort": 20899}, ports)
        kept = chart.render(*GATEWAY, "--set", "gateway.destinations=true", "--set", "crds.destinations=false")
        self.assertNotIn("destinations.destination.connectivity.api.sap", {each["metadata"]["name"] for each in kept})
        self.refusal_of("gateway.destinations is of no use", "--set", "gateway.destinations=true")

    def test_the_network_policy_lets_the_gateway_out(self):
        def egress(*arguments):
            return chart.named(chart.render(*arguments), "NetworkPolicy")["spec"]["egress"]

        before = egress()
        self.assertEqual([rule for rule in egress(*GATEWAY) if rule not in before],
                         [{"ports": [{"protocol": "TCP", "port": 80}, {"protocol": "TCP", "port": 443}]}])
        self.assertIn({"ports": [{"protocol": "TCP", "port": 8443}], "to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]},
                      egress(*GATEWAY, "--set", "networkPolicy.externalSystems.ports={8443}", "--set",
                             "networkPolicy.externalSystems.cidrs={192.0.2.0/24}"))

    def test_the_network_policy_opens_the_ports_that_are_open(self):
        def ports(*arguments):
            rules = chart.named(chart.render(*arguments), "NetworkPolicy")["spec"]["ingress"]
            return [port for rule in rules for port in rule["ports"]]

        values = chart.with_values(chart.CHART / "values/on-premise-services.yaml")
        self.assertIn({"protocol": "TCP", "port": 20100, "endPort": 20499}, ports(*values))
        # Before 1.22 an endPort is ignored silently.
        one_by_one = [port["port"] for port in ports(*values, "--kube-version", "1.20")]
        self.assertEqual(one_by_one, [8042, *range(20100, 20500)])
        self.assertEqual([port["port"] for port in ports(*OPEN, "--set", "config.on_premise_services=null")],
                         [8042, 20003, 20004])
        self.assertEqual([port["port"] for port in ports(*GATEWAY, "--set", "networkPolicy.clientNamespaces={shop}")],
                         [8042, 8080, 8082, 8081])
        self.assertEqual([port["port"] for port in ports(*OPEN, "--set", "networkPolicy.clientNamespaces=null")],
                         [8042])

    def test_certificates_identify_agents(self):
        objects = chart.render(*chart.with_values(chart.CHART / "values/nginx-cert-manager.yaml"), "--set-json",
                               'tls.certManager.agents=[{"name":"gate-1","account":"acme","location":"plant-1"}]')
        server = chart.named(objects, "Certificate", "culvert-server")["spec"]
        self.assertEqual(server["secretName"], "culvert-tls")
        self.assertEqual(server["dnsNames"][0], "tunnel.example.com")
        self.assertIn("culvert-tunnel.culvert.svc", server["dnsNames"])
        agent = chart.named(objects, "Certificate", "culvert-agent-gate-1")["spec"]
        self.assertEqual(agent["uris"], ["spiffe://example.com/account/acme/location/plant-1/agent/gate-1"])
        self.assertEqual(agent["usages"], ["digital signature", "client auth"])

    def test_the_plain_manifest_is_up_to_date(self):
        with tempfile.TemporaryDirectory() as folder:
            fresh = pathlib.Path(folder) / "culvert.yaml"
            environment = {"HELM": str(chart.helm()), "PATH": "/usr/bin:/bin", "HOME": folder}
            subprocess.run([ROOT / "packaging/kubernetes/render", fresh], check=True, env=environment)
            self.assertEqual(PLAIN.read_text(), fresh.read_text(), "run packaging/kubernetes/render")


if __name__ == "__main__":
    unittest.main(verbosity=2)
