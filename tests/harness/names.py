# SPDX-License-Identifier: Apache-2.0
"""Names that only one program of a test knows: its own /etc/hosts, or a DNS server with an answer of the test for each
question."""

import ipaddress
import socketserver
import struct
import threading

from tests.harness.ports import free_port

A, TTL = 1, 0


def with_hosts(case, program, table):
    """`program` finds these names only: [(name, address)], a name may have several. Call it before start(). Returns
    the file."""
    hosts = case.folder / f"{program.name}.hosts"
    hosts.write_text("".join(f"{address} {name}\n" for name, address in (("localhost", "127.0.0.1"), *table)))
    bind(program, hosts, "/etc/hosts")
    return hosts


def bind(program, file, path):
    """Puts `file` in the place of `path`, in a mount namespace of the program's own."""
    program.command = ["unshare", "--mount", "sh", "-c", f'mount --bind "$0" {path} && exec "$@"', str(file),
                       *program.command]


class NameServer:
    """`answers`: called for each question about an IPv4 address with the name, returns a list of addresses. There are
    no IPv6 addresses. `program` asks it alone, except for what /etc/hosts has."""

    def __init__(self, case, program, answers):
        self.questions = []
        number = free_port()  # No other test has it at the same time.
        address = f"127.53.{number >> 8}.{number & 255}"

        class Datagram(socketserver.BaseRequestHandler):
            def handle(handler):
                message, sock = handler.request
                sock.sendto(self.answer(message, answers), handler.client_address)

        server = socketserver.ThreadingUDPServer((address, 53), Datagram)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        case.addCleanup(server.server_close)
        case.addCleanup(server.shutdown)
        resolv_conf = case.folder / "resolv.conf"
        resolv_conf.write_text(f"nameserver {address}\noptions timeout:1 attempts:2\n")
        bind(program, resolv_conf, "/etc/resolv.conf")

    def answer(self, message, answers):
        """RFC 1035, 4.1. The message has one question; what follows, such as EDNS, is ignored."""
        end, labels = 12, []
        while length := message[end]:
            labels.append(message[end + 1:end + 1 + length].decode().lower())
            end += 1 + length
        question = message[12:end + 5]
        kind, _ = struct.unpack("!HH", question[-4:])
        addresses = []
        if kind == A:
            addresses = answers(".".join(labels))
            self.questions.append((".".join(labels), addresses))
        records = b"".join(struct.pack("!HHHIH", 0xc00c, A, 1, TTL, 4) + ipaddress.ip_address(address).packed
                           for address in addresses)
        return message[:2] + struct.pack("!BBHHHH", 0x85, 0x80, 1, len(addresses), 0, 0) + question + records
