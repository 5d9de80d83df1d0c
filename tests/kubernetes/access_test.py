# SPDX-License-Identifier: Apache-2.0
"""The ways to the API: with a client certificate, through `kubectl proxy`, and not at all where nobody proves who serves it."""

import subprocess
import unittest

import cache
from api_server import end, wait_until
from cluster_case import ClusterCase

import certificates
from culvert import free_port


class Access(ClusterCase):
    def serves_a_mapping(self):
        channel = self.pair.agent.channel(self.pair.server.port, "web")
        self.pair.start()
        self.apply("sm", "one.test:80")
        self.says(channel, "one", 5)
        wait_until(lambda: self.condition("sm", "Ready") == ("True", "Ready"), 15, "it to be ready")

    def test_a_client_certificate_is_who_we_are(self):
        table = self.pair.server.tables["kubernetes"]
        del table["token_file"]
        table |= {"client_certificate": self.api.admin.certificate, "client_key": self.api.admin.private_key}
        self.serves_a_mapping()

    def test_kubectl_proxy_speaks_for_us(self):
        port = free_port()
        proxy = subprocess.Popen([self.api.programs / "kubectl", f"--kubeconfig={self.api.kubeconfig}", "proxy", f"--port={port}"],
                                 stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(end, proxy)
        table = self.pair.server.tables["kubernetes"]
        for key in ("token_file", "ca"):
            del table[key]
        table["api_server"] = f"http://127.0.0.1:{port}"
        self.serves_a_mapping()

    def test_a_server_that_does_not_prove_itself_hears_no_token(self):
        self.pair.server.tables["kubernetes"]["ca"] = certificates.Authority(self.folder / "others").ca
        self.pair.server.start()
        self.pair.server.wait_for_output("kubernetes.unreachable")
        self.assertFalse(self.pair.server.is_ready())
        self.assertIn("code=tls.", self.pair.server.output())


if __name__ == "__main__":
    cache.api_server()
    unittest.main(verbosity=2)
