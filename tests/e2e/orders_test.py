# SPDX-License-Identifier: Apache-2.0
"""Every message of an HTTP stream in random orders (stream_orders.py): a hostile agent answers the requests of a
server's clients, and a hostile server sends requests to an agent's back end. Whatever the order, a request has one
answer at most, which is its own; what was cut off never looks whole; a good order arrives unchanged.

Each order is made from its seed, which a failure prints. The long campaign, and one seed again:

    python3 -m tests.e2e.orders_test --orders 100000 --first-seed 1 [--side agent|server]
    python3 -m tests.e2e.orders_test --seed 4711 --side server
"""

import argparse
import collections
import contextlib
import dataclasses
import itertools
import random
import re
import sys
import time
import unittest

import msgpack

from tests.harness.case import Case
from tests.harness.hostile_agent import HostileAgent
from tests.harness.hostile_server import (
    ABORTED, ACCEPT, CREDIT, DATA, FIN, GOAWAY, HEAD, NOT_EXPOSED, OPEN, REJECT, RESET, HostileServer)
from tests.harness.http_server import http_server
from tests.harness.proxy_fields import LOCATION_FIELD
from tests.harness.recorder import Recorder
from tests.harness.stream_orders import (
    FAILURE, FINISH, GIVE_UP, GOOD_ACCEPT, INTERIM, LENGTH, NOT_EXPOSED_PATH, OPENING, REFUSALS, RESPONSE, TRAILERS,
    UNKNOWN, WAIT, AnswerMaker, Asked, Head, Message, Reading, RequestMaker, bytes_of, merged, of_head, text_of, writes)
from tests.harness.strict_http import Answer, Broken, Incomplete, Text, read_answer
from tests.harness.strict_http_client import Client

FIRST_SEED, ORDERS = 1, 2_000
NUMBERS_OF_A_SEED = 100


class Fault(Exception):
    """What a program must not have done."""


def check(is_right, text):
    if not is_right:
        raise Fault(text)


class OrdersCase(Case):
    first_seed, orders = FIRST_SEED, ORDERS

    def play_all(self, play, *expected):
        """Calls play(seed) for all seeds. Many must come to each `expected` end, or the test proves little."""
        began, self.counts = time.monotonic(), collections.Counter()
        for seed in range(self.first_seed, self.first_seed + self.orders):
            try:
                play(seed)
            except (Fault, Broken, TimeoutError) as fault:
                self.fail(f"seed {seed}: {type(fault).__name__}: {fault}\n{self.text_of_play()}")
        print(f"{self.orders} orders from seed {self.first_seed} in {time.monotonic() - began:.1f} s: "
              f"{dict(self.counts.most_common())}", flush=True)
        if self.orders >= 1_000:
            self.assertEqual([what for what in expected if self.counts[what] < self.orders / 50], [], "hardly any")


# ---- a hostile agent


@dataclasses.dataclass
class Asking:
    """One request of a client."""
    number: int
    is_hostile: bool
    method: str = "GET"
    fields: str = ""
    body: bytes = b""
    is_old: bool = False  # HTTP/1.0
    upgrade: str = ""
    order: list = dataclasses.field(default_factory=list)  # of the hostile agent's answer
    reading: Reading | None = None

    @property
    def asked(self):
        return Asked(self.method == "HEAD", self.upgrade)

    def wire(self):
        location = f"{LOCATION_FIELD}: hostile\r\n" if self.is_hostile else ""
        return (f"{self.method} http://erp/{self.number} HTTP/1.{0 if self.is_old else 1}\r\nHost: erp\r\n{location}"
                f"{self.fields}\r\n").encode() + self.body

    def __str__(self):
        text = f"{self.number}: {self.wire()[:400]}"
        return f"{text}\n    answered with {text_of(self.order)}" if self.is_hostile else text


def ask_for_upgrade(asking):
    asking.upgrade, asking.fields = "websocket", "Connection: upgrade\r\nUpgrade: websocket\r\n"


