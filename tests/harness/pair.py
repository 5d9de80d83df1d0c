# SPDX-License-Identifier: Apache-2.0
"""A server and an agent that trust each other."""

import subprocess

from tests.harness import certificates
from tests.harness.culvert_program import ACCOUNT, Agent, Server
from tests.harness.ports import free_port


class Pair:
    """A server and an agent of account acme. start() starts both."""

    def __init__(self, case, tunnels=None):
        self.authority = certificates.Authority(case.folder / "certificates")
        self.server_credentials, self.agent_credentials = self.authority.server(), self.authority.agent()
        self.server = Server(case, self.server_credentials)
        self.agent = Agent(case)
        fixed = {"tunnels_min": tunnels, "tunnels_max": tunnels} if tunnels else {}
        self.agent.connect(self.server.port, self.agent_credentials, **fixed)

    def to_cloud(self, port, service_id="web", **more):
        """From on-premise to the cloud: a channel to `port`. Returns the port to connect to."""
        self.server.service(service_id, port)
        return self.agent.channel(self.server.port, service_id, **more)

    def to_premise(self, port, virtual_host="erp:443", protocol="tcp", **more):
        """From the cloud to on-premise: a virtual listener for `port`. Returns the port to connect to."""
        self.agent.mapping(virtual_host, port, protocol, **more)
        return self.server.listener(virtual_host)

    def proxy(self, **more):
        """The server's HTTP proxy for account acme. Returns its URL."""
        port = free_port()
        self.server.tables["http_proxy"] = {"listen": f"127.0.0.1:{port}", "account": ACCOUNT, **more}
        return f"http://127.0.0.1:{port}"

    def socks(self, **more):
        """The server's SOCKS5 proxy. Every client may use account acme unless `more` has consumers. Returns
        host:port."""
        port = free_port()
        usual = {} if "consumer" in more else {"unauthenticated_account": ACCOUNT}
        self.server.tables["socks5_proxy"] = {"listen": f"127.0.0.1:{port}", **usual, **more}
        return f"127.0.0.1:{port}"

    def consumer(self, secret, virtual_hosts, **more):
        """A consumer of the SOCKS5 proxy, which logs in with `secret`."""
        answer = subprocess.run([self.server.binary(), "hash-secret"], input=secret, capture_output=True, text=True,
                                timeout=20, check=True)
        return {"name": "test", "account": ACCOUNT, "virtual_hosts": virtual_hosts,
                "secret_hash": answer.stdout.strip(), **more}

    def start(self):
        self.server.start().wait_until_ready()
        self.agent.start().wait_until_ready()
        return self
