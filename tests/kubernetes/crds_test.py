# SPDX-License-Identifier: Apache-2.0
"""The custom resource definitions in a real API server: what it accepts, what it refuses and with which message, and
who may write a status."""

import copy
import json
import pathlib
import unittest

from tests.harness.kubernetes import program_cache
from tests.harness.kubernetes.api_server import ApiServer
from tests.harness.kubernetes.chart import CRDS
from tests.harness.waiting import wait_until

MAPPINGS, SERVICES = "servicemappings.connectivityproxy.sap.com", "onpremiseservices.culvert.dev"
AGENTS = "agents.culvert.dev"
APPLICATIONS = "applications.applicationconnector.kyma-project.io"
DESTINATIONS = "destinations.destination.connectivity.api.sap"
SEED = (pathlib.Path(__file__).resolve().parent / "seed.yaml").read_text()
MAPPING = {"apiVersion": "connectivityproxy.sap.com/v1", "kind": "ServiceMapping", "metadata": {"name": "mapping"},
           "spec": {"type": "TCP", "serviceId": "myservice", "internalAddress": "echoserver.test:80"}}
SERVICE = {"apiVersion": "culvert.dev/v1alpha1", "kind": "OnPremiseService", "metadata": {"name": "erp"},
           "spec": {"virtualHost": "erp", "virtualPort": 443}}
AGENT = {"apiVersion": "culvert.dev/v1alpha1", "kind": "Agent", "metadata": {"name": "gate-1"},
         "spec": {"account": "acme"}}
# Each field that Kyma's own definition has.
APPLICATION = {
    "apiVersion": "applicationconnector.kyma-project.io/v1alpha1", "kind": "Application", "metadata": {"name": "shop"},
    "spec": {
        "displayName": "Shop", "description": "d", "longDescription": "l", "providerDisplayName": "p",
        "accessLabel": "shop", "tenant": "t", "group": "g", "tags": ["a"], "labels": {"region": "us"},
        "skipInstallation": False, "skipVerify": False, "encodeUrl": True,
        "compassMetadata": {"applicationId": "1", "authentication": {"clientIds": ["c"]}},
        "services": [{
            "id": "1", "name": "orders", "displayName": "Orders", "description": "d", "providerDisplayName": "p",
            "identifier": "i", "longDescription": "l", "labels": {"a": "b"}, "tags": ["a"],
            "authCreateParameterSchema": "{}",
            "entries": [{"type": "API", "apiType": "OPEN_API", "name": "v1", "id": "2", "targetUrl": "https://x/",
                         "gatewayUrl": "http://x", "centralGatewayUrl": "http://x", "accessLabel": "shop",
                         "specificationUrl": "https://x/spec", "requestParametersSecretName": "more",
                         "credentials": {"type": "OAuth", "secretName": "login", "authenticationUrl": "https://x/t",
                                         "csrfInfo": {"tokenEndpointURL": "https://x/csrf"}}},
                        {"type": "Events"}]}]}}
# Each field that SAP's own definition has.
DESTINATION = {
    "apiVersion": "destination.connectivity.api.sap/v1", "kind": "Destination", "metadata": {"name": "web"},
    "spec": {
        "destinationRef": {"name": "WEB"}, "fragmentRef": {"name": "f"},
        "chainRef": {"name": "c", "variables": [{"name": "a", "value": "b"}]},
        "destinationServiceInstanceName": "i", "service": {"port": 8080}, "accessControl": {"scope": "clusterWide"}}}
CLUSTER_SCOPED = ("ServiceMapping", "Application")
PLURALS = {"ServiceMapping": MAPPINGS, "OnPremiseService": SERVICES, "Agent": AGENTS, "Application": APPLICATIONS,
           "Destination": DESTINATIONS}
ABSENT = "absent"


def changed(template, path, value):
    """The template with another value at a path such as "spec.type"."""
    result = copy.deepcopy(template)
    *parents, last = path.split(".")
    place = result
    for key in parents:
        place = place[key]
    if value is ABSENT:
        del place[last]
    else:
        place[last] = value
    return result


