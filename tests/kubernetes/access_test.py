# SPDX-License-Identifier: Apache-2.0
"""Access to the API: with a client certificate, through `kubectl proxy`, and none if the API server cannot be
verified."""

import subprocess
import unittest

from tests.harness import certificates
from tests.harness.kubernetes import program_cache
from tests.harness.kubernetes.api_server import end
from tests.harness.kubernetes.cluster_case import ClusterCase
from tests.harness.ports import free_port
from tests.harness.waiting import wait_until


class Access(ClusterCase):
    def assert_serves_a_mapping(self):
        channel = self.pair.agent.channel(self.pair.server.port, "web")
        self.pair.start()
        self.apply("sm", "one.test:80")
        self.assert_reaches(channel, "one", 5)
        wait_until(lambda: self.condition("sm", "Ready") == ("True", "Ready"), 15, "it to be ready")

    def test_a_client_certificate_authenticates_the_server(self):
        table = self.pair.server.tables["kubernetes"]
        del table["token_file"]
        table |= {"client_certificate": self.api.admin.certificate, "client_key": self.api.admin.private_key}
        self.assert_serves_a_mapping()

    def test_kubectl_proxy_authenticates_the_server(self):
        port = free_port()
        proxy = subprocess.Popen([self.api.programs / "kubectl", f"--kubeconfig={self.api.kubeconfig}", "proxy",
                                  f"--port={port}"],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(end, proxy)
        table = self.pair.server.tables["kubernetes"]
        for key in ("token_file", "ca"):
            del table[key]
        table["api_server"] = f"http://127.0.0.1:{port}"
        self.assert_serves_a_mapping()

    def test_an_api_server_that_cannot_be_verified_receives_no_token(self):
        self.pair.server.tables["kubernetes"]["ca"] = certificates.Authority(self.folder / "others").ca
        self.pair.server.start()
        self.pair.server.wait_for_output("kubernetes.unreachable")
        self.assertFalse(self.pair.server.is_ready())
        self.pair.server.wait_for_output("code=tls.")


if __name__ == "__main__":
    program_cache.api_server()
    unittest.main(verbosity=2)
