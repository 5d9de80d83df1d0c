# SPDX-License-Identifier: Apache-2.0
"""Kept-alive connections that change virtual host, location and account from request to request."""

import asyncio
import dataclasses
import hashlib
import json
import os
import random
import time

from tests.harness.back_ends.node import node_ports
from tests.harness.case import Case
from tests.harness.culvert_program import Agent
from tests.harness.environment import SCALE
from tests.harness.ports import free_port
from tests.harness.proxy_fields import ACCOUNT_FIELD, LOCATION_FIELD, TRUST

SEED = int(os.environ.get("CULVERT_E2E_SEED", "4"))
REQUESTS = max(int(10_000 * SCALE), 2_000)
CONNECTIONS = 64
# All agents use the same virtual hosts.
AGENTS = [("acme", ""), ("acme", "plant-1"), ("other", "")]
HOSTS = ["erp", "crm", "files"]


@dataclasses.dataclass
class Request:
    id: int
    method: str
    host: str
    location: tuple  # (account, location)
    body: bytes
    is_chunked: bool

    def text(self):
        account, name = self.location
        lines = [f"{self.method} http://{self.host}/{self.id}?x HTTP/1.1", f"Host: {self.host}", f"X-Id: {self.id}",
                 f"{ACCOUNT_FIELD}: {account}"]
        lines += [f"{LOCATION_FIELD}: {name}"] * bool(name)
        body = self.body
        if self.is_chunked:
            lines.append("Transfer-Encoding: chunked")
            body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:]) if part) + b"0\r\n\r\n"
        elif self.method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def receive(reader, method):
    """(status, fields, body)"""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
    status, body = int(head[0].split()[1]), b""
    if method == "HEAD":
        return status, fields, body
    if fields.get("transfer-encoding") == "chunked":
        while size := int(await reader.readline(), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readexactly(2)
        return status, fields, body
    return status, fields, await reader.readexactly(int(fields["content-length"]))


class Routing(Case):
    seconds = 15

    def make_requests(self, chance):
        """The requests: to all nine back ends, and some to targets that do not exist."""
        def one(number):
            method = chance.choice(["GET", "GET", "POST", "POST", "HEAD"])
            host, location = chance.choice(HOSTS), chance.choice(AGENTS)
            if method == "GET" and chance.random() < 0.05:
                host, location = chance.choice([("hidden", location), (host, ("other", "plant-1"))])
            body = chance.randbytes(chance.choice([0, 1, 100, 5_000, 60_000])) if method == "POST" else b""
            return Request(number, method, host, location, body, method == "POST" and chance.random() < 0.5)
        return [one(number) for number in range(REQUESTS)]

    def fault_of(self, request, status, fields, body):
        """The fault of an answer, or None."""
        expected = 403 if request.host == "hidden" else 503 if request.location not in AGENTS else 200
        if status != expected:
            return f"status {status}, not {expected}: {body[:200]}"
        if status != 200:
            return None if json.loads(body)["status"] == status else f"not our problem: {body}"
        port = self.ports[*request.location, request.host]
        if (fields["x-port"], fields["x-echo"]) != (str(port), str(request.id)):
            return f"{fields['x-echo']} from {fields['x-port']}, not {request.id} from {port}"
        if request.method == "HEAD":
            return None
        seen = json.loads(body)
        said = [seen["port"], seen["fields"]["x-id"], seen["method"], seen["path"], seen["fields"]["host"],
                seen["sha256"]]
        right = [port, str(request.id), request.method, f"/{request.id}?x", request.host,
                 hashlib.sha256(request.body).hexdigest()]
        return None if said == right else f"{said}, not {right}"

    async def converse(self, requests, chance):
        """Sends all on one connection, often several before the first is answered. Returns (number of right answers,
        faults)."""
        right, faults = 0, []
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=1 << 20)
        while requests:
            count = chance.choice([1, 1, 1, 2, 4])
            batch, requests = requests[:count], requests[count:]
            writer.write(b"".join(request.text() for request in batch))
            for request in batch:
                answer = await asyncio.wait_for(receive(reader, request.method), 20)
                if fault := self.fault_of(request, *answer):
                    faults.append(f"{request.method} {request.host} {request.location}: {fault}")
                else:
                    right += 1
        writer.close()
        return right, faults

    def test_each_request_is_answered_by_its_own_back_end(self):
        pair = self.pair()
        self.port = free_port()
        pair.server.tables["http_proxy"] = {"listen": f"127.0.0.1:{self.port}", "account_from": ACCOUNT_FIELD,
                                            "trust": TRUST}
        agents, self.ports = [], {}
        for number, (account, location) in enumerate(AGENTS):
            agents.append(Agent(self, f"agent{number}") if number else pair.agent)
            if number:
                agents[-1].connect(pair.server.port, pair.authority.agent(account, "one", location))
            for host, port in zip(HOSTS, node_ports(self, f"node{number}", len(HOSTS))):
                agents[-1].web(f"{host}:80", port)
                self.ports[account, location, host] = port
        pair.start()
        for agent in agents[1:]:
            agent.start().wait_until_ready()

        print(f"seed {SEED}")
        chance = random.Random(SEED)
        requests = self.make_requests(chance)

        async def run():
            return await asyncio.gather(*(self.converse(requests[number::CONNECTIONS], random.Random(chance.random()))
                                          for number in range(CONNECTIONS)))

        began = time.monotonic()
        answers = asyncio.run(run())
        faults = [fault for _, some in answers for fault in some]
        self.assertEqual(faults[:10], [], f"{len(faults)} of {REQUESTS} are wrong")
        self.assertEqual(sum(right for right, _ in answers), REQUESTS)
        self.assertLess(time.monotonic() - began, 15 / min(SCALE, 1))
