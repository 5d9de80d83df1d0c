# SPDX-License-Identifier: Apache-2.0
"""A DNS server for some names, all of which are one address."""

import socket
import socketserver
import struct
import threading

A, NXDOMAIN = 1, 3


class Names:
    """Listens on port 53 of `address`, which is its answer, too."""

    def __init__(self, case, address, *names):
        self.address, self.names, self.asked = socket.inet_aton(address), set(names), []

        class Answer(socketserver.BaseRequestHandler):
            def handle(handler):
                data, answers = handler.request
                answers.sendto(self.answer(data), handler.client_address)

        server = socketserver.ThreadingUDPServer((address, 53), Answer)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        case.addCleanup(server.server_close)
        case.addCleanup(server.shutdown)

    def answer(self, query):
        labels, at = [], 12
        while length := query[at]:
            labels.append(query[at + 1:at + 1 + length].decode())
            at += 1 + length
        question, name = query[12:at + 5], ".".join(labels).lower()
        self.asked.append(name)
        kind = struct.unpack("!H", query[at + 1:at + 3])[0]
        known = name in self.names
        records = [b"\xc0\x0c" + struct.pack("!HHIH", A, 1, 1, 4) + self.address] if known and kind == A else []
        flags = 0x8580 | (0 if known else NXDOMAIN)
        return query[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0) + question + b"".join(records)