def make_asking(chance, number, is_last):
    asking = Asking(number, True)
    if chance.random() < 0.2 and is_last:
        ask_for_upgrade(asking)
    elif chance.random() < 0.3:
        asking.method, body = "POST", bytes_of(number, chance.choice([1, 20, 2_000]))
        if chance.random() < 0.5:
            asking.fields, asking.body = f"Content-Length: {len(body)}\r\n", body
        else:
            asking.fields = "Transfer-Encoding: chunked\r\n"
            asking.body = b"%x\r\n%s\r\n0\r\n%s\r\n" % (len(body), body, chance.choice([b"", b"X-Sum: 1\r\n"]))
        if chance.random() < 0.2:
            asking.fields += "Expect: 100-continue\r\n"
    else:
        asking.method = chance.choice(["GET", "GET", "GET", "HEAD"])
        asking.is_old = is_last and chance.random() < 0.1
    return asking


class Round:
    """The clients' connections, each with its requests, and the hostile agent's answers. The first requests of all
    connections are answered together, so that messages of several streams are in one TLS record."""

    def __init__(self, chance, connections, may_leave=True):
        self.connections = connections
        self.askings = {each.number: each for requests in connections for each in requests if each.is_hostile}
        self.together = [requests[0].number for requests in connections]
        orders = {number: asking.order for number, asking in self.askings.items()}
        self.writes = {number: writes(chance, ((number, message) for message in order))
                       for number, order in orders.items() if number not in self.together}
        self.first_writes = writes(chance, merged(chance, {number: orders[number] for number in self.together}))
        self.pipelines = chance.random() < 0.7
        # The client leaves at once.
        self.leaves = may_leave and len(connections) == 1 and chance.random() < 0.03
        # Written by the agent's thread: a request's stream, and what was answered.
        self.streams, self.played = {}, set()

    @property
    def tunnel_reasons(self):
        return set().union(*(each.reading.tunnel_reasons for each in self.askings.values()))

    def may_be_cut(self, asking):
        """Whether even a good answer may be cut: with the tunnel, or plain bytes by a RESET behind their end."""
        own = asking.reading
        return (own.is_raw and own.state == "closed") or any(
            each.reading.tunnel_reasons and (each is not asking or not own.is_complete or own.is_raw)
            for each in self.askings.values())

    def tunnel_must_end(self):
        return any(self.askings[number].reading.tunnel_must_end for number in self.played)

    def __str__(self):
        return "\n".join(f"  connection {index}, {'pipelined' if self.pipelines else 'one by one'}\n    " +
                         "\n    ".join(map(str, requests)) for index, requests in enumerate(self.connections)) + (
            "\n  the first answers together: " + "\n    ".join(
                " | ".join(f"{number % NUMBERS_OF_A_SEED} {message}" for number, message in write.parts)
                for write in self.first_writes))


def round_of(seed):
    chance, numbers = random.Random(seed), itertools.count(seed * NUMBERS_OF_A_SEED)
    may_end_tunnel = chance.random() < 0.15
    connections = []
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        count = chance.choice([1, 1, 2, 3])
        requests = [make_asking(chance, next(numbers), index == count - 1) if index == 0 or chance.random() < 0.6
                    else Asking(next(numbers), False) for index in range(count)]
        # The last is for the honest agent: its answer shows that nothing is left over.
        connections.append(requests + [Asking(next(numbers), False)])
    for asking in itertools.chain(*connections):
        if asking.is_hostile:
            maker = AnswerMaker(chance, asking.number, asking.asked)
            asking.order, asking.reading = maker.make(asking.asked, may_end_tunnel)
    return Round(chance, connections)


def starts_with(found, expected):
    return list(found) == list(expected)[:len(found)]


def response(status=200, framing=UNKNOWN, length=0):
    fields = ((b"X-Id", b"1"), (b"Location", b"http://evil/"), (b"Set-Cookie", b"a=b"))
    return of_head(Head(RESPONSE, status, framing, length, fields))


