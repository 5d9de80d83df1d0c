# SPDX-License-Identifier: Apache-2.0
"""Many agents that join and renew at the same time. They speak the protocol as SPEC.md has it, in processes of their
own, so that they do not slow down what the test measures."""

import concurrent.futures
import dataclasses
import multiprocessing
import os
import pathlib
import socket
import ssl
import struct
import time

import msgpack

from tests.harness.bare_agent import agent_tls
from tests.harness.certificates import Credentials
from tests.harness.enrolment import (
    DENIED, ISSUED, RENEW, join_connection, join_frame, raw_join, receive_frame, request_for, token_parts)
from tests.harness.hostile_server import HELLO, WELCOME, frame
from tests.harness.sockets import receive_exactly

PROCESSES, THREADS = 4, 32


@dataclasses.dataclass
class Member:
    """One agent: its token, its key, and its requests for both certificates."""

    token: dict
    key: pathlib.Path
    request: bytes
    certificate: pathlib.Path
    source: str = "127.0.0.1"
    authorities: str = ""  # PEM; from the answer to JOIN
    connection: ssl.SSLSocket | None = None
    tunnel: ssl.SSLSocket | None = None
    began: float = 0
    ended: float = 0

    @classmethod
    def prepare(cls, text, folder, name, **more):
        token = token_parts(text)
        key, request = request_for(token["u"], folder, name)
        return cls(token, key, request, folder / f"{name}.pem", **more)

    def join(self, port, _):
        self.began = time.monotonic()
        kind, answer = raw_join(port, self.token["i"], self.token["s"], self.request)
        self.ended = time.monotonic()
        self.keep(kind, answer)

    # The same in three orders, so that all can ask at the same moment.

    def connect(self, port, _):
        self.connection = join_connection(port, self.source)

    def ask(self, *_):
        self.began = time.monotonic()
        self.connection.sendall(join_frame(self.token["i"], self.token["s"], self.request))

    def be_answered(self, *_):
        with self.connection:
            answer = receive_frame(self.connection)
        self.ended = time.monotonic()
        self.keep(*answer)

    def keep(self, kind, answer):
        assert kind == ISSUED, answer
        self.certificate.write_text(ssl.DER_cert_to_PEM_cert(answer["chain"]))
        self.authorities = ssl.DER_cert_to_PEM_cert(answer["authorities"])

    def store(self, *_):
        """Makes the directory of an identity that the agent would have made, and its name the certificate's."""
        directory = self.certificate.with_suffix("")
        folder = directory / "generation-1"
        folder.mkdir(mode=0o700, parents=True)
        for name, text in (("certificate.pem", self.certificate.read_text()), ("authorities.pem", self.authorities),
                           ("key.pem", self.key.read_text())):
            (folder / name).touch(0o600)
            (folder / name).write_text(text)
        (directory / "current").symlink_to(folder.name)

    def greet(self, port, ca):
        """Makes its tunnel."""
        context = agent_tls(Credentials(self.certificate, self.key, ca))
        plain = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.tunnel = context.wrap_socket(plain, server_hostname="localhost")
        self.tunnel.sendall(frame(HELLO, 0, msgpack.packb({"v_min": 1, "v_max": 1, "caps": ["renew"],
                                                           "instance": os.urandom(16),
                                                           "epoch": 1, "slot": 0})))
        assert receive_frame(self.tunnel)[0] == WELCOME

    def renew(self, *_):
        """The key does not change: making keys would be most of what is measured."""
        self.began = time.monotonic()
        self.tunnel.sendall(frame(RENEW, 0, msgpack.packb({"request": self.request})))
        kind, answer = receive_answer(self.tunnel)
        self.ended = time.monotonic()
        assert kind == ISSUED, answer

    def leave(self, *_):
        self.tunnel.close()


def receive_answer(tunnel):
    """The answer to a RENEW; other frames may come before it."""
    while True:
        kind, _, _, _, size = struct.unpack(">BBHII", receive_exactly(tunnel, 12))
        payload = receive_exactly(tunnel, size)
        if kind in (ISSUED, DENIED):
            return kind, msgpack.unpackb(payload)


def serve_crowd(orders, port, ca, members):
    """In a process of its own: carries out orders, each of which is the name of a method of Member. Real agents are on
    other machines, so these leave the processor to the server."""
    os.nice(19)
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        while order := orders.recv():
            try:
                list(pool.map(lambda each, what=order: getattr(each, what)(port, ca), members))
                orders.send([(each.began, each.ended) for each in members])
            except Exception as fault:  # pylint: disable=broad-except
                orders.send(repr(fault))


class Crowd:
    """`members` in several processes."""

    def __init__(self, case, port, ca, members):
        self.case, self.size, self.pipes = case, len(members), []
        fork = multiprocessing.get_context("fork")
        for number in range(PROCESSES):
            ours, theirs = fork.Pipe()
            process = fork.Process(target=serve_crowd, args=(theirs, port, ca, members[number::PROCESSES]), daemon=True)
            process.start()
            theirs.close()
            self.pipes.append(ours)
            case.addCleanup(process.join)
            case.addCleanup(ours.send, None)

    def all(self, order, seconds=120):
        """Every member does it, as many at once as there are threads. Returns (how many per second, the longest)."""
        for pipe in self.pipes:
            pipe.send(order)
        times = []
        for pipe in self.pipes:
            self.case.assertTrue(pipe.poll(seconds), f"{order} takes longer than {seconds} s")
            answer = pipe.recv()
            self.case.assertIsInstance(answer, list, answer)
            times += answer
        took = max(ended for _, ended in times) - min(began for began, _ in times)
        return self.size / took if took else 0, max(ended - began for began, ended in times)
