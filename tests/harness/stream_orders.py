# SPDX-License-Identifier: Apache-2.0
"""Random orders of every message that one side sends on an HTTP stream, each made from a seed, and what a reader must
make of them: sections 5.7 and 6.2 of SPEC.md once more, independent of our code."""

import dataclasses
import time
from typing import NamedTuple

import msgpack

from tests.harness.hostile_server import (
    ABORTED, ACCEPT, CREDIT, DATA, FIN, HEAD, KIND_HTTP, OPEN, REJECT, RESET, STOP, frame, pack_fields, request)

PENDING = 0x90
WAIT = -1  # not a message: the sender waits until the other side has answered its OPEN
REQUEST, INTERIM, RESPONSE, TRAILERS, FAILURE = 1, 2, 3, 4, 5
NONE, LENGTH, UNKNOWN = 0, 1, 2  # framings
PROTOCOL, FLOW_CONTROL, FLOOD = 1, 2, 10  # reasons that end a tunnel
CANCELLED, TARGET_RESET = 42, 43
OPTIMISTIC_BYTES_MAX, WINDOW_BYTES_MAX, INTERIM_BYTES_MAX = 16_384, 16_777_216, 131_072


class Head(NamedTuple):
    kind: int
    status: int = 0
    framing: int = NONE
    length: int = 0
    fields: tuple = ()
    upgrade: str = ""
    method: str = ""
    flaw: str = ""  # what is wrong with it wherever it stands


class Message(NamedTuple):
    type: int
    payload: bytes = b""
    flags: int = 0
    head: Head | None = None  # None for a HEAD: it is malformed
    is_broken_frame: bool = False

    def frame(self, stream):
        return frame(self.type, stream, self.payload, self.flags)

    @property
    def number(self):
        return int.from_bytes(self.payload)

    def __str__(self):
        more = ""
        if self.is_broken_frame:
            more = f"broken, {len(self.payload)} bytes, flags {self.flags}"
        elif self.type == DATA:
            more = f"{len(self.payload)}"
        elif self.type == FIN and self.flags:
            more = "ABORTED"
        elif self.type in (ACCEPT, CREDIT, RESET):
            more = f"{self.number}"
        elif self.type == HEAD:
            more = describe(self.head) if self.head else f"malformed {self.payload[:40].hex()}"
        return f"{NAMES[self.type]} {more}".strip()


NAMES = {OPEN: "OPEN", ACCEPT: "ACCEPT", REJECT: "REJECT", PENDING: "PENDING", FIN: "FIN", RESET: "RESET",
         STOP: "STOP", DATA: "DATA", CREDIT: "CREDIT", HEAD: "HEAD", WAIT: "wait"}
KINDS = {REQUEST: "request", INTERIM: "interim", RESPONSE: "response", TRAILERS: "trailers",
         FAILURE: "failure"}


def describe(head):
    framing = {NONE: "", LENGTH: f"length {head.length}", UNKNOWN: "unknown length"}[head.framing]
    parts = [KINDS[head.kind], head.method, str(head.status or ""), framing, head.upgrade, head.flaw]
    return " ".join(part for part in parts if part)


def text_of(order):
    return " | ".join(map(str, order))


# ---- what an order means

class Asked(NamedTuple):
    """What the request was, for those who read its answer."""
    is_head: bool = False
    upgrade: str = ""


def flaw_of_response(head, asked):
    """The rule of HTTP that a HEAD(interim) or HEAD(response) breaks, or an empty text."""
    if head.kind == INTERIM and not (100 <= head.status < 200 and head.status != 101):
        return "not an interim status"
    if head.kind == RESPONSE and head.status < 200 and head.status != 101:
        return "an interim status"
    has_nothing, declares_only = head.status < 200 or head.status == 204, asked.is_head or head.status == 304
    if has_nothing and head.framing != NONE:
        return "a body that the status does not have"
    if declares_only and head.framing == UNKNOWN:
        return "no length is declared"
    if not has_nothing and not declares_only and head.framing == NONE:
        return "no framing"
    if head.upgrade != (asked.upgrade if head.status == 101 else "") or (head.status == 101 and not asked.upgrade):
        return "an upgrade that was not asked for"
    return ""


