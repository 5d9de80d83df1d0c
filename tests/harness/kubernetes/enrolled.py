# SPDX-License-Identifier: Apache-2.0
"""Agents that are objects of a cluster, and the programs that join as these."""

import base64
import json
import os

from tests.harness import certificates
from tests.harness.commands import outcome_of, run
from tests.harness.culvert_program import ACCOUNT, Agent
from tests.harness.kubernetes import program_cache
from tests.harness.kubernetes.cluster import NAMESPACE
from tests.harness.waiting import wait_until

AGENTS = "agents.culvert.dev"
COLLECTION = f"/apis/culvert.dev/v1alpha1/namespaces/{NAMESPACE}/agents"
CONNECT_SECONDS_MAX = 20


class Enrolled:
    """Gives the servers of a ClusterCase an authority for agents; call it before they start. `issuer`: the name of the
    issuer that signs for them; without one they have the authority's key."""

    def __init__(self, case, *more_servers, issuer=None):
        self.case, self.api, self.cluster = case, case.api, case.cluster
        self.servers = [case.pair.server, *more_servers]
        self.authority = certificates.Authority(case.folder / "authority", "agents")
        signer = {"issuer": {"name": issuer}} if issuer else {"authority_key": self.authority.key}
        for server in self.servers:
            server.tables["enrolment"] = {"authority_certificate": self.authority.ca,
                                          "addresses": [f"127.0.0.1:{each.port}" for each in self.servers], **signer}
        case.addCleanup(self.remove_all)

    def remove_all(self):
        """Also what the objects own, since no controller collects it here."""
        self.api.kubectl("delete", "--raw", COLLECTION)
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

    def delete_secret(self, name):
        self.api.kubectl("delete", "secret", f"culvert-join-{name}", f"--namespace={NAMESPACE}")

    def end_token(self, name):
        """Writes into the status that the token's time is over."""
        over = {"status": {"joinToken": {"notAfter": "2026-01-02T03:04:05Z"}}}
        self.api.kubectl("patch", AGENTS, name, f"--namespace={NAMESPACE}", "--subresource=status", "--type=merge",
                         f"--patch={json.dumps(over)}", program=program_cache.newer_tools() / "kubectl")

    def follow_advice(self, name):
        """Runs the command that the condition Joined names."""
        message = next(each["message"] for each in self.status(name)["conditions"] if each["type"] == "Joined")
        _, _, command = message.partition("for another one: ")
        self.case.assertTrue(command.startswith("kubectl annotate "), message)
        environment = {"PATH": f"{self.api.programs}:{os.environ['PATH']}", "KUBECONFIG": str(self.api.kubeconfig),
                       "HOME": str(self.api.folder)}
        run("bash", "-c", command, env=environment)

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
