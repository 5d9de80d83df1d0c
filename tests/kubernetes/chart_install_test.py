# SPDX-License-Identifier: Apache-2.0
"""The Helm chart in a real API server, from install to uninstall. No kubelet runs here; chart_server_test.py runs the
server as a pod would. For kinds of others (Istio, cert-manager, the Prometheus operator) only the names are checked, by
stubs of their custom resource definitions."""

import json
import pathlib
import re
import tempfile
import unittest

from tests.harness.environment import ROOT
from tests.harness.kubernetes import chart, manifest_rules
from tests.harness.kubernetes.api_server import ApiServer

MAPPINGS, OWN_SERVICES = "servicemappings.connectivityproxy.sap.com", "onpremiseservices.culvert.dev"
AGENTS = "agents.culvert.dev"
PLAIN = ROOT / "packaging/kubernetes/culvert.yaml"
STUBS = [("monitoring.coreos.com", "v1", "ServiceMonitor"), ("cert-manager.io", "v1", "Certificate"),
         ("cert-manager.io", "v1", "Issuer"),
         ("networking.istio.io", "v1beta1", "Gateway"), ("networking.istio.io", "v1beta1", "VirtualService"),
         ("security.istio.io", "v1beta1", "PeerAuthentication"),
         ("security.istio.io", "v1beta1", "AuthorizationPolicy")]