class Reading:
    """What the receiver makes of an order: the one message that it is, and how it ends. `asked`: it is an answer; None:
    it is a request."""

    def __init__(self, order, asked=None):
        self.asked = asked
        self.interims, self.head, self.body, self.trailers = [], None, b"", None
        self.is_complete = False  # It ended as SPEC 5.7 says.
        self.flaw = ""  # the first rule that it breaks
        self.tunnel_reasons, self.tunnel_must_end = set(), False  # of the tunnel, which it may end, or must
        # The sender's direction: "open", "finished", "closed"; and whether the receiver has ended the stream meanwhile:
        # "no", "maybe", "yes".
        self.state, self.receiver_ended, self.is_answered = "open", "no", False
        self.is_stopped = False  # The sender wants no more of the other direction.
        self.empty_data = self.early_bytes = self.interim_bytes = 0
        for message in order:
            self.take(message)

    @property
    def is_raw(self):
        return self.head is not None and self.head.status == 101

    @property
    def has_body(self):
        head, asked = self.head, self.asked
        if asked is not None and (asked.is_head or head.status in (204, 304)):
            return False
        return self.is_raw or head.framing != NONE

    @property
    def seems_whole(self):
        """All of its bytes came, as far as HTTP/1.1 shows. Only FIN tells the two programs."""
        if self.head is None or self.is_raw:
            return False
        return not self.has_body or (self.head.framing == LENGTH and len(self.body) == self.head.length)

    def breach(self, reason, sure=True):
        """The tunnel may end; it must if this is `sure` and the stream exists."""
        self.tunnel_reasons.add(reason)
        if sure and self.receiver_ended == "no":
            self.tunnel_must_end, self.state, self.receiver_ended = True, "closed", "yes"

    def end(self, flaw, at_once):
        """The receiver ends the stream; if not `at_once`, perhaps only when another HEAD, FIN or RESET has come."""
        self.flaw = self.flaw or flaw
        self.receiver_ended = "yes" if at_once else "maybe"

    def take(self, message):
        if message.is_broken_frame:
            self.receiver_ended = "no"  # It is checked even if the stream is gone.
            self.breach(PROTOCOL)
        elif message.type == WAIT:
            self.is_answered = True
        elif message.type == OPEN:
            pass
        elif self.state != "closed" and self.receiver_ended != "yes":
            before = self.receiver_ended
            self.take_frame(message)
            if self.receiver_ended == "no":
                self.take_part(message)
            elif before == "maybe" and self.asked is not None and message.type in (HEAD, FIN, RESET):
                self.receiver_ended = "yes"

    # ---- SPEC 6.2

    def take_frame(self, message):
        kind = message.type
        self.is_stopped = self.is_stopped or kind == STOP
        if kind == PENDING:
            return
        if kind in (ACCEPT, REJECT):
            self.take_answer(message)
        elif self.asked is not None and not self.is_answered:
            self.breach(PROTOCOL)
        elif kind == STOP and not self.is_answered:
            self.breach(PROTOCOL, sure=False)  # It may have been accepted by now.
        elif kind == CREDIT and message.number > 2 * WINDOW_BYTES_MAX:
            self.breach(FLOW_CONTROL)
        elif kind in (DATA, HEAD, FIN) and self.state == "finished":
            self.breach(PROTOCOL)
        elif kind in (DATA, HEAD):
            self.take_payload(message)
        elif kind in (FIN, RESET):
            self.state = "finished" if kind == FIN else "closed"

    def take_answer(self, message):
        if self.asked is None or self.is_answered:
            return self.breach(PROTOCOL)
        if message.type == ACCEPT and message.number > WINDOW_BYTES_MAX:
            return self.breach(FLOW_CONTROL)
        self.is_answered = True
        if message.type == REJECT:
            self.state = "closed"
        return None

    def take_payload(self, message):
        size = len(message.payload)
        if message.type == DATA:
            self.empty_data = 0 if size else self.empty_data + 1
            if self.empty_data > 1:
                self.breach(FLOOD)
        if not self.is_answered:
            # A HEAD may begin below the limit and end above it.
            if self.early_bytes + (1 if message.type == HEAD else size) > OPTIMISTIC_BYTES_MAX:
                self.breach(FLOW_CONTROL, sure=False)
            self.early_bytes += size

    # ---- SPEC 5.7

    def take_part(self, message):
        kind = message.type
        if kind == HEAD:
            if flaw := self.flaw_of_head(message.head):
                self.end(flaw, at_once=True)
        elif kind == DATA and message.payload:
            if flaw := self.flaw_of_data(message.payload):
                self.end(flaw, at_once=False)
            else:
                self.body += message.payload
        elif kind == FIN:
            self.take_end(message.flags != 0)
        elif kind in (RESET, REJECT):
            self.end("the sender gave it up", at_once=True)

    def flaw_of_head(self, head):
        if head is None:
            return "malformed"
        if head.kind == TRAILERS:
            if self.head is None or self.head.framing != UNKNOWN or self.trailers is not None:
                return "trailers in the wrong place"
            self.trailers = head.fields if not head.flaw else None
            return head.flaw
        if head.kind == FAILURE and self.asked is not None and self.head is None:
            return ""  # Only a text for the error, if there is one.
        if self.head is not None or (head.kind == REQUEST) != (self.asked is None):
            return "a head in the wrong place"
        if head.flaw:
            return head.flaw
        if self.asked is not None and (flaw := flaw_of_response(head, self.asked)):
            return flaw
        if head.kind == INTERIM:
            self.interim_bytes += len(encoded(head))
            if self.interim_bytes > INTERIM_BYTES_MAX:
                return "too many bytes of interim responses"
            self.interims.append(head.status)
            return ""
        self.head = head
        return ""

    def flaw_of_data(self, data):
        if self.head is None:
            return "a body before its head"
        if self.trailers is not None:
            return "a body behind its trailers"
        if not self.has_body:
            return "a body that was not announced"
        if self.head.framing == LENGTH and len(self.body) + len(data) > self.head.length:
            self.body += data[:self.head.length - len(self.body)]  # A frame may be used in parts.
            return "a body that is too long"
        return ""

    def take_end(self, is_aborted):
        if is_aborted:
            return self.end("cut off", at_once=True)
        if self.head is None:
            return self.end("no head", at_once=True)
        if self.has_body and self.head.framing == LENGTH and len(self.body) != self.head.length:
            return self.end("a body that is too short", at_once=self.asked is not None)
        self.is_complete = True
        # A request may be answered at any time from now on. The answer's end is the stream's, unless the server may
        # still send plain bytes, or waited for the answer before it sent FIN.
        self.receiver_ended = "maybe" if self.asked is None or self.asked.upgrade else "yes"
        return None