X = Message(DATA, b"x")
HINTS = of_head(Head(INTERIM, 103))
LONG_HINTS = of_head(Head(INTERIM, 103, fields=((b"Link", b"x" * 2000),)))
FAILED = of_head(Head(FAILURE))
SUM = of_head(Head(TRAILERS, fields=((b"X-Sum", b"1"),)))
# Name -> (the agent's answer, what the client may see of it)
KNOWN_ANSWERS = {name: ([GOOD_ACCEPT, *order], *expected) for name, (order, *expected) in {
    "good": ([response(), X, X, SUM, FINISH], "complete"),
    "bytes, a redirection": ([X, response(302, LENGTH), FINISH], "error"),
    "bytes, a redirection with a body to come": ([X, response(302, LENGTH, 300), FINISH], "error"),
    "100 interim responses": ([HINTS] * 100 + [response(), X, SUM, FINISH], "complete"),
    "too many bytes of interim responses": ([LONG_HINTS] * 66 + [response(), X, FINISH], "error"),
    "a word about a failure": ([HINTS, FAILED, GIVE_UP], "error"),
    "a word about no failure": ([FAILED, response(), X, FINISH], "complete"),
    "a word about a failure in the body": ([response(), X, FAILED, FINISH], "cut", "cut before the head"),
    "trailers first": ([SUM, response(), X, FINISH], "error"),
    "bytes behind trailers": ([response(), X, SUM, X, FINISH], "cut", "cut before the head"),
    "trailers twice": ([response(), X, SUM, SUM, FINISH], "cut", "cut before the head"),
    "trailers behind a length": ([response(200, LENGTH, 5), X, SUM], "cut", "cut before the head"),
    "an interim response in the body": ([response(), X, HINTS, FINISH], "cut", "cut before the head"),
    "a second response": ([response(), X, response(302, LENGTH), FINISH], "cut", "cut before the head"),
    "a response behind the end": ([response(), X, FINISH, response(302, LENGTH)], "complete"),
    "a response behind RESET": ([GIVE_UP, response(302, LENGTH), FINISH], "error"),
    "RESET behind an answer to an upgrade": ([response(), X, FINISH, GIVE_UP], "complete"),
}.items()}