class InstallingTest(unittest.TestCase):
    """helm and kubectl with a real API server, without --wait, since no pod runs."""

    @classmethod
    def setUpClass(cls):
        cls.api = ApiServer()
        cls.addClassCleanup(cls.api.close)
        cls.kubectl = cls.api.kubectl
        for name in ("culvert", "shop", "billing"):
            cls.kubectl("create", "namespace", name)

    def tearDown(self):
        self.helm("uninstall", "culvert", "--ignore-not-found")
        self.kubectl("delete", "crd", "--all", "--wait=false")
        self.kubectl("wait", "--for=delete", "--timeout=60s", "crd", "--all", status=None)

    def helm(self, command, *arguments, status=0):
        return self.kubectl(command, *arguments, "--namespace", "culvert", program=chart.helm(), status=status,
                            seconds=120)

    def get(self, kind, name=None, namespace="culvert"):
        return json.loads(self.kubectl("get", kind, *([name] if name else []), "--namespace", namespace,
                                       "--output=json"))

    def toml(self):
        return self.get("configmap", "culvert-server")["data"]["server.toml"]

    def seed(self):
        self.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"crd/{MAPPINGS}")
        self.kubectl("apply", "--validate=false", "--filename=-", input={
            "apiVersion": "connectivityproxy.sap.com/v1", "kind": "ServiceMapping", "metadata": {"name": "sm"},
            "spec": {"type": "TCP", "serviceId": "myservice", "internalAddress": "echoserver.test:80"}})

    def test_install_upgrade_rollback_uninstall(self):
        notes = self.helm("install", "culvert", chart.CHART)
        self.assertIn("the HTTP proxy (config.http_proxy)", notes)
        self.assertIn('Secret "culvert-tls"', notes)
        self.assertIn("Agents cannot join (enrolment.enabled)", notes)
        self.seed()
        first, deployment = self.toml(), self.get("deployment", "culvert-server")
        self.assertEqual(self.get("poddisruptionbudget", "culvert-server")["spec"]["maxUnavailable"], 1)

        # Only the configuration changes, so no pod changes.
        self.helm("upgrade", "culvert", chart.CHART, "--set", "config.log.level=debug", "--set",
                  "external.host=tunnel.example.com")
        self.assertNotEqual(self.toml(), first)
        self.assertIn('external_address = "tunnel.example.com:443"', self.toml())
        self.assertEqual(self.get("deployment", "culvert-server")["metadata"]["generation"],
                         deployment["metadata"]["generation"])
        self.helm("upgrade", "culvert", chart.CHART, "--set", "replicas=3", "--set", "config.http_proxy.account=acme",
                  "--set", "config.http_proxy.allow_from={10.0.0.0/8}")
        self.assertEqual(self.get("deployment", "culvert-server")["spec"]["replicas"], 3)
        self.get("service", "culvert")
        self.helm("upgrade", "culvert", chart.CHART, "--set", "replicas=none", status=1)
        notes = self.helm("upgrade", "culvert", chart.CHART, "--set", "enrolment.enabled=true")
        self.assertIn('Agents join. The pods wait for a Secret "culvert-authority" with tls.crt and tls.key', notes)
        notes = self.helm("upgrade", "culvert", chart.CHART, "--set", "enrolment.enabled=true", "--set",
                          "enrolment.issuer.name=agents", "--set", "enrolment.authority.secretName=ca")
        self.assertIn('the Issuer agents signs them. The pods wait for a Secret "ca" with tls.crt, its', notes)

        self.helm("rollback", "culvert", "1")
        self.assertEqual(self.toml(), first)
        self.assertEqual(self.get("deployment", "culvert-server")["spec"]["replicas"], 2)
        self.kubectl("get", "service", "culvert", "--namespace=culvert", status=1)

        self.helm("uninstall", "culvert")
        for kind in ("deployment", "service", "configmap", "role", "rolebinding", "networkpolicy",
                     "poddisruptionbudget"):
            self.assertNotIn("culvert", [each["metadata"]["labels"].get("app.kubernetes.io/name")
                                         for each in self.get(kind)["items"]
                                         if "labels" in each["metadata"]], kind)
        self.kubectl("get", "clusterrole", "culvert-server", status=1)
        self.assertEqual(self.get(MAPPINGS, "sm")["spec"]["serviceId"], "myservice", "what other clients wrote stays")
        self.get("crd", OWN_SERVICES)
        self.helm("install", "culvert", chart.CHART)
        self.helm("uninstall", "culvert")

    def test_a_definition_of_another_release_is_adopted_only_on_request(self):
        foreign = chart.read((chart.CRDS / "servicemappings.yaml").read_text())[0]
        foreign["metadata"] = {"name": MAPPINGS, "annotations": {
            "meta.helm.sh/release-name": "connectivity-proxy", "meta.helm.sh/release-namespace": "kyma-system"}}
        foreign["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = {"type": "object",
                                                                       "x-kubernetes-preserve-unknown-fields": True}
        self.kubectl("create", "--filename=-", input=foreign)
        self.seed()
        before = self.get("crd", MAPPINGS)
        refusal = self.helm("install", "culvert", chart.CHART, status=1)
        self.assertIn(
            f"the CRD {MAPPINGS} exists already and belongs to the release connectivity-proxy in kyma-system",
            refusal)
        self.assertIn("crds.adopt=true", refusal)
        self.kubectl("get", "deployment", "culvert-server", "--namespace=culvert", status=1)
        self.kubectl("get", "crd", OWN_SERVICES, status=1)
        # If the chart has no objects for the cluster, there is no conflict.
        self.helm("install", "culvert", chart.CHART, "--set", "config.kubernetes=null")
        self.helm("uninstall", "culvert")

        self.helm("install", "culvert", chart.CHART, "--set", "crds.adopt=true")
        self.assertEqual(self.get("crd", MAPPINGS), before, "it is used as it is")
        self.assertIn("crds.adopt=true", self.helm("upgrade", "culvert", chart.CHART, "--reset-values", status=1))
        # The manual's way to adopt it.
        self.kubectl("label", "crd", MAPPINGS, "app.kubernetes.io/managed-by=Helm")
        self.kubectl("annotate", "--overwrite", "crd", MAPPINGS, "meta.helm.sh/release-name=culvert",
                     "meta.helm.sh/release-namespace=culvert")
        self.helm("upgrade", "culvert", chart.CHART, "--reset-values", "--force-conflicts")
        self.assertEqual(self.get("crd", MAPPINGS)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["required"],
                         ["spec"])
        self.assertEqual(self.get(MAPPINGS, "sm")["spec"]["serviceId"], "myservice")
        # The manual's way back.
        self.helm("uninstall", "culvert")
        self.assertEqual(self.get(MAPPINGS, "sm")["spec"]["serviceId"], "myservice")

    def test_definitions_stay_when_the_release_no_longer_needs_them(self):
        self.helm("install", "culvert", chart.CHART)
        self.seed()
        self.helm("upgrade", "culvert", chart.CHART, "--set", "config.kubernetes=null")
        self.assertEqual(self.get(MAPPINGS, "sm")["spec"]["serviceId"], "myservice")
        self.helm("upgrade", "culvert", chart.CHART, "--reset-values")

    def make_stubs(self):
        """Stubs of the definitions of others, which accept everything."""
        for group, version, kind in STUBS:
            plural = (kind[:-1] + "ies" if kind.endswith("y") else kind + "s").lower()
            self.kubectl("create", "--filename=-", input={
                "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                "metadata": {"name": f"{plural}.{group}"},
                "spec": {"group": group, "scope": "Namespaced",
                         "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
                         "versions": [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                             "type": "object", "x-kubernetes-preserve-unknown-fields": True}}}]}})
            self.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"crd/{plural}.{group}")

    def test_each_value_set_installs(self):
        self.make_stubs()
        for path in chart.VALUE_SETS:
            with self.subTest(values=path.stem):
                self.helm("install", "culvert", chart.CHART, "--values", path)
                self.helm("uninstall", "culvert")

    def test_the_manuals_examples_are_accepted(self):
        self.make_stubs()
        self.kubectl("apply", f"--filename={chart.CRDS}")
        self.kubectl("wait", "--for=condition=Established", "--timeout=30s", f"crd/{MAPPINGS}", f"crd/{OWN_SERVICES}",
                     f"crd/{AGENTS}")
        examples = re.findall(r"^```yaml\n(.*?)^```", (ROOT / "docs/kubernetes.md").read_text(), re.M | re.S)
        values = [text for text in examples if text.startswith("# Values of the chart.")]
        self.assertEqual((len(values), len(examples)), (4, 12))
        with tempfile.TemporaryDirectory() as folder:
            for text in values:
                path = pathlib.Path(folder) / "values.yaml"
                path.write_text(text)
                self.assertEqual(manifest_rules.findings(chart.render("--values", path)), [])
        for text in set(examples) - set(values):
            self.kubectl("apply", "--filename=-", input=text)

    def test_the_plain_manifest_is_accepted(self):
        # This API server is older than the manifest requires, which matters for one kind only.
        text = PLAIN.read_text().replace("apiVersion: policy/v1\n", "apiVersion: policy/v1beta1\n")
        self.kubectl("apply", "--filename=-", input=text)
        self.assertIn('external_address = "culvert-tunnel.culvert.svc.cluster.local:8042"', self.toml())
        self.assertIn("unchanged", self.kubectl("apply", "--filename=-", input=text))
        self.kubectl("delete", "--wait=false", "--filename=-", input="\n---\n".join(
            part
            for part in text.split("\n---\n") if "kind: Namespace" not in part
            and "kind: CustomResourceDefinition" not in part))


if __name__ == "__main__":
    unittest.main(verbosity=2)
