# SPDX-License-Identifier: Apache-2.0
"""The DNS server of a cluster, over UDP and TCP: name_server.py ADDRESS FILE. FILE is JSON, {"web.shop": ["10.1.2.3"]},
and is read for each question; web.shop stands for the name web.shop.svc.cluster.local. No other name exists, and there
is no IPv6."""

import json
import pathlib
import socketserver
import struct
import sys
import threading

DOMAIN = ".svc.cluster.local"
NO_SUCH_NAME, A, IN, TTL = 3, 1, 1, 5


def answer(message):
    """RFC 1035, 4.1. The message has one question; anything after it, such as EDNS, is ignored."""
    number, asked_for = message[:2], message[2] & 1
    end = 12
    labels = []
    while length := message[end]:
        labels.append(message[end + 1:end + 1 + length].decode().lower())
        end += 1 + length
    question = message[12:end + 5]
    kind, space = struct.unpack("!HH", question[-4:])
    name = ".".join(labels)
    table = json.loads(pathlib.Path(sys.argv[2]).read_text())
    found = table.get(name.removesuffix(DOMAIN)) if name.endswith(DOMAIN) else None
    code = 0 if found is not None else NO_SUCH_NAME
    addresses = found if found and (kind, space) == (A, IN) else []
    head = struct.pack("!BBHHHH", 0x84 | asked_for, 0x80 | code, 1, len(addresses), 0, 0)
    records = b"".join(struct.pack("!HHHIH4B", 0xc00c, A, IN, TTL, 4, *map(int, address.split(".")))
                       for address in addresses)
    return number + head + question + records


class Datagram(socketserver.BaseRequestHandler):
    def handle(self):
        message, sock = self.request
        sock.sendto(answer(message), self.client_address)


class Stream(socketserver.StreamRequestHandler):
    def handle(self):
        while size := self.rfile.read(2):
            reply = answer(self.rfile.read(struct.unpack("!H", size)[0]))
            self.wfile.write(struct.pack("!H", len(reply)) + reply)


class TcpServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True


address = (sys.argv[1], 53)
threading.Thread(target=TcpServer(address, Stream).serve_forever, daemon=True).start()
socketserver.UDPServer(address, Datagram).serve_forever()