class ServerOrders(OrdersCase):
    seconds = 6

    def start(self):
        pair = self.pair()
        self.proxy = pair.proxy().removeprefix("http://").split(":")
        pair.agent.web("erp:80", http_server(self, lambda method, path, *_: (
            b"HTTP/1.1 200 OK\r\nX-Honest: %s\r\nContent-Length: %d\r\n\r\n%s" % (path.encode(), len(path),
                                                                                path.encode()))))
        pair.start()
        self.server = pair.server
        self.round, self.last_round = None, None
        credentials = pair.authority.agent("acme", "evil", "hostile")
        self.agent = HostileAgent(self, pair.server.port, credentials, self.answer)
        self.assertTrue(self.agent.wait_for_tunnel())

    def text_of_play(self):
        return f"{self.round}\nand before it:\n{self.last_round}"

    # ---- the hostile agent, in its thread

    def answer(self, stream, head):
        this, number = self.round, int(head["path"][1:])
        if number not in this.askings:  # Its client has left before.
            return self.agent.send(REFUSALS[0].frame(stream))
        this.streams[number] = stream
        if number not in this.together:
            self.send_all(this, [number], this.writes[number])
        elif all(each in this.streams for each in this.together):
            self.send_all(this, this.together, this.first_writes)
        return None

    def send_all(self, this, numbers, parts):
        this.played.update(numbers)
        for write in parts:
            write.send(self.agent.send, this.streams)

    # ---- the clients

    def play(self, seed):
        self.play_round(round_of(seed))

    def play_round(self, this):
        ends_before = len(self.agent.ends)
        self.last_round, self.round = self.round, this
        clients = [Client(self.proxy) for _ in this.connections]
        try:
            for client, requests in zip(clients, this.connections):
                client.send(b"".join(each.wire() for each in requests) if this.pipelines else requests[0].wire())
            if not this.leaves:
                for client, requests in zip(clients, this.connections):
                    self.converse(client, requests)
        finally:
            for client in clients:
                client.socket.close()
        self.check_tunnel(this, ends_before)

    def check_tunnel(self, this, ends_before):
        """The tunnel ends for what breaks its protocol, and for nothing else."""
        if this.tunnel_must_end() and not this.leaves:
            check(self.agent.wait_for_tunnel(ends_before + 1), "the server has not ended the tunnel")
        ended = self.agent.ends[ends_before:]
        check(set(ended) <= this.tunnel_reasons, f"the server ended the tunnel: {ended}, not {this.tunnel_reasons}")
        self.counts["tunnels ended"] += len(ended)
        # What was sent last may still end it.
        if this.tunnel_reasons:
            self.wait_for_agent()

    def wait_for_agent(self):
        """Waits until the server has used all that the agent has sent, and the agent is connected."""
        last = self.round
        probe = Asking(0, True, order=[GOOD_ACCEPT, of_head(Head(RESPONSE, 204)), FINISH])
        while True:
            check(self.agent.wait_for_tunnel(), "the agent has no tunnel")
            ends, self.round = len(self.agent.ends), Round(random.Random(0), [[probe]])
            with Client(self.proxy) as client:
                client.send(probe.wire())
                answer = client.answer()
            self.round = last
            check(answer is not None, "no answer")
            if answer.status == 204:
                return
            self.agent.wait_for_tunnel(ends + 1, 0.05)

    def converse(self, client, requests):
        """Reads the answers to all requests, and checks each."""
        may_be_over = False
        for index, asking in enumerate(requests):
            if index > 0 and not self.round.pipelines:
                client.send(asking.wire())
            answer = self.read(client, asking)
            if may_be_over and answer.status == 0:
                return
            # An answer that seemed whole may have been cut after all.
            may_be_over = asking.is_hostile and self.round.may_be_cut(asking)
            is_over = self.check_answer(client, asking, answer)
            if is_over:
                check(client.is_over(), f"bytes behind the end of {asking.number}: {bytes(client.data[client.at:])}")
                return

    def read(self, client, asking):
        """The next answer, `whole` or not. One without status: the connection ended before its head."""
        method = asking.method.encode()
        while True:
            try:
                text = Text(client.data, client.at)
                answer = read_answer(text, method)
                client.at = text.at
                return answer
            except Incomplete:
                if client.ended:
                    break
                try:
                    client.more()
                except TimeoutError:
                    raise Fault(f"no answer to {asking.number}, but {bytes(client.data[client.at:])}") from None
        text, client.at = Text(client.data, client.at, ended=True), len(client.data)
        try:
            answer = read_answer(text, method)
        except Broken:
            rest = bytes(text.data[text.at:])
            own = {b"%d" % asking.number}
            check(set(re.findall(rb"X-Id: (\d+)", rest)) <= own, f"of another stream: {rest}")
            return Answer(0, (), b"", False)
        # A body that ends with the connection is whole only if that is not reset.
        return answer._replace(whole=answer.whole and not client.was_reset)

    def check_answer(self, client, asking, answer):
        """Returns whether the connection has to be over."""
        text = f"request {asking.number}: {answer}"
        if not asking.is_hostile:
            target = b"/%d" % asking.number
            check(answer.whole and (answer.value(b"x-honest"), answer.body) == (target, target), f"{text}, not its own")
            self.counts["honest"] += 1
            return answer.value(b"connection") == b"close"
        may_be_cut = self.round.may_be_cut(asking)
        if answer.whole and answer.is_ours:
            return self.check_error(asking, answer, may_be_cut, text)
        return self.check_hostile(client, asking, answer, may_be_cut, text)

    def check_error(self, asking, answer, may_be_cut, text):
        reading = asking.reading
        check(may_be_cut or not reading.is_complete, f"{text}, but its answer is good")
        check(may_be_cut or reading.head is None, f"{text}, but the answer had begun")
        check(starts_with(answer.interims, reading.interims), f"{text}, not {reading.interims}")
        self.counts["error"] += 1
        return answer.value(b"connection") == b"close"

    def check_hostile(self, client, asking, answer, may_be_cut, text):
        """An answer of the hostile agent, or the beginning of one."""
        reading = asking.reading
        check(may_be_cut or answer.whole or not reading.is_complete, f"{text}, but its answer is good: {reading.head}")
        if answer.status == 0:
            self.counts["cut before the head"] += 1
            return True
        head, interims = reading.head, [] if asking.is_old else reading.interims
        check(head is not None, f"{text}, but no head was good")
        check((answer.status, answer.value(b"x-id")) == (head.status, b"%d" % asking.number), f"{text}, not {head}")
        check(list(answer.interims) == interims, f"{text}, not {interims}")
        if head.status == 101:
            return self.check_raw(client, asking, may_be_cut, text)
        body = reading.body if reading.has_body else b""
        if not answer.whole:
            check(body.startswith(as_sent(answer)), f"{text}, not a part of {body}")
            self.counts["cut"] += 1
            return True
        check(answer.body == body, f"{text}, not {body}")
        if not reading.is_complete:
            check(reading.seems_whole, f"{text} looks whole, but {reading.flaw}")
            self.counts["cut behind the last byte"] += 1
            return True
        trailers = () if asking.is_old else tuple((name.lower(), value) for name, value in reading.trailers or ())
        check(answer.trailers == trailers, f"{text}, not {trailers}")
        self.counts["complete"] += 1
        return answer.value(b"connection") == b"close"

    def check_raw(self, client, asking, may_be_cut, text):
        """Behind 101: bytes of the agent until the end."""
        reading, start = asking.reading, client.at
        while not client.ended:
            client.more()
        found, client.at = bytes(client.data[start:]), len(client.data)
        check(reading.body.startswith(found), f"{text}, then {found}, not {reading.body}")
        is_whole = found == reading.body and not client.was_reset
        check(not is_whole or reading.is_complete, f"{text} looks whole, but {reading.flaw}")
        check(is_whole or not reading.is_complete or may_be_cut, f"{text}, then {found}, cut off")
        self.counts["raw, whole" if is_whole else "raw, cut"] += 1
        return True

    def test_random_answers(self):
        self.start()
        self.play_all(self.play, "complete", "error", "cut", "honest", "tunnels ended")

    def test_known_answers(self):
        self.start()
        self.counts = collections.Counter()
        for name, (order, *expected) in KNOWN_ANSWERS.items():
            for seed in range(5):
                with self.subTest(name, seed=seed):
                    self.counts.clear()
                    asking = Asking(1, True, order=order)
                    if "upgrade" in name:
                        ask_for_upgrade(asking)
                    asking.reading = Reading(order, asking.asked)
                    self.play_round(Round(random.Random(seed), [[asking, Asking(2, False)]], may_leave=False))
                    self.assertIn(next(iter(self.counts)), expected)


