# SPDX-License-Identifier: Apache-2.0
"""What the other tests of this folder rely on: the API server checks rights, restarts with its data, and forgets old
revisions."""

import json
import os
import subprocess
import unittest
import urllib.error
import urllib.parse

from tests.harness.kubernetes import program_cache
from tests.harness.kubernetes.api_server import ApiServer


def object_of(kind, name, **content):
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **content}


class ApiServerTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.server = ApiServer()
        cls.addClassCleanup(cls.server.close)

    def create(self, kind, name, **content):
        return self.server.kubectl("create", "--filename=-", input=object_of(kind, name, **content))

    def test_a_service_account_has_the_rights_of_its_role(self):
        self.create("ServiceAccount", "reader")
        self.server.kubectl("create", "role", "readers", "--verb=get,list", "--resource=configmaps")
        self.server.kubectl("create", "rolebinding", "readers", "--role=readers", "--serviceaccount=default:reader")
        mine = self.server.kubeconfig_of("reader")
        self.server.kubectl("get", "configmaps", kubeconfig=mine)
        refused = self.server.kubectl("get", "secrets", kubeconfig=mine, status=1)
        self.assertIn('"system:serviceaccount:default:reader" cannot list resource "secrets"', refused)
        with self.assertRaises(AssertionError):
            self.server.token("nobody")

    def test_it_restarts_at_the_same_port_with_the_same_data(self):
        self.create("ConfigMap", "kept", data={"a": "b"})
        self.server.stop()
        with self.assertRaises(OSError):
            self.server.get("/readyz")
        self.server.start()
        self.assertEqual(self.server.kubectl("get", "configmap", "kept", "--output=jsonpath={.data.a}"), "b")

    def test_what_is_older_than_a_compaction_is_gone(self):
        for number in range(3):
            self.create("ConfigMap", f"page-{number}")
        page = json.loads(self.server.get("/api/v1/namespaces/default/configmaps?limit=1"))["metadata"]
        rest = "/api/v1/namespaces/default/configmaps?" + urllib.parse.urlencode({"limit": 1,
                                                                                  "continue": page["continue"]})
        self.assertEqual(len(json.loads(self.server.get(rest))["items"]), 1)
        self.create("ConfigMap", "later")
        revision = self.server.compact()
        self.assertGreater(revision, int(page["resourceVersion"]))
        with self.assertRaises(urllib.error.HTTPError) as gone:
            self.server.get(rest)
        self.assertEqual(gone.exception.code, 410)
        # A watch uses the cache of the API server, which is empty after a restart.
        self.server.stop()
        self.server.start()
        watch = ("/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=3"
                 f"&resourceVersion={page['resourceVersion']}")
        event = json.loads(self.server.get(watch))
        self.assertEqual((event["type"], event["object"]["code"]), ("ERROR", 410))

    def test_newer_tools_work_with_it(self):
        tools = program_cache.newer_tools()
        self.assertIn("kubernetes", self.server.kubectl("get", "service", "kubernetes", program=tools / "kubectl"))
        self.assertRegex(subprocess.run([tools / "helm", "version", "--short"], capture_output=True, text=True,
                                        check=True).stdout, r"^v4\.")

    def test_close_leaves_nothing_behind(self):
        with ApiServer() as other:
            pids, folder = (other.server.pid, other.etcd.pid), other.folder
            # Each has its own data.
            self.assertIn("No resources found", other.kubectl("get", "configmaps"))
        for pid in pids:
            with self.assertRaises(ProcessLookupError):
                os.kill(pid, 0)
        self.assertFalse(folder.exists())


if __name__ == "__main__":
    unittest.main(verbosity=2)
