# SPDX-License-Identifier: Apache-2.0
"""Agents that are objects of a cluster, and the programs that join as these."""

import base64
import json

from tests.harness import certificates
from tests.harness.commands import outcome_of
from tests.harness.culvert_program import ACCOUNT, Agent
from tests.harness.kubernetes.cluster import NAMESPACE
from tests.harness.waiting import wait_until

AGENTS = "agents.culvert.dev"
CONNECT_SECONDS_MAX = 20


class Enrolled:
    """Gives the servers of a ClusterCase an authority for agents; call it before they start."""

    def __init__(self, case, *more_servers):
        self.case, self.api, self.cluster = case, case.api, case.cluster
        self.servers = [case.pair.server, *more_servers]
        self.authority = certificates.Authority(case.folder / "authority", "agents")
        for server in self.servers:
            server.tables["enrolment"] = {"authority_certificate": self.authority.ca, "authority_key":
                                          self.authority.key, "addresses": [f"127.0.0.1:{server.port}"
                                                                            for server in self.servers]}
        case.addCleanup(self.remove_all)

    def remove_all(self):
        """Also what the objects own, since no controller collects it here."""
        self.api.kubectl("delete", AGENTS, "--all", f"--namespace={NAMESPACE}")
        self.api.kubectl("delete", "secrets", f"--namespace={NAMESPACE}",
                         "--selector=app.kubernetes.io/managed-by=culvert-server")

    # --- objects ------------------------------------------------------------------------------------------------------

    def add(self, name, **spec):
        self.cluster.apply({"apiVersion": "culvert.dev/v1alpha1", "kind": "Agent",
                            "metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"account": ACCOUNT, **spec}})

    def change(self, name, **spec):
        self.api.kubectl("patch", AGENTS, name, f"--namespace={NAMESPACE}", "--type=merge",
                         f"--patch={json.dumps({'spec': spec})}")

    def delete(self, name):
        self.api.kubectl("delete", AGENTS, name, f"--namespace={NAMESPACE}")

    def ask_for_rejoin(self, name, value):
        self.api.kubectl("annotate", "--overwrite", AGENTS, name, f"--namespace={NAMESPACE}",
                         f"culvert.dev/rejoin={value}")

    def object(self, name):
        return json.loads(self.api.kubectl("get", AGENTS, name, f"--namespace={NAMESPACE}", "--output=json"))

    def status(self, name):
        return self.object(name).get("status", {})

    def condition(self, name, kind):
        return next(((each["status"], each["reason"]) for each in self.status(name).get("conditions", [])
                     if each["type"] == kind), None)

    def wait_for(self, name, condition, value="True"):
        self.api.kubectl("wait", f"--for=condition={condition}={value}", f"--timeout={CONNECT_SECONDS_MAX}s",
                         f"--namespace={NAMESPACE}", AGENTS, name)

    def wait_for_reason(self, name, condition, reason, seconds=10):
        wait_until(lambda: (self.condition(name, condition) or ("", ""))[1] == reason, seconds,
                   f"{condition} of {name} to be {reason}")

    # --- tokens -------------------------------------------------------------------------------------------------------

    def secret(self, name):
        """The Secret with the join token; None: there is none."""
        found = self.api.kubectl("get", "secret", f"culvert-join-{name}", f"--namespace={NAMESPACE}",
                                 "--ignore-not-found", "--output=json")
        return json.loads(found) if found else None

    def token(self, name, other_than=None):
        """The join token's text, once there is one, and another one than that."""
        def text():
            secret = self.secret(name)
            found = secret and base64.b64decode(secret["data"]["token"]).decode()
            return found if found != other_than else None
        return wait_until(text, 10, f"the join token of {name}")

    # --- programs -----------------------------------------------------------------------------------------------------

    def try_to_join(self, token, folder):
        """Runs `culvert-agent join`: (exit status, output)."""
        file = self.case.folder / f"{folder.name}.token"
        file.write_text(token)
        file.chmod(0o600)
        return outcome_of(Agent.binary(), "join", "--directory", folder, "--token-file", file, seconds=90)

    def program(self, name):
        """An agent, not started, with the identity in the folder of that name, and a link to each server."""
        agent = Agent(self.case, name)
        for server in self.servers:
            agent.tables["server"].append({"name": server.name, "address": f"127.0.0.1:{server.port}",
                                           "server_name": "localhost", "identity": self.folder(name)})
        return agent

    def folder(self, name):
        return self.case.folder / f"identity-{name}"

    def join(self, name):
        """Joins with the object's token. Returns the agent, not started."""
        status, said = self.try_to_join(self.token(name), self.folder(name))
        self.case.assertEqual(status, 0, said)
        return self.program(name)