def as_sent(answer):
    """The bytes of a body that is cut off, without the frames of a chunked one."""
    if answer.value(b"transfer-encoding") is None:
        return answer.body
    found, text = b"", Text(answer.body)
    try:
        while size := int(text.line().split(b";")[0], 16):
            found += text.data[text.at:text.at + size]
            text.take(size)
            text.take(2)
    except (Incomplete, ValueError):
        pass
    return found


# ---- a hostile server


class TunnelEnded(Exception):
    """With the reason of the agent's GOAWAY, or None."""


@dataclasses.dataclass
class Answered:
    """What the agent has sent on one stream."""
    is_accepted: bool = False
    reason: int | None = None  # of a REJECT or RESET
    heads: list = dataclasses.field(default_factory=list)
    body: bytes = b""
    is_finished: bool = False
    is_aborted: bool = False

    def take(self, kind, flags, payload):
        check(self.reason is None, f"a frame of type {kind:#x} behind REJECT or RESET")
        check(not self.is_finished or kind in (RESET, CREDIT), f"a frame of type {kind:#x} behind FIN")
        if kind == ACCEPT:
            self.is_accepted = True
        elif kind == REJECT:
            self.reason = msgpack.unpackb(payload)["reason"]
        elif kind == RESET:
            self.reason = int.from_bytes(payload)
        elif kind == HEAD:
            self.heads.append(msgpack.unpackb(payload))
        elif kind == DATA:
            self.body += payload
        elif kind == FIN:
            self.is_finished, self.is_aborted = True, bool(flags)

    @property
    def is_answered(self):
        return self.is_accepted or self.reason is not None


def line_of(number, method):
    return b"%s /ok/%d HTTP/1.1" % (method.encode(), number)


