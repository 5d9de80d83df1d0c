# SPDX-License-Identifier: Apache-2.0
"""Mutated vectors of tests/common/http/vectors.txt, many at a time, as requests and as answers. Each case comes from
its own loopback address, which the back end reads in X-Forwarded-For. A case cannot forge that field, so a request or
an answer that reaches the wrong peer is detected. A back end must receive, in order, what strict_http sees in the bytes
of its case."""

import asyncio
import collections
import itertools
import os
import random
import re

from tests.harness.case import Case
from tests.harness.environment import SCALE
from tests.harness.http_vectors import REQUESTS, RESPONSES, as_absolute, for_host, strictly
from tests.harness.strict_http import Broken, Incomplete, Text, read_answer, read_request

SEED = int(os.environ.get("CULVERT_HTTP_FUZZ_SEED", "4"))
CASES = int(20_000 * SCALE)
PARALLEL = 48
WIRE_BYTES_MAX = 6_000
INSERTS = [b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b"\x0b", b"\xa0", b":", b",", b";", b"0\r\n\r\n", b"1\r\nx\r\n",
           b"\r\n\r\n", b"chunked", b"5", b"+", b"0x", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n",
           b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: x\r\n", b"Connection: close\r\n", b"Host: rec\r\n",
           b"Expect: 100-continue\r\n", b"X-Forwarded-For: 127.9.9.9\r\n", b"Connection: X-Forwarded-For\r\n",
           b"%2e%2e", b"/../", b"%2f", b"GET /smuggled HTTP/1.1\r\nHost: rec\r\n\r\n",
           b"HTTP/1.1 200 OK\r\nX-Seen: 127.9.9.9 0\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.0",
           b"HTTP/1.1 100 C\r\n\r\n"]


def mutated(source, wire, others):
    for _ in range(source.randint(1, 3)):
        at, what = source.randrange(len(wire) + 1), source.randrange(7)
        end = min(len(wire), at + source.choice((1, 1, 2, 4, 16)))
        if what == 0:
            wire = wire[:at] + bytes([source.randrange(256)]) + wire[at + 1:]
        elif what == 1:
            wire = wire[:at] + source.choice(INSERTS) + wire[at:]
        elif what == 2:
            wire = wire[:at] + wire[end:]
        elif what == 3:
            wire = wire[:end] + wire[at:]
        elif what == 4:
            wire = wire[:at] + wire[at:end].swapcase() + wire[end:]
        else:
            # At the beginning of a line, where a splice changes most.
            lines = [match.end() for match in re.finditer(b"\n", wire)] or [0]
            other = source.choice(others)
            cut = source.choice([match.end() for match in re.finditer(b"\n", other)] or [0])
            at = source.choice(lines)
            wire = wire[:at] + (other[cut:] if what == 5 else source.choice(INSERTS) + wire[at:])
    return wire[:WIRE_BYTES_MAX]


def origin_form(target):
    """A target as a back end must receive it: as it came, without its host."""
    return re.sub(rb"(?i)^http://[^/?]*", lambda match: b"" if target[match.end():match.end() + 1] == b"/" else b"/",
                  target)


def meaning(request):
    """What a back end must receive of a request: (method, target, body)."""
    target = request.target
    if request.method == b"OPTIONS" and re.fullmatch(rb"(?i)\*|http://[^/?]*", target):
        return request.method, b"*", request.body
    return request.method, origin_form(target), request.body


