# SPDX-License-Identifier: Apache-2.0
"""Common programs, unmodified, through the tunnel in both directions."""

import asyncio
import re
import threading

import websockets

from tests.harness.back_ends.postgres import Postgres
from tests.harness.back_ends.sshd import Sshd
from tests.harness.back_ends.web_servers import nginx
from tests.harness.case import Case
from tests.harness.certificates import Authority
from tests.harness.environment import SCALE
from tests.harness.files import make_file, sha256
from tests.harness.ports import free_port
from tests.harness.tcp_server import serve

GIB = int(SCALE * (1 << 30))


class CurlAndNginx(Case):
    seconds = 40

    def test_a_gibibyte_down_and_up_each_way(self):
        web = nginx(self)
        pair = self.pair()
        ports = {"cloud": pair.to_cloud(web), "premise": pair.to_premise(web)}
        pair.start()
        digest = make_file(self.folder / "www/big", GIB)
        for way, port in ports.items():
            with self.subTest(way):
                down = self.folder / "down"
                self.command("curl", "-sS", "--fail", "-o", down, f"http://127.0.0.1:{port}/big")
                self.assertEqual(sha256(down), digest)
                self.command("curl", "-sS", "--fail", "-T", down, f"http://127.0.0.1:{port}/up-{way}")
                self.assertEqual(sha256(self.folder / f"www/up-{way}"), digest)
                down.unlink()
                (self.folder / f"www/up-{way}").unlink()

    def test_both_directions_at_once_over_one_tunnel(self):
        web = nginx(self)
        pair = self.pair(tunnels=1)
        ports = [pair.to_cloud(web), pair.to_premise(web)]
        pair.start()
        digest = make_file(self.folder / "www/big", GIB // 16)
        threads = []
        for index in range(8):
            target = self.folder / f"down{index}"
            arguments = ["curl", "-sS", "--fail", "-o", target, f"http://127.0.0.1:{ports[index % 2]}/big"]
            threads.append(threading.Thread(target=self.command, args=arguments))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([sha256(self.folder / f"down{index}") for index in range(8)], [digest] * 8)


class PostgreSql(Case):
    seconds = 30

    def setUp(self):
        super().setUp()
        database = Postgres(self)
        pair = self.pair()
        self.ways = {"cloud": pair.to_cloud(database.port), "premise": pair.to_premise(database.port, "db:5432")}
        pair.start()

    def psql(self, port, *arguments, **keywords):
        return self.command("psql", "-h", "127.0.0.1", "-p", port, "-U", "postgres", "-X", "-q", "-A", "-t", "-v",
                            "ON_ERROR_STOP=1",
                            *arguments, **keywords)

    def test_psql_moves_a_table_there_and_back(self):
        rows = max(int(200_000 * SCALE), 10_000)
        for way, port in self.ways.items():
            with self.subTest(way):
                self.psql(port, "-c", f"create table t as select i, md5(i::text) m from generate_series(1, {rows}) i")
                path = self.folder / f"{way}.csv"
                self.psql(port, "-c", f"\\copy t to '{path}' csv")
                self.psql(port, "-c", "create table u (like t)", "-c", f"\\copy u from '{path}' csv")
                self.assertEqual(self.psql(port, "-c", "select count(*) from (table t except table u) x", "-c",
                                           "drop table t, u").strip(), "0")

    def test_pgbench_loses_no_transaction(self):
        for way, port in self.ways.items():
            with self.subTest(way):
                base = ["pgbench", "-h", "127.0.0.1", "-p", port, "-U", "postgres"]
                self.command(*base, "-i", "-q", "-s", 1, "postgres")
                text = self.command(*base, "-n", "-c", 8, "-j", 2, "-t", 100, "postgres")
                self.assertRegex(text, r"number of transactions actually processed: 800/800")
                # A connection for each transaction: many short streams.
                text = self.command(*base, "-n", "-S", "-C", "-c", 8, "-j", 2, "-t", 25, "postgres")
                self.assertRegex(text, r"number of transactions actually processed: 200/200")


class SecureShell(Case):
    seconds = 20

    def setUp(self):
        super().setUp()
        self.sshd = Sshd(self)
        pair = self.pair()
        self.ways = {"cloud": pair.to_cloud(self.sshd.port, "ssh"),
                     "premise": pair.to_premise(self.sshd.port, "bastion:22")}
        pair.start()

    def test_ssh_runs_a_command_and_scp_copies_there_and_back(self):
        source = self.folder / "source"
        digest = make_file(source, GIB // 16)
        for way, port in self.ways.items():
            with self.subTest(way):
                options, there, back = self.sshd.options(
                    port), self.folder / f"there-{way}", self.folder / f"back-{way}"
                text = self.command("ssh", *options, "-p", port, self.sshd.destination, "echo hello; exit 7", status=7)
                self.assertEqual(text.strip(), "hello")
                self.command("scp", *options, "-P", port, source, f"{self.sshd.destination}:{there}")
                self.command("scp", *options, "-P", port, f"{self.sshd.destination}:{there}", back)
                self.assertEqual([sha256(there), sha256(back)], [digest, digest])


class TlsBackend(Case):
    def start(self, trusted, **mapping):
        web = nginx(self, credentials=Authority(self.folder / "backend").server("erp.internal", "localhost"))
        (self.folder / "www/hello").write_text("hello over TLS")
        pair = self.pair()
        port = pair.to_premise(web, "erp:443", "tcps", backend_ca=trusted, **mapping)
        self.agent = pair.start().agent
        return port

    def assert_refused(self, port):
        self.assertEqual(self.command("curl", "-s", f"http://127.0.0.1:{port}/hello", status=None), "",
                         "no byte may arrive")
        self.agent.wait_for_output("tls.")

    def test_the_agent_speaks_tls_to_the_back_end(self):
        port = self.start(self.folder / "backend/ca.pem", backend_server_name="erp.internal")
        self.assertEqual(self.command("curl", "-sS", "--fail", f"http://127.0.0.1:{port}/hello"), "hello over TLS")

    def test_a_large_body_over_a_tls_back_end(self):
        port = self.start(self.folder / "backend/ca.pem", backend_server_name="erp.internal")
        digest = make_file(self.folder / "www/big", GIB // 16)
        down = self.folder / "down"
        self.command("curl", "-sS", "--fail", "-o", down, f"http://127.0.0.1:{port}/big")
        self.command("curl", "-sS", "--fail", "-T", down, f"http://127.0.0.1:{port}/up")
        self.assertEqual([sha256(down), sha256(self.folder / "www/up")], [digest, digest])

    def test_a_back_end_of_another_authority_is_refused(self):
        other = Authority(self.folder / "other")
        port = self.start(other.ca, backend_server_name="erp.internal")
        self.assert_refused(port)

    def test_a_back_end_with_another_name_is_refused(self):
        port = self.start(self.folder / "backend/ca.pem", backend_server_name="crm.internal")
        self.assert_refused(port)


class WebSocket(Case):
    def test_messages_of_all_sizes_come_back(self):
        async def echo(connection):
            async for message in connection:
                await connection.send(message)

        async def echo_messages(port):
            async with websockets.connect(f"ws://127.0.0.1:{port}/", max_size=1 << 24, compression=None) as client:
                for size in (0, 1, 125, 126, 65535, 65536, 1 << 20, 4 << 20):
                    message = bytes(index * 7 & 0xff for index in range(min(size, 4096))) * max(size // 4096, 1)
                    await client.send(message)
                    self.assertEqual(await asyncio.wait_for(client.recv(), 20), message)
                await asyncio.wait_for(await client.ping(), 10)

        async def main():
            backend = free_port()
            async with websockets.serve(echo, "127.0.0.1", backend, max_size=1 << 24, compression=None):
                pair = self.pair()
                ports = [pair.to_cloud(backend), pair.to_premise(backend)]
                await asyncio.to_thread(pair.start)
                await asyncio.gather(*(echo_messages(port) for port in ports))

        asyncio.run(main())


class DemoOfTheGuide(Case):
    def test_the_host_header_reaches_the_service_as_it_was_sent(self):
        def respond(connection):
            head = connection.recv(65536)
            host = re.search(rb"(?i)\r\nhost: ([^\r]+)", head).group(1)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % len(host) + host)

        pair = self.pair()
        port = pair.to_cloud(serve(self, respond), "myservice")
        pair.start()
        text = self.command("curl", "-sS", "--fail", f"http://localhost:{port}/test", "-H", "Host: echoserver.test")
        self.assertEqual(text, "echoserver.test")