class AgentOrders(OrdersCase):
    seconds = 6

    def start(self):
        pair = self.pair(tunnels=1)
        self.back_end = Recorder(self)
        pair.agent.web("erp:80", self.back_end.port, [{"path": "/ok", "match": "sub_paths", "upgrade": True}])
        self.agent = pair.agent
        self.server = HostileServer(self, pair.server.port, pair.server_credentials)
        self.agent.start()
        self.server.accept()
        self.orders_by_number, self.readings, self.seen, self.streams = {}, {}, collections.Counter(), {}
        self.honest_numbers = itertools.count(1 << 40)

    def text_of_play(self):
        return "\n".join(f"  {number}: {text_of(order)}" for number, order in self.orders_by_number.items())

    # ---- the hostile server

    def play(self, seed):
        chance, first = random.Random(seed), seed * NUMBERS_OF_A_SEED
        may_end_tunnel = chance.random() < 0.03
        made = {number: RequestMaker(chance, number).make(None, may_end_tunnel)
                for number in range(first, first + chance.choice([1, 1, 1, 2, 3]))}
        orders = {number: order for number, (order, _) in made.items()}
        readings = {number: reading for number, (_, reading) in made.items()}
        self.back_end.script.clear()
        for number, reading in readings.items():
            if reading.head and chance.random() < 0.2:
                self.script(number, reading.head.method)
        reasons = set().union(*(reading.tunnel_reasons for reading in readings.values()))
        try:
            self.play_streams(orders, readings, writes(chance, merged(chance, orders)))
            if reasons:
                self.check_honest()
        except TunnelEnded as end:
            check(end.args[0] in reasons, f"the agent ended the tunnel: {end.args[0]}, not {reasons}")
            self.counts["tunnels ended"] += 1
            self.check_back_end()
            self.begin_again()

    def play_streams(self, orders, readings, parts):
        self.orders_by_number, self.streams, ids = orders, {}, {}
        self.readings.update(readings)
        for number in list(self.readings)[:-1_000]:
            del self.readings[number]
        for number, message in [part for write in parts for part in write.parts]:
            if message.type == OPEN and number not in ids:
                ids[number] = next(self.server.ids)
                self.streams[ids[number]] = Answered()
        try:
            for write in parts:
                for number, message in write.parts:
                    if message.type == WAIT:
                        self.receive_until(lambda each=self.streams[ids[number]]: each.is_answered)
                write.send(self.server.send, ids)
            if any(reading.tunnel_must_end for reading in readings.values()):
                self.receive_until(lambda: False)
            for number, reading in readings.items():
                self.check_stream(number, reading, self.streams[ids[number]])
        except OSError as error:
            raise TunnelEnded(None) from error
        self.check_back_end()
        for number, reading in readings.items():
            if reading.is_complete and reading.state == "finished" and not reading.is_stopped:
                check(self.seen[number] == 1, f"the back end has not received request {number}")

    def receive_until(self, is_enough, seconds=8):
        """Pings keep the socket from timing out."""
        deadline = time.monotonic() + seconds
        while not is_enough():
            check(time.monotonic() < deadline, "the agent does not end the stream, or the tunnel")
            try:
                kind, flags, stream, payload = self.server.receive_with_flags()
            except (OSError, EOFError):
                raise TunnelEnded(None) from None
            if kind == GOAWAY:
                raise TunnelEnded(msgpack.unpackb(payload)["reason"])
            if stream in self.streams:
                self.streams[stream].take(kind, flags, payload)

    def begin_again(self):
        """A new process: the agent would wait longer and longer before it dials again."""
        self.server.tunnel.close()  # The agent waits for our end of TLS.
        self.assertEqual(self.agent.stop(), 0)
        self.agent.start()
        while True:
            with contextlib.suppress(OSError, EOFError):  # The old process may have dialled once more.
                return self.server.accept()

    def check_honest(self):
        chance, number = random.Random(0), next(self.honest_numbers)
        order = RequestMaker(chance, number).simple()
        self.play_streams({number: order}, {number: Reading(order)},
                          writes(chance, [(number, message) for message in order]))

    # ---- the agent's answer

    def check_stream(self, number, reading, answered):
        if reading.state == "closed":
            self.counts["given up"] += 1
            return
        both = reading.state == "finished"  # The stream is over once both directions are.
        self.receive_until(lambda: answered.reason is not None or (both and answered.is_finished))
        text = f"request {number}: {answered}"
        if reading.is_complete:
            check(answered.reason is None, f"{text}, but it is good")
            if not reading.is_stopped:
                self.check_answer(number, reading, answered, text)
            self.counts["complete"] += 1
        elif answered.reason is None:
            # Both directions ended by FIN: the answer was given before, or was not wanted.
            check(reading.seems_whole or (reading.is_stopped and answered.is_aborted), f"{text}, but {reading.flaw}")
            self.counts["ended before it broke"] += 1
        else:
            expected = NOT_EXPOSED if reading.flaw == NOT_EXPOSED_PATH else ABORTED
            check(answered.reason == expected, f"{text}, but {reading.flaw}")
            self.counts["refused"] += 1

    def check_answer(self, number, reading, answered, text):
        line = line_of(number, reading.head.method)
        kinds = [head["kind"] for head in answered.heads]
        scripted = f"/ok/{number}" in self.back_end.script
        with_trailers = scripted and reading.head.method != "HEAD"
        check(kinds == [INTERIM] * scripted + [RESPONSE] + [TRAILERS] * with_trailers, f"{text}, not its own HEADs")
        check(b"\0%s\0" % line in answered.heads[scripted]["fields"], f"{text}, not its own")
        check(answered.body == (b"" if reading.head.method == "HEAD" else line), f"{text}, not its own body")
        check(not answered.is_aborted, f"{text}, cut off")

    def script(self, number, method):
        """The back end answers this request with an interim response, and with trailers."""
        line = line_of(number, method)
        self.back_end.script[f"/ok/{number}"] = (
            b"HTTP/1.1 103 Early Hints\r\nX-Id: %d\r\n\r\n" % number
            + b"HTTP/1.1 200 OK\r\nX-Seen: %s\r\nTransfer-Encoding: chunked\r\n\r\n" % line
            + (b"" if method == "HEAD" else b"%x\r\n%s\r\n0\r\nX-Sum: %d\r\n\r\n" % (len(line), line, number)), "stay")

    # ---- what the back end has received

    def check_back_end(self):
        for received in self.back_end.take():
            check(received.fault == "", f"no HTTP at the back end: {received}")
            text = received.left or b"%s %s" % (received.request.target, received.request.body)
            numbers = {int(number) for number in re.findall(rb"(?:/ok/|<)(\d+)[ >]", text)}
            is_whole = received.request is not None
            check(is_whole <= len(numbers) <= 1, f"{len(numbers)} streams at the back end: {received}")
            if is_whole:
                self.check_request(numbers.pop(), received.request)

    def check_request(self, number, request):
        reading, text = self.readings[number], f"request {number} at the back end: {request}"
        self.seen[number] += 1
        check(self.seen[number] == 1, f"{text}, twice")
        check(reading.head is not None, f"{text}, but {reading.flaw}")
        check(reading.is_complete or reading.seems_whole, f"{text}, whole, but {reading.flaw}")
        line = b"%s %s HTTP/1.1" % (request.method, request.target)
        check(line == line_of(number, reading.head.method), f"{text}, not its own")
        check(request.body == reading.body, f"{text}, not {reading.body}")
        check(request.value(b"host") == b"erp", f"{text}, not its host")
        trailers = tuple((name.lower(), value) for name, value in reading.trailers or ())
        check(request.trailers == trailers, f"{text}, not {trailers}")

    def test_known_requests(self):
        self.start()
        self.counts, maker = collections.Counter(), RequestMaker(random.Random(0), 1)
        upload = maker.of_request(method="PUT", framing=UNKNOWN)
        five = maker.of_request(method="PUT", framing=LENGTH, length=5)
        for name, order, expected in [
                ("good", [upload, X, X, SUM, FINISH], "complete"),
                ("bytes behind trailers", [upload, X, SUM, X, FINISH], "refused"),
                ("trailers twice", [upload, X, SUM, SUM, FINISH], "refused"),
                ("trailers behind a length", [five, X, SUM], "refused"),
                ("trailers without a body", [maker.of_request(), SUM], "refused"),
                ("trailers first", [SUM, upload, FINISH], "refused"),
                ("a second request", [upload, X, upload, FINISH], "refused")]:
            for seed in range(5):
                with self.subTest(name, seed=seed):
                    self.counts.clear()
                    self.seen.clear()
                    chance, whole = random.Random(seed), [OPENING, *order]
                    parts = [(1, message) for message in whole]
                    self.play_streams({1: whole}, {1: Reading(whole)}, writes(chance, parts))
                    self.assertEqual(self.counts, {expected: 1})
        self.server.tunnel.close()

    def test_random_requests(self):
        self.start()
        self.play_all(self.play, "complete", "refused", "given up")
        self.check_honest()
        self.server.tunnel.close()


def main():
    parser = argparse.ArgumentParser(prog="python3 -m tests.e2e.orders_test")
    parser.add_argument("--orders", type=int, default=ORDERS)
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED)
    parser.add_argument("--seed", type=int, help="one order only")
    parser.add_argument("--side", choices=["server", "agent"], help="the program that is tested; else both")
    options = parser.parse_args()
    OrdersCase.first_seed, OrdersCase.orders = options.first_seed, options.orders
    if options.seed is not None:
        OrdersCase.first_seed, OrdersCase.orders = options.seed, 1
    tests = {"server": ServerOrders("test_random_answers"), "agent": AgentOrders("test_random_requests")}
    chosen = [test for side, test in tests.items() if options.side in (None, side)]
    return 0 if unittest.TextTestRunner(verbosity=2).run(unittest.TestSuite(chosen)).wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