def condition(kind, status, **more):
    return {"type": kind, "status": status, "reason": "AsTold", "message": "",
            "lastTransitionTime": "2026-01-02T03:04:05Z", **more}


class CrdsTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.server = ApiServer()
        cls.addClassCleanup(cls.server.close)
        cls.kubectl = cls.server.kubectl
        cls.said = cls.kubectl("apply", f"--filename={CRDS}")
        cls.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"crd/{MAPPINGS}", f"crd/{SERVICES}",
                    f"crd/{AGENTS}", f"crd/{APPLICATIONS}", f"crd/{DESTINATIONS}")
        # kubectl validates with this schema, which is published a little later.
        for kind in ("com.sap.connectivityproxy.v1.ServiceMapping", "dev.culvert.v1alpha1.OnPremiseService",
                     "dev.culvert.v1alpha1.Agent", "io.kyma-project.applicationconnector.v1alpha1.Application",
                     "sap.api.connectivity.destination.v1.Destination"):
            wait_until(lambda kind=kind: f'"{kind}"' in cls.server.get("/openapi/v2"), 30, f"the schema of {kind}",
                       every=0.5)

    def tearDown(self):
        self.kubectl("delete", MAPPINGS, "--all")
        self.kubectl("delete", SERVICES, "--all")
        self.kubectl("delete", AGENTS, "--all")
        self.kubectl("delete", APPLICATIONS, "--all")
        self.kubectl("delete", DESTINATIONS, "--all")

    def apply(self, content, *arguments, **keywords):
        return self.kubectl("apply", "--filename=-", *arguments, input=content, **keywords)

    def get(self, resource, name):
        return json.loads(self.kubectl("get", resource, name, "--output=json"))

    def put_status(self, template, status, code=0, **keywords):
        """Writes the whole object through the subresource, as a controller does."""
        group, plural = template["apiVersion"], PLURALS[template["kind"]].split(".")[0]
        scope = "" if template["kind"] in CLUSTER_SCOPED else "/namespaces/default"
        name = template["metadata"]["name"]
        present = self.get(f"{plural}.{group.split('/')[0]}", name)
        return self.kubectl("replace", "--raw", f"/apis/{group}{scope}/{plural}/{name}/status", "--filename=-",
                            input={**present, "spec": template["spec"], "status": status}, status=code, **keywords)

    def assert_refused(self, template, path, value, why):
        with self.subTest(path=path, value=str(value)[:40]):
            said = self.apply(changed(template, path, value), "--validate=false", status=1)
            self.assertRegex(said, why)

    def assert_accepted(self, template, path, value):
        with self.subTest(path=path, value=str(value)[:40]):
            self.apply(changed(template, path, value))

    # --- all ----------------------------------------------------------------------------------------------------------

    def test_all_are_accepted_without_a_warning(self):
        self.assertEqual(self.said, f"customresourcedefinition.apiextensions.k8s.io/{AGENTS} created\n"
                                    f"customresourcedefinition.apiextensions.k8s.io/{APPLICATIONS} created\n"
                                    f"customresourcedefinition.apiextensions.k8s.io/{DESTINATIONS} created\n"
                                    f"customresourcedefinition.apiextensions.k8s.io/{SERVICES} created\n"
                                    f"customresourcedefinition.apiextensions.k8s.io/{MAPPINGS} created\n")
        for name in (MAPPINGS, SERVICES, AGENTS, APPLICATIONS, DESTINATIONS):
            conditions = {each["type"]: each["status"] for each in self.get("crd", name)["status"]["conditions"]}
            self.assertEqual(conditions, {"NamesAccepted": "True", "Established": "True"},
                             "NonStructuralSchema is not among them")

    def test_they_are_found_by_category_and_short_names(self):
        self.apply(MAPPING)
        self.apply(SERVICE)
        self.apply(AGENT)
        self.apply(APPLICATION)
        listed = self.kubectl("get", "culvert", "--output=name").split()
        self.assertEqual(sorted(listed), ["agent.culvert.dev/gate-1",
                                          "application.applicationconnector.kyma-project.io/shop",
                                          "onpremiseservice.culvert.dev/erp",
                                          "servicemapping.connectivityproxy.sap.com/mapping"])
        self.kubectl("get", "sm", "mapping")
        self.kubectl("get", "ops", "erp")
        self.kubectl("get", "cag", "gate-1")
        self.kubectl("get", "app", "shop")

    def test_status_is_written_only_through_its_subresource(self):
        for template, status in ((MAPPING, {"endpoint": "tcp://tunnel.example.com:443/myservice"}),
                                 (SERVICE, {"port": 21000}),
                                 (APPLICATION, {"installationStatus": {"status": "deployed"}, "gateway": [
                                     {"service": "Orders", "entry": "v1", "url": "http://gateway:8080/shop/orders"}]}),
                                 (AGENT, {"version": "0.4.0", "replicas": ["a"],
                                          "joinToken": {"id": "t", "notAfter": "2026-01-02T03:04:05Z"}})):
            with self.subTest(template["kind"]):
                self.apply({**template, "status": status})
                resource, name = template["kind"].lower(), template["metadata"]["name"]
                self.assertNotIn("status", self.get(resource, name))
                status = {**status, "observedGeneration": 1,
                          "conditions": [condition("Ready", "True", observedGeneration=1)]}
                self.put_status(template, status)
                self.assertEqual(self.get(resource, name)["status"], status)
                # The generation counts changes by users, not by the controller.
                self.assertEqual(self.get(resource, name)["metadata"]["generation"], 1)
                self.kubectl("wait", "--for=condition=Ready", "--timeout=10s", f"{resource}/{name}")
                # An apply does not change the status, whatever it contains.
                self.apply({**template, "status": {"observedGeneration": 7}})
                self.assertEqual(self.get(resource, name)["status"], status)

    def test_writing_a_status_needs_no_right_to_change_the_spec(self):
        self.kubectl("create", "serviceaccount", "controller")
        self.kubectl("create", "clusterrole", "controller", "--verb=get,update",
                     f"--resource={MAPPINGS}/status,{SERVICES}/status,{AGENTS}/status,{APPLICATIONS}/status")
        self.kubectl("create", "clusterrolebinding", "controller", "--clusterrole=controller",
                     "--serviceaccount=default:controller")
        mine = self.server.kubeconfig_of("controller")
        for template, path in ((MAPPING, "spec.serviceId"), (SERVICE, "spec.virtualHost"),
                               (APPLICATION, "spec.description"),
                               (AGENT, "spec.location")):
            with self.subTest(template["kind"]):
                self.apply(template)
                # Other changes in the same request are dropped.
                self.put_status(changed(template, path, "another"), {"observedGeneration": 1}, kubeconfig=mine)
                present = self.get(template["kind"].lower(), template["metadata"]["name"])
                self.assertEqual(present["status"], {"observedGeneration": 1})
                self.assertNotIn("another", json.dumps(present["spec"]))
                said = self.kubectl("replace", "--filename=-", input=changed(present, path, "another"), status=1,
                                    kubeconfig=mine)
                self.assertIn("cannot", said)
                self.assertIn("Forbidden", said)

    def test_applying_one_condition_does_not_change_the_others(self):
        newer = program_cache.newer_tools() / "kubectl"
        for template in (MAPPING, SERVICE, AGENT, APPLICATION):
            with self.subTest(template["kind"]):
                self.apply(template)
                for writer, kind, status in (("one", "Ready", "False"), ("two", "Accepted", "True"),
                                             ("one", "Ready", "True")):
                    self.apply({**template, "status": {"conditions": [condition(kind, status)]}}, "--server-side",
                               "--subresource=status",
                               f"--field-manager={writer}", "--validate=false", program=newer)
                conditions = self.get(template["kind"].lower(), template["metadata"]["name"])["status"]["conditions"]
                self.assertEqual({each["type"]: each["status"] for each in conditions},
                                 {"Ready": "True", "Accepted": "True"})

    def test_a_bad_condition_is_refused(self):
        for template in (MAPPING, SERVICE, AGENT, APPLICATION):
            self.apply(template)
            for conditions, why in (
                    ([condition("Ready", "Perhaps")], r"status.conditions.status: Unsupported value"),
                    ([condition("Ready", "True", reason="two words")], r"status.conditions.reason: Invalid value"),
                    ([{"type": "Ready", "status": "True"}],
                     r"status.conditions.(lastTransitionTime|reason|message): Required value")):
                with self.subTest(template["kind"], why=why):
                    self.assertRegex(self.put_status(template, {"conditions": conditions}, code=1), why)

    def test_an_unknown_field_is_dropped_and_kubectl_warns_before(self):
        for template in (MAPPING, SERVICE, AGENT, APPLICATION, DESTINATION):
            with self.subTest(template["kind"]):
                unknown = changed(template, "spec.colour", "red")
                self.assertIn('unknown field "colour"', self.apply(unknown, status=1))
                self.apply(unknown, "--validate=false")
                self.assertNotIn("colour", self.get(template["kind"].lower(), template["metadata"]["name"])["spec"])

    def columns(self, resource, *arguments):
        header, row = self.kubectl("get", resource, *arguments).splitlines()
        return header.split(), row.split()

    def test_kubectl_explains_each_field_of_a_specification(self):
        for template in (MAPPING, SERVICE, AGENT, APPLICATION, DESTINATION):
            with self.subTest(template["kind"]):
                said = self.kubectl("explain", f"{PLURALS[template['kind']].split('.', maxsplit=1)[0]}.spec",
                                    f"--api-version={template['apiVersion']}")
                schema = self.get("crd", PLURALS[template["kind"]])["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
                spec = schema["properties"]["spec"]
                for name in spec["properties"]:
                    end = " -required-" if name in spec.get("required", ()) else ""
                    self.assertRegex(said, rf"(?m)^   {name}\t<[^>]*>{end}\n     \S")

    # --- Application -------------------------------------------------------------------------------------------------

    def test_what_kymas_definition_accepts_is_accepted_unchanged(self):
        self.apply(APPLICATION)
        self.assertEqual(self.get(APPLICATIONS, "shop")["spec"], APPLICATION["spec"])
        for path, value in (("spec", {}), ("spec.labels", None), ("spec.tags", None), ("spec.services", []),
                            ("spec.services", ABSENT)):
            self.assert_accepted(APPLICATION, path, value)
        self.apply({**changed(APPLICATION, "spec", ABSENT), "metadata": {"name": "empty"}})
        wrong = copy.deepcopy(APPLICATION)
        wrong["spec"]["services"][0]["entries"][0]["type"] = "Queue"
        self.assert_refused(wrong, "spec.displayName", "x", 'Unsupported value: "Queue"')
        del wrong["spec"]["services"][0]["entries"]
        self.assert_refused(wrong, "spec.displayName", "x", r"spec.services(\[0\])?.entries: Required value")

    # --- Destination -------------------------------------------------------------------------------------------------

    def test_what_saps_definition_accepts_is_accepted_unchanged(self):
        self.apply(DESTINATION)
        self.assertEqual(self.get(DESTINATIONS, "web")["spec"], DESTINATION["spec"])
        for path in ("fragmentRef", "chainRef", "destinationServiceInstanceName", "service", "accessControl"):
            self.assert_accepted(DESTINATION, f"spec.{path}", ABSENT)
        self.assert_accepted(DESTINATION, "spec.destinationRef.name", "*")
        for path, value, why in (("spec.destinationRef", ABSENT, "Required value"),
                                 ("spec.destinationRef.name", "a b", "Invalid value"),
                                 ("spec.service.port", 65536, "Invalid value"),
                                 ("spec.accessControl.scope", "all", "Unsupported value"),
                                 ("metadata.name", "1web", "Invalid value")):
            self.assert_refused(DESTINATION, path, value, why)

    def test_the_columns_and_the_status_of_a_destination(self):
        self.apply(DESTINATION)
        available = {"type": "Available", "status": "True", "reason": "Available", "message": "",
                     "lastUpdateTime": "2026-01-02T03:04:05Z"}
        self.put_status(DESTINATION, {"port": 20500, "observedGeneration": 1, "conditions": [available]})
        header, row = self.columns(DESTINATIONS)
        self.assertEqual(header, ["NAME", "DESTINATION", "AVAILABLE", "AGE"])
        self.assertEqual(row[:3], ["web", "WEB", "True"])
        self.kubectl("wait", "--for=condition=Available", "--timeout=10s", f"{DESTINATIONS}/web")

    # --- ServiceMapping -----------------------------------------------------------------------------------------------

    def test_the_manifest_of_existing_installations_applies_unchanged(self):
        self.assertEqual(self.apply(SEED), "servicemapping.connectivityproxy.sap.com/sm created\n")
        spec = self.get(MAPPINGS, "sm")["spec"]
        self.assertEqual(spec, {"type": "TCP", "subaccountId": "7a1c0f4e-93b5-4c6d-8e21-5d0f6a7b8c9d",
                                "serviceId": "myservice",
                                "internalAddress": "echoserver.test:80", "locationIds": ["plant-1", ""]})
        endpoint = "tcp://tunnel.example.com:443/myservice"
        self.put_status(changed(MAPPING, "metadata.name", "sm"), {"endpoint": endpoint})
        self.assertEqual(self.kubectl("get", MAPPINGS, "sm", "-ojsonpath={.status.endpoint}"), endpoint)

    def test_a_bad_service_mapping_is_refused_with_the_name_of_the_field(self):
        for path, value, why in (
                ("spec", ABSENT, "spec: Required value"),
                ("spec.type", ABSENT, "spec.type: Required value"),
                ("spec.type", "UDP", r'spec.type: Unsupported value: "UDP": supported values: "TCP", "RFC"'),
                ("spec.type", 1, "spec.type: Invalid value: \"integer\": spec.type in body must be of type string"),
                ("spec.subaccountId", "", "spec.subaccountId: Invalid value"),
                ("spec.subaccountId", "..", "spec.subaccountId: Invalid value"),
                ("spec.subaccountId", "a/b", "spec.subaccountId: Invalid value"),
                ("spec.subaccountId", "a\n", "spec.subaccountId: Invalid value"),
                ("spec.subaccountId", "a" * 256, "spec.subaccountId in body should be at most 255 chars long"),
                ("spec.serviceId", ABSENT, "spec.serviceId: Required value"),
                ("spec.serviceId", ".", "spec.serviceId: Invalid value"),
                ("spec.serviceId", "my service", "spec.serviceId: Invalid value"),
                ("spec.serviceId", "s" * 256, "spec.serviceId in body should be at most 255 chars long"),
                ("spec.internalAddress", ABSENT, "spec.internalAddress: Required value"),
                ("spec.internalAddress", "echoserver.test", "spec.internalAddress: Invalid value"),
                ("spec.internalAddress", "http://echoserver.test:80", "spec.internalAddress: Invalid value"),
                ("spec.internalAddress", "user@echoserver.test:80", "spec.internalAddress: Invalid value"),
                ("spec.internalAddress", "echo..test:80", "spec.internalAddress: Invalid value"),
                ("spec.internalAddress", "echo.test:a-name-of-16-chr", "spec.internalAddress: Invalid value"),
                ("spec.internalAddress", "h" * 268 + ":80",
                 "spec.internalAddress in body should be at most 270 chars long"),
                ("spec.locationIds", "plant-1", 'spec.locationIds: Invalid value: "string"'),
                ("spec.locationIds", [], "spec.locationIds in body should have at least 1 items"),
                ("spec.locationIds", ["a", "b/c"], "spec.locationIds: Invalid value"),
                ("spec.locationIds", ["a", "a"], r"spec.locationIds\[1\]: Duplicate value"),
                ("spec.locationIds", [f"l{number}" for number in range(257)],
                 "spec.locationIds in body should have at most 256 items"),
                ("spec.tenantId", "t" * 256, "spec.tenantId in body should be at most 255 chars long")):
            self.assert_refused(MAPPING, path, value, why)
        self.assertEqual(self.kubectl("get", MAPPINGS, "--output=name"), "")

    def test_values_at_a_limit_are_accepted(self):
        for path, value in (
                ("spec.type", "RFC"), ("spec.subaccountId", "a" * 255), ("spec.subaccountId", "..."),
                ("spec.serviceId", ".a_B-9"), ("spec.serviceId", "s"), ("spec.serviceId", "s" * 255),
                ("spec.locationIds", [""]), ("spec.tenantId", ""),
                ("spec.locationIds", [f"l{number}" for number in range(256)]),
                ("spec.internalAddress", "echoserver.test.svc:80"),
                ("spec.internalAddress", "echoserver.test.svc.cluster.local:65535"),
                ("spec.internalAddress", "echoserver.test.svc.cluster.local.:https"),
                ("spec.internalAddress", "echoserver.test:a-name-of-15-ch"),
                # The server's configuration decides whether an address may be numeric.
                ("spec.internalAddress", "10.1.2.3:80"), ("spec.internalAddress", "[fd00::1]:80")):
            self.assert_accepted(MAPPING, path, value)

    def test_the_columns_of_a_service_mapping(self):
        self.apply(SEED)
        header, row = self.columns("servicemappings")
        self.assertEqual(header, ["NAME", "SERVICE", "TYPE", "TARGET", "READY", "AGE"])
        self.assertEqual(row[:4], ["sm", "myservice", "TCP", "echoserver.test:80"])
        self.put_status(changed(MAPPING, "metadata.name", "sm"),
                        {"endpoint": "tcp://e:443/myservice",
                         "conditions": [condition("Accepted", "True"), condition("Ready", "False")]})
        self.assertEqual(self.columns("servicemappings")[1][4], "False")
        header, row = self.columns("servicemappings", "--output=wide")
        self.assertEqual(header[-2:], ["ACCOUNT", "ENDPOINT"])
        self.assertEqual(row[-2:], ["7a1c0f4e-93b5-4c6d-8e21-5d0f6a7b8c9d", "tcp://e:443/myservice"])

    # --- OnPremiseService ---------------------------------------------------------------------------------------------

    def test_a_bad_on_premise_service_is_refused_with_the_name_of_the_field(self):
        for path, value, why in (
                ("metadata.name", "1erp", "metadata.name: Invalid value"),
                ("metadata.name", "erp.one", "metadata.name: Invalid value"),
                ("metadata.name", "e" * 64, "metadata.name in body should be at most 63 chars long"),
                ("spec", ABSENT, "spec: Required value"),
                ("spec.account", "", "spec.account: Invalid value"),
                ("spec.account", "a b", "spec.account: Invalid value"),
                ("spec.account", "a" * 256, "spec.account in body should be at most 255 chars long"),
                ("spec.location", "..", "spec.location: Invalid value"),
                ("spec.location", "l" * 256, "spec.location in body should be at most 255 chars long"),
                ("spec.virtualHost", ABSENT, "spec.virtualHost: Required value"),
                ("spec.virtualHost", "erp:443", "spec.virtualHost: Invalid value"),
                ("spec.virtualHost", "http://erp", "spec.virtualHost: Invalid value"),
                ("spec.virtualHost", "erp\r\nX: y", "spec.virtualHost: Invalid value"),
                ("spec.virtualHost", "h" * 254, "spec.virtualHost in body should be at most 253 chars long"),
                ("spec.virtualPort", ABSENT, "spec.virtualPort: Required value"),
                ("spec.virtualPort", "443", 'spec.virtualPort: Invalid value: "string"'),
                ("spec.virtualPort", 0, "spec.virtualPort: Invalid value"),
                ("spec.virtualPort", 65536, "spec.virtualPort: Invalid value"),
                ("spec.protocol", "https",
                 r'spec.protocol: Unsupported value: "https": supported values: "http", "tcp"'),
                ("spec.port", 0, "spec.port: Invalid value"),
                ("spec.port", 65536, "spec.port: Invalid value")):
            self.assert_refused(SERVICE, path, value, why)
        self.assertEqual(self.kubectl("get", SERVICES, "--output=name"), "")

    def test_good_on_premise_services_are_accepted(self):
        for path, value in (
                ("metadata.name", "e" * 63), ("spec.account", "a" * 255), ("spec.location", ""),
                ("spec.location", "plant-1"), ("spec.virtualHost", "10.1.2.3"), ("spec.virtualHost", "fd00::1"),
                ("spec.virtualHost", "Erp_1.plant.example"),
                ("spec.virtualPort", 1), ("spec.virtualPort", 65535), ("spec.protocol", "http"), ("spec.port", 65535)):
            self.assert_accepted(SERVICE, path, value)

    def test_the_columns_of_an_on_premise_service(self):
        self.apply(SERVICE)
        self.assertEqual(self.get("ops", "erp")["spec"]["protocol"], "tcp")
        self.put_status(SERVICE, {"port": 21000, "conditions": [condition("Ready", "True")]})
        header, row = self.columns("onpremiseservices")
        self.assertEqual(header, ["NAME", "HOST", "PORT", "PROTOCOL", "READY", "AGE"])
        self.assertEqual(row[:5], ["erp", "erp", "443", "tcp", "True"])

    # --- Agent --------------------------------------------------------------------------------------------------------

    def test_a_bad_agent_is_refused_with_the_name_of_the_field(self):
        for path, value, why in (
                ("metadata.name", "g" * 64, "metadata.name in body should be at most 63 chars long"),
                ("spec", ABSENT, "spec: Required value"),
                ("spec.account", ABSENT, "spec.account: Required value"),
                ("spec.account", "", "spec.account: Invalid value"),
                ("spec.account", "..", "spec.account: Invalid value"),
                ("spec.account", "a" * 256, "spec.account in body should be at most 255 chars long"),
                ("spec.location", "a/b", "spec.location: Invalid value"),
                ("spec.agent", "a b", "spec.agent: Invalid value"),
                ("spec.enabled", "true", 'spec.enabled: Invalid value: "string"'),
                ("spec.lifetime", "0h", "spec.lifetime: Invalid value"),
                ("spec.lifetime", "12", "spec.lifetime: Invalid value"),
                ("spec.lifetime", "1h30m", "spec.lifetime: Invalid value"),
                ("spec.lifetime", 12, 'spec.lifetime: Invalid value: "integer"')):
            self.assert_refused(AGENT, path, value, why)
        self.assertEqual(self.kubectl("get", AGENTS, "--output=name"), "")

    def test_good_agents_are_accepted(self):
        for path, value in (
                ("metadata.name", "g" * 63), ("metadata.name", "gate.one"), ("spec.account", "a" * 255),
                ("spec.location", ""), ("spec.location", "plant-1"), ("spec.agent", ""), ("spec.agent", "Gate_1"),
                ("spec.enabled", False), ("spec.lifetime", "60s"), ("spec.lifetime", "30d")):
            self.assert_accepted(AGENT, path, value)

    def test_the_columns_of_an_agent(self):
        self.apply(changed(AGENT, "spec.location", "plant-1"))
        self.assertIs(self.get("cag", "gate-1")["spec"]["enabled"], True)
        self.put_status(changed(AGENT, "spec.location", "plant-1"),
                        {"version": "0.4.0", "certificate": {"notAfter": "2036-01-02T03:04:05Z"},
                         "conditions": [condition("Connected", "True")]})
        header, row = self.columns(AGENTS)
        self.assertEqual(header, ["NAME", "ACCOUNT", "LOCATION", "CONNECTED", "VERSION", "EXPIRES", "AGE"])
        self.assertEqual(row[:6], ["gate-1", "acme", "plant-1", "True", "0.4.0", "2036-01-02T03:04:05Z"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