# ---- how orders are made

def encoded(head):
    keys = {"kind": head.kind, "status": head.status or None, "framing": head.framing or None,
            "length": head.length if head.framing == LENGTH else None, "upgrade": head.upgrade or None,
            "reason": "it broke" if head.kind == FAILURE else None,
            "fields": pack_fields(*head.fields) if head.fields else None}
    return msgpack.packb({key: value for key, value in keys.items() if value is not None})


def of_head(head):
    return Message(HEAD, encoded(head), head=head)


def number(kind, value, size=8):
    return Message(kind, value.to_bytes(size))


def bytes_of(number_of_stream, size):
    """A part of a body: it tells which stream it belongs to."""
    text = b"<%d>" % number_of_stream
    return (text * (size // len(text) + 1))[:size]


OPENING = Message(OPEN, msgpack.packb({"kind": KIND_HTTP, "name": "erp", "port": 80, "credit": 262_144}))
GOOD_ACCEPT = number(ACCEPT, 262_144)
WAITING = Message(WAIT)
FINISH, FINISH_ABORTED = Message(FIN), Message(FIN, flags=1)
GIVE_UP, ASK_TO_STOP = number(RESET, TARGET_RESET, 4), number(STOP, CANCELLED, 4)
RESETS = [GIVE_UP, *(number(RESET, reason, 4) for reason in (CANCELLED, ABORTED, 46, 12, 999))]
REFUSALS = [Message(REJECT, msgpack.packb({"reason": reason, "retry": retry, "text": "no"}))
            for reason, retry in ((35, False), (40, True), (41, True), (32, False), (48, False), (ABORTED, False),
                                  (999, False))]
BROKEN_FRAMES = [Message(*parts, is_broken_frame=True)
                 for parts in ((HEAD, b""), (FIN, b"x"), (RESET, b"abc"), (CREDIT, b"abcd"), (DATA, b"x", 4),
                               (FIN, b"", 2), (OPEN, OPENING.payload))]
BAD_FIELDS = {"a length": (b"Content-Length", b"5"), "a coding": (b"Transfer-Encoding", b"chunked"),
              "a hop's field": (b"Connection", b"close"), "a bad name": (b"X Y", b"z"),
              "two lines": (b"X", b"a\r\nY: b"), "a bad value": (b"X", b"\x01")}
BAD_TRAILERS = {**BAD_FIELDS, "Host": (b"Host", b"evil"), "Content-Type": (b"Content-Type", b"text/html")}
NOT_EXPOSED_PATH = "a path that is not exposed"
STATUSES = [200, 200, 200, 201, 204, 206, 302, 304, 404, 500, 503]
SIZES = [1, 1, 3, 5, 20, 20, 300, 4_000]


def malformed(chance, payload):
    """A HEAD that is not a message: SPEC 5.0."""
    return Message(HEAD, chance.choice([
        b"\xc1", b"\x80", payload[:-1], payload + b"\0", msgpack.packb([3, 200]), msgpack.packb({"kind": 0}),
        msgpack.packb({"kind": 5}), msgpack.packb({"kind": None}), msgpack.packb({"kind": 3, "status": 600}),
        msgpack.packb({"kind": 3, "status": 200.0}), b"\x82\xa4kind\x03\xa4kind\x03",
        msgpack.packb({"kind": 3, "status": 200, "framing": 3}), msgpack.packb({"kind": 3, "length": -1}),
        b"\xdf\xff\xff\xff\xff", bytes(chance.randrange(256) for _ in range(9)) + b"\xc1"]))


def without_vain_waits(order):
    """A request without a head is not answered, nor one that was given up."""
    reading, found = Reading([]), []
    for message in order:
        is_expected = reading.state != "closed" and (reading.head is not None or reading.receiver_ended != "no")
        if message.type == WAIT and not is_expected:
            continue
        reading.take(message)
        found.append(message)
    return found


class Maker:
    """Makes the orders of one side of one stream."""

    def __init__(self, chance, stream):
        self.chance, self.stream = chance, stream

    def size(self):
        return 20_000 if self.chance.random() < 0.01 else self.chance.choice(SIZES)

    def data(self, size=None):
        return Message(DATA, bytes_of(self.stream, self.size() if size is None else size))

    def trailers(self):
        if self.chance.random() < 0.1:
            flaw, field = self.chance.choice(list(BAD_TRAILERS.items()))
            return of_head(Head(TRAILERS, fields=(field,), flaw=f"trailers with {flaw}"))
        return of_head(Head(TRAILERS, fields=((b"X-Sum", b"%d" % self.stream),)))

    def credit(self):
        return number(CREDIT, self.chance.choice([0, 1, 16_384, 262_144, 1 << 20, 1 << 24, 1 << 40]))

    def good_body(self, framing):
        """(messages, length)"""
        if framing == NONE:
            return [], 0
        counts = [0, 1, 1, 2, 3] if framing == UNKNOWN else [1, 1, 2, 3]
        parts = [self.data() for _ in range(self.chance.choice(counts))]
        length = sum(len(part.payload) for part in parts)
        if framing == UNKNOWN and self.chance.random() < 0.3:
            parts.append(of_head(Head(TRAILERS, fields=((b"X-Sum", b"%d" % self.stream),))))
        return parts, length

    def order(self):
        """Good, or good with a few changes, or of anything."""
        kind = self.chance.random()
        if kind < 0.2:
            order = [self.any() for _ in range(self.chance.randint(1, 9))]
            return self.start() + order if self.chance.random() < 0.8 else order
        order = self.good()
        for _ in range(self.chance.choice([0, 1, 1, 2, 3]) if kind < 0.9 else 0):
            self.change(order)
        return order

    def change(self, order):
        chance, here = self.chance, self.chance.randrange(len(order) + 1)
        one = min(here, len(order) - 1)
        match chance.randrange(7):
            case 0 | 1:
                order.insert(here, self.any())
            case 2 if one > 0:
                order[one - 1], order[one] = order[one], order[one - 1]
            case 3 if order:
                order.insert(chance.randrange(len(order)), order.pop(one))
            case 4 if order:
                order.insert(chance.randrange(len(order) + 1), order[one])
            case 5 if order:
                del order[one]
            case 6 if order:
                order[one] = self.any()

    def closed(self, order, reading):
        """The order, and an end if neither side must have ended the stream by then."""
        if reading.state != "open" or reading.receiver_ended != "no":
            return order
        if reading.asked is not None and not reading.is_answered:
            return order + [self.chance.choice(REFUSALS)]
        return order + [self.chance.choice([FINISH, FINISH_ABORTED, self.chance.choice(RESETS)])]

    def make(self, asked, may_end_tunnel):
        """(order, its Reading)"""
        while True:
            order = self.order()
            order = self.closed(order, Reading(order, asked))
            reading = Reading(order, asked)
            if may_end_tunnel or not reading.tunnel_reasons:
                return order, reading


class AnswerMaker(Maker):
    def __init__(self, chance, stream, asked):
        super().__init__(chance, stream)
        self.asked = asked

    def start(self):
        return [GOOD_ACCEPT]

    def fields(self):
        own = ((b"X-Id", b"%d" % self.stream),)
        return own + self.chance.choice([(), (), ((b"Location", b"/<%d>" % self.stream),
                                                  (b"Set-Cookie", b"id=%d" % self.stream))])

    def interim(self):
        status = self.chance.choice([100, 100, 102, 103, 103, 199] if self.chance.random() < 0.9 else [101, 200, 304])
        return of_head(Head(INTERIM, status, fields=self.fields()))

    def good_response(self, length):
        """A head that fits the request; `length` is that of its body, if it has a length."""
        if self.asked.upgrade and self.chance.random() < 0.5:
            return Head(RESPONSE, 101, upgrade=self.asked.upgrade, fields=self.fields())
        status = self.chance.choice(STATUSES)
        framing = self.chance.choice([LENGTH, LENGTH, UNKNOWN])
        if self.asked.is_head or status == 304:
            framing = self.chance.choice([NONE, LENGTH])
        if status == 204:
            framing = NONE
        return Head(RESPONSE, status, framing, length if framing == LENGTH else 0, self.fields())

    def good(self):
        order = [Message(PENDING, (50).to_bytes(4))] if self.chance.random() < 0.1 else []
        order += [GOOD_ACCEPT] + [of_head(Head(INTERIM, self.chance.choice([100, 103]), fields=self.fields()))
                                  for _ in range(self.chance.choice([0, 0, 0, 0, 1, 2, 8, 30]))]
        head = self.good_response(0)
        has_body = not self.asked.is_head and head.status not in (204, 304)
        parts, length = self.good_body(UNKNOWN if head.status == 101 else head.framing if has_body else NONE)
        if head.status == 101:
            parts = [part for part in parts if part.type == DATA]
        if head.framing == LENGTH:
            head = head._replace(length=length if has_body else self.chance.choice([0, 5]))
        return order + [of_head(head), *parts, FINISH]

    def response(self):
        """A HEAD(response) that may be good."""
        head = self.good_response(self.chance.choice([0, 1, 5, 20, 300, (1 << 63) - 1]))
        match self.chance.randrange(8):
            case 0:
                flaw, field = self.chance.choice(list(BAD_FIELDS.items()))
                head = head._replace(fields=head.fields + (field,), flaw=f"a field with {flaw}")
            case 1:
                framing = self.chance.choice([NONE, LENGTH, UNKNOWN])
                head = head._replace(status=self.chance.choice([100, 101, 103, *STATUSES]), framing=framing,
                                     length=5 if framing == LENGTH else 0)
            case 2:
                head = head._replace(upgrade="websocket")
        return of_head(head)

    def any(self):
        """One message: any of those that an agent may send, or must not."""
        chance = self.chance
        match chance.choices(range(15), [2, 2, 2, 1, 10, 6, 10, 6, 6, 2, 2, 2, 4, 1, 1])[0]:
            case 0: return number(ACCEPT, chance.choice([0, 16_384, 262_144, 1 << 24, 1 << 40]))
            case 1: return chance.choice(REFUSALS)
            case 2: return Message(PENDING, (20).to_bytes(4))
            case 3: return self.data(0)
            case 4: return self.data()
            case 5: return self.interim()
            case 6: return self.response()
            case 7: return self.trailers()
            case 8: return FINISH
            case 9: return FINISH_ABORTED
            case 10: return chance.choice(RESETS)
            case 11: return ASK_TO_STOP
            case 12: return self.credit()
            case 13: return of_head(Head(FAILURE))
            case _: break_it = chance.randrange(3)
        if break_it == 0:
            return chance.choice(BROKEN_FRAMES)
        if break_it == 1:
            return of_head(Head(REQUEST, method="GET", fields=self.fields()))
        return malformed(chance, self.response().payload)


class RequestMaker(Maker):
    """The path of a request names its stream."""

    def order(self):
        return [OPENING] + without_vain_waits(super().order())

    def start(self):
        return [self.request()]

    def simple(self):
        return [OPENING, self.of_request(), FINISH]

    def of_request(self, flaw="", **more):
        """`more`: what is different from a good GET, by the keys of SPEC 5.7."""
        own = {"path": f"/ok/{self.stream}", "fields": pack_fields((b"X-Id", b"%d" % self.stream))}
        payload = request(**{**own, **more})
        keys = msgpack.unpackb(payload)
        head = Head(REQUEST, framing=keys["framing"], length=keys.get("length", 0), upgrade=keys.get("upgrade", ""),
                    method=keys["method"], flaw=flaw)
        return Message(HEAD, payload, head=head)

    def good_request(self, framing, length):
        if framing == NONE:
            upgrade = {"upgrade": "websocket"} if self.chance.random() < 0.1 else {}
            return self.of_request(method=self.chance.choice(["GET", "GET", "HEAD", "DELETE", "OPTIONS"]), **upgrade)
        more = {"length": length} if framing == LENGTH else {}
        if self.chance.random() < 0.1:
            more[self.chance.choice(["te", "expect"])] = True
        return self.of_request(method=self.chance.choice(["POST", "PUT", "PATCH"]), framing=framing, **more)

    def good(self):
        framing = self.chance.choice([NONE, LENGTH, LENGTH, UNKNOWN, UNKNOWN])
        parts, length = self.good_body(framing)
        order = [self.good_request(framing, length), *parts, FINISH]
        if self.chance.random() < 0.15:
            order.insert(self.chance.randint(1, len(order)), WAITING)
        return order

    def request(self):
        """A HEAD(request) that may be good."""
        chance = self.chance
        if chance.random() < 0.7:
            framing = chance.choice([NONE, LENGTH, UNKNOWN])
            return self.good_request(framing, chance.choice([1, 5, 20, 300]))
        flaw, field = chance.choice(list(BAD_FIELDS.items()))
        return chance.choice([
            lambda: self.of_request(f"a field with {flaw}", fields=pack_fields(field)),
            lambda: self.of_request("a dot segment", path=f"/ok/../ok/{self.stream}"),
            lambda: self.of_request(NOT_EXPOSED_PATH, path=f"/secret/{self.stream}"),
            lambda: self.of_request("CONNECT", method="CONNECT"),
            lambda: self.of_request("another host", host="other"),
            lambda: self.of_request("another port", port=81),
            lambda: self.of_request("nothing to expect", expect=True),
            lambda: self.of_request("an upgrade to HTTP", upgrade="h2c"),
            lambda: self.of_request("an upgrade with a body", method="POST", upgrade="websocket", framing=UNKNOWN),
            lambda: self.of_request("two requests", path=f"/ok/{self.stream} HTTP/1.1\r\nX: y"),
        ])()

    def any(self):
        """One message: any of those that a server may send, or must not."""
        chance = self.chance
        match chance.choices(range(12), [1, 10, 6, 6, 6, 3, 3, 2, 3, 1, 3, 1])[0]:
            case 0: return self.data(0)
            case 1: return self.data()
            case 2: return self.request()
            case 3: return self.trailers()
            case 4: return FINISH
            case 5: return FINISH_ABORTED
            case 6: return chance.choice(RESETS)
            case 7: return ASK_TO_STOP
            case 8: return self.credit()
            case 9: return chance.choice([GOOD_ACCEPT, REFUSALS[0]])
            case 10: return chance.choice([WAITING, Message(PENDING, (20).to_bytes(4))])
            case _: break_it = chance.randrange(3)
        if break_it == 0:
            return chance.choice(BROKEN_FRAMES)
        if break_it == 1:
            return of_head(Head(RESPONSE, 200, LENGTH, 0))
        return malformed(chance, self.request().payload)


# ---- how orders are sent

@dataclasses.dataclass
class Write:
    """What is sent at once: (stream's number, message) in order."""
    parts: list
    cut: float | None = None  # Its bytes go out in two pieces, in different TLS records.
    pause: float = 0  # seconds before it: the receiver may send what it has made of the parts before

    def send(self, send_bytes, ids):
        """`ids`: a stream's number -> its id in the tunnel."""
        time.sleep(self.pause)
        data = b"".join(message.frame(ids[name]) for name, message in self.parts if message.type != WAIT)
        at = int(len(data) * self.cut) if self.cut is not None else 0
        for part in (data[:at], data[at:]):
            if part:
                send_bytes(part)


def merged(chance, orders):
    """All messages of {number: order} in one sequence, each order in its own order."""
    rests = {name: list(order) for name, order in orders.items()}
    while names := [name for name, rest in rests.items() for _ in rest]:
        name = chance.choice(names)
        yield name, rests[name].pop(0)


def writes(chance, parts):
    """Often all in one, so that one TLS record holds them; else in several. A wait is at the beginning of one."""
    often = chance.choice([0, 0, 0, 0.2, 0.6])
    found = [Write([])]
    for part in parts:
        if found[-1].parts and (chance.random() < often or part[1].type == WAIT):
            found.append(Write([], pause=0.001 if chance.random() < 0.2 else 0))
        found[-1].parts.append(part)
    for write in found:
        if chance.random() < 0.1:
            write.cut = chance.random()
    return found
