# SPDX-License-Identifier: Apache-2.0
"""Agents that join with a token: the configuration of both sides, the two commands, and a client of the join protocol
that is written from protocol/SPEC.md and not from our code."""

import base64
import contextlib
import json
import os
import re
import socket
import ssl
import struct
import subprocess
import threading
import time

import msgpack

from tests.harness.commands import openssl_bytes
from tests.harness.culvert_program import ACCOUNT, Agent, Server
from tests.harness.hostile_server import frame
from tests.harness.ports import free_port
from tests.harness.sockets import receive_exactly

JOIN, RENEW, ISSUED, DENIED = 7, 8, 9, 10
TOKEN_REFUSED, TOKEN_USED, TOO_MANY_ATTEMPTS = 64, 65, 67


class EnrolledPair:
    """A server that enrols agents, and an agent without a certificate. join() gives it one."""

    def __init__(self, case, authority, **enrolment):
        self.case, self.authority = case, authority
        self.server = Server(case, authority.server())
        del self.server.tables["tunnel"]["client_ca"]
        self.server.tables["enrolment"] = {
            "authority_certificate": authority.ca, "authority_key": authority.key,
            "addresses": [f"localhost:{self.server.port}"], "state": case.folder / "state", **enrolment}
        self.agent = Agent(case)
        self.identity = case.folder / "identity"

    def to_cloud(self, port, service_id="web"):
        self.server.service(service_id, port)
        listen = free_port()
        self.agent.tables["channel"].append({"listen": f"127.0.0.1:{listen}", "service_id": service_id})
        return listen

    def to_premise(self, port, virtual_host="erp:443"):
        self.agent.mapping(virtual_host, port)
        return self.server.listener(virtual_host)

    def agents(self, *words, status=0):
        """`culvert-server agents …`: its standard output."""
        answer = subprocess.run([self.server.binary(), "--config", self.server.config, "agents", *map(str, words)],
                                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
        self.case.assertEqual(answer.returncode, status, answer.stdout + answer.stderr)
        return answer.stdout if status == 0 else answer.stderr

    def token(self, name="one", *options):
        return self.agents("add", name, "--account", ACCOUNT, *options)

    def join(self, token, directory=None, status=0, more=(), below=(), environment=None):
        """`culvert-agent join`, run by the command `below`: its output. The token goes in by standard input. A `status`
        of None expects any."""
        command = [*below, self.agent.binary(), "--config", self.case.folder / "none.toml", "join", "--directory",
                   directory or self.identity, *more]
        answer = subprocess.run([str(word) for word in command], input=token, capture_output=True, text=True,
                                timeout=90, check=False, env=environment)
        if status is not None:
            self.case.assertEqual(answer.returncode, status, answer.stdout + answer.stderr)
        return answer.stdout + answer.stderr

    def use_identity(self, agent=None, directory=None, **more):
        """The [[server]] that `join` would write into a drop-in."""
        (agent or self.agent).tables["server"].append({"address": f"localhost:{self.server.port}",
                                                       "identity": directory or self.identity, **more})

    def start(self):
        """Server, token, join, agent: ready."""
        self.server.start().wait_until_ready()
        self.join(self.token())
        self.use_identity()
        self.agent.start().wait_until_ready()
        return self


def killed_at(call, number):
    """The command that runs a program and kills it in place of a system call: the one with this number among the calls
    of this name, which each thread counts by itself. The program has strace as a child, not as its parent."""
    return ["strace", "-D", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}",
            "-e", f"inject={call}:signal=KILL:when={number}"]


def age(directory, seconds):
    """Makes an identity so much older for its agent, which takes the time of the file for the time of issue."""
    then = time.time() - seconds
    os.utime(directory / "current" / "certificate.pem", (then, then))


def certificates_in(file):
    """The set of certificates in a PEM file, in DER."""
    texts = re.findall("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", file.read_text(), re.DOTALL)
    return {ssl.PEM_cert_to_DER_cert(text) for text in texts}


def token_parts(token):
    """What a token says (SPEC 8.6)."""
    text = token.strip().removeprefix("culvert-join-1.")
    parts = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    for key in ("p", "s"):
        parts[key] = base64.urlsafe_b64decode(parts[key] + "=" * (-len(parts[key]) % 4))
    return parts


def request_for(identity, folder, name="raw"):
    """A new key, and a certificate request in DER for `identity`. Returns (key file, request)."""
    key = folder / f"{name}.key"
    request = openssl_bytes("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                            "-keyout", key, "-outform", "DER", "-subj", "/CN=agent",
                            "-addext", f"subjectAltName=URI:{identity}")
    return key, request


def join_connection(port, source="127.0.0.1"):
    """A join connection. It verifies nothing: these tests attack the server, not the agent."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["culvert-join/1"])
    plain = socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(source, 0))
    return context.wrap_socket(plain, server_hostname="localhost")


def receive_frame(connection):
    kind, _, _, _, size = struct.unpack(">BBHII", receive_exactly(connection, 12))
    return kind, msgpack.unpackb(receive_exactly(connection, size))


def join_frame(token_id, secret, request):
    return frame(JOIN, 0, msgpack.packb({"token": token_id, "secret": secret, "request": request}))


def raw_join(port, token_id, secret, request, source="127.0.0.1"):
    """One JOIN: (frame type, message) of the answer."""
    with join_connection(port, source) as connection:
        connection.sendall(join_frame(token_id, secret, request))
        return receive_frame(connection)


class Impostor:
    """A server of the join protocol with somebody else's certificate. It records what it is sent inside TLS."""

    def __init__(self, case, credentials, port):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(credentials.certificate, credentials.private_key)
        self.context.set_alpn_protocols(["culvert-join/1"])
        self.received, self.connections = b"", 0
        self.listening = socket.create_server(("127.0.0.1", port))
        case.addCleanup(self.listening.close)
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                plain, _ = self.listening.accept()
            except OSError:
                return
            self.connections += 1
            with contextlib.suppress(OSError), self.context.wrap_socket(plain, server_side=True) as connection:
                connection.settimeout(5)
                while data := connection.recv(4096):
                    self.received += data