class Fuzz:
    """One run: the back end, the clients, and the faults found."""

    def __init__(self, proxy):
        self.proxy = proxy
        self.received = collections.defaultdict(list)  # by source address
        # source address -> (answer to its first request, whether the connection closes then)
        self.answers = {}
        self.faults, self.counts = [], collections.Counter()
        self.random = random.Random(SEED)
        wires = [for_host(row.cells[3], b"rec") for row in REQUESTS if len(row.cells[3]) <= WIRE_BYTES_MAX]
        absolute = [for_host(as_absolute(row.cells[3], True) or row.cells[3], b"rec")
                    for row in REQUESTS if len(row.cells[3]) <= WIRE_BYTES_MAX]
        self.seeds = {"inside": wires, "proxy": absolute,
                      "answer": [row.cells[3]
                                 for row in RESPONSES if row.section == "response GET"
                                 and len(row.cells[3]) <= WIRE_BYTES_MAX]}

    # ---- the back end

    async def serve(self, reader, writer):
        data = b""
        try:
            while part := await reader.read(65536):
                data += part
                while data:
                    text = Text(data)
                    try:
                        request = read_request(text)
                    except Incomplete:
                        break
                    data = data[text.at:]
                    if await self.answer(writer, request):
                        return
        except Broken as fault:
            self.faults.append(f"a back end received something that is not HTTP: {fault}: {data[:200]}")
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def answer(self, writer, request):
        """Answers, and returns whether the connection ends then."""
        source = request.value(b"x-forwarded-for") or b"none"
        if request.value(b"host") != b"rec":
            self.faults.append(f"Host: {request}")
        received = self.received[source]
        received.append(request)
        if len(received) == 1 and source in self.answers:
            text, closes = self.answers[source]
            writer.write(text)
            await asyncio.sleep(0.2 if not closes else 0)
            # If it stayed open after part of an answer, the client would wait.
            return closes or not is_whole(text)
        line = b"%s %d" % (source, len(received) - 1)
        writer.write(b"HTTP/1.1 200 OK\r\nX-Seen: %s\r\nContent-Length: %d\r\n\r\n%s" % (line, len(line),
                                                                                         b""
                                                                                         if request.method == b"HEAD"
                                                                                         else line))
        return False

    # ---- a client

    async def case(self, number):
        source = b"127.%d.%d.%d" % (1 + number // 62_500, number // 250 % 250, 1 + number % 250)
        kind = ("inside", "proxy", "proxy", "answer")[number % 4]
        wire = mutated(self.random, self.random.choice(self.seeds[kind]), self.seeds[kind])
        sent = wire
        if kind == "answer":
            # At least one byte: without any, the request may be sent a second time.
            self.answers[source] = (wire or b"H", self.random.random() < 0.5)
            sent = b"GET http://rec/v HTTP/1.1\r\nHost: rec\r\n\r\n"
        sent += b"GET %s/m HTTP/1.1\r\nHost: rec\r\nX-Marker: %d\r\n\r\n" % (b"" if kind == "inside" else b"http://rec",
                                                                             number)
        before = b"CONNECT rec:80 HTTP/1.1\r\nHost: rec:80\r\n\r\n" if kind == "inside" else b""
        cuts = sorted(self.random.randrange(1, len(before + sent)) for _ in range(self.random.randrange(4)))
        got = await self.send(source.decode(), before + sent, cuts)
        fault = self.fault_of(source, kind, sent, got)
        self.counts[kind] += 1
        if fault:
            self.faults.append(
                f"case {number} {kind}: {fault}\n  sent {wire}\n  got {got[:400]}\n  received {self.received[source]}")

    async def send(self, source, data, cuts):
        reader, writer = await asyncio.open_connection(*self.proxy, local_addr=(source, 0))
        got = b""
        try:
            for start, end in itertools.pairwise([0, *cuts, len(data)]):
                writer.write(data[start:end])
                await writer.drain()
                await asyncio.sleep(0)
            writer.write_eof()
            async with asyncio.timeout(20):
                while part := await reader.read(65536):
                    got += part
        except TimeoutError:
            got += b"(no end)"
        except OSError:
            pass
        finally:
            writer.close()
        return got

    def fault_of(self, source, kind, sent, got):
        """The fault, or None."""
        if got.endswith(b"(no end)"):
            return "the connection never ends"
        expected, received = strictly(sent)[0], self.received[source]
        rest = iter(map(meaning, expected))
        for request in received:
            if (request.method, request.target, request.body) not in rest:  # A request that is refused is missing.
                return "the back end received something else"
        self.counts["received"] += len(received)
        text, seen = Text(got, ended=True), []
        if kind == "inside" and got:
            if read_answer(text, b"CONNECT").status != 200:
                return "CONNECT failed"
        try:
            for request in itertools.chain(expected, itertools.repeat(None)):
                if text.at == len(got):
                    break
                answer = read_answer(text, request.method if request else b"GET")
                if request and request.method == b"CONNECT" and answer.status == 200:
                    continue  # The rest is inside the tunnel.
                seen.append(answer)
                # Culvert may refuse a request before it knows that its method is HEAD.
                if not answer.whole or (answer.is_ours and answer.value(b"connection") == b"close"):
                    break
        except Broken as fault:
            return f"the client received something that is not HTTP: {fault}"
        return self.fault_of_answers(source, kind, seen, received)

    def fault_of_answers(self, source, kind, answers, received):
        if kind == "answer" and answers:
            first = answers.pop(0)
            if first.whole and not first.is_ours:
                strict = whole_answer(self.answers[source][0])
                if strict is None or (first.status, first.body) != (strict.status, strict.body):
                    return f"{self.answers[source]} became an answer: {first}"
        numbers = [answer.value(b"x-seen") for answer in answers if not answer.is_ours]
        begin = 1 if kind == "answer" else 0
        if numbers != [b"%s %d" % (source, begin + index) for index in range(len(numbers))]:
            return f"answers to other requests: {numbers}"
        return None if len(numbers) + begin <= max(len(received), begin) else "more answers than requests"


def whole_answer(wire):
    """The answer that the strict reader sees if the connection ends after `wire`, or None."""
    try:
        answer = read_answer(Text(wire, ended=True), b"GET", lenient=True)
    except (Broken, Incomplete):
        return None
    return answer if answer.whole else None


def is_whole(wire):
    try:
        read_answer(Text(wire), b"GET", lenient=True)
    except (Broken, Incomplete):
        return False
    return True


class HttpFuzz(Case):
    seconds = 25

    def test_mutated_messages_are_refused_or_mean_the_same_to_all(self):
        print(f"seed {SEED}, {CASES} cases", flush=True)
        pair = self.pair()
        proxy = pair.proxy().removeprefix("http://").split(":")
        fuzz = Fuzz(proxy)
        asyncio.run(self.run_cases(fuzz, pair))
        self.assertTrue(pair.server.is_running() and pair.agent.is_running())
        print(dict(fuzz.counts), flush=True)
        self.assertEqual(fuzz.faults[:5], [])
        self.assertGreater(fuzz.counts["received"], CASES / 4,
                           "hardly any request gets through, so this proves nothing")
        self.assertFalse({source for source in fuzz.received if not source.startswith(b"127.")},
                         "a request without its source")

    async def run_cases(self, fuzz, pair):
        back_end = await asyncio.start_server(fuzz.serve, "127.0.0.1", 0)
        pair.agent.web("rec:80", back_end.sockets[0].getsockname()[1],
                       [{"path": "/", "match": "sub_paths", "upgrade": True}])
        await asyncio.to_thread(pair.start)
        numbers = iter(range(CASES))

        async def work():
            for number in numbers:
                await fuzz.case(number)

        async with back_end:
            await asyncio.gather(*(work() for _ in range(PARALLEL)))
