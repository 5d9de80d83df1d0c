# SPDX-License-Identifier: Apache-2.0
"""Many streams at once, and one that stalls."""

import asyncio
import hashlib
import random
import socket
import statistics
import threading
import time

from tests.harness.case import Case
from tests.harness.echo_client import assert_echoes
from tests.harness.sockets import raise_descriptor_limit, receive_exactly
from tests.harness.tcp_server import echo, serve
from tests.harness.waiting import wait_until

STREAMS = 2000


class ManyStreams(Case):
    seconds = 60

    def test_two_thousand_streams_at_once_lose_and_mix_up_nothing(self):
        """All are open before the first one ends. Each compares the checksum of its own bytes."""
        descriptors = raise_descriptor_limit()
        if descriptors < 3 * STREAMS + 500:
            self.skipTest(f"{descriptors} descriptors are allowed here, {3 * STREAMS + 500} are needed (ulimit -Hn)")
        asyncio.run(self.run_streams())

    async def run_streams(self):
        async def hash_conversation(reader, writer):
            digest, size = hashlib.sha256(), int.from_bytes(await reader.readexactly(4), "big")
            while size > 0:
                data = await reader.read(min(size, 65536))
                if not data:
                    return writer.close()
                digest.update(data)
                writer.write(data)
                await writer.drain()
                size -= len(data)
            writer.write(digest.digest())
            await writer.drain()
            writer.close()

        backend = await asyncio.start_server(hash_conversation, "127.0.0.1", 0, backlog=4096)
        port = backend.sockets[0].getsockname()[1]
        pair = self.pair()
        ways = [pair.to_cloud(port, connections_max=STREAMS), pair.to_premise(port, connections_max=STREAMS)]
        pair.server.tables["virtual_listener"][0]["connections_max"] = STREAMS
        await asyncio.to_thread(pair.start)
        all_open = asyncio.Event()
        opened = wrong = 0

        async def one(index):
            nonlocal opened, wrong
            source = random.Random(index)
            data = source.randbytes(source.choice([1, 1000, 16_384, 60_000]))
            async with limit:
                reader, writer = await asyncio.open_connection("127.0.0.1", ways[index % 2])
                writer.write(len(data).to_bytes(4, "big") + data[:1])
                # The first byte came back, so this stream is open from end to end.
                back = await reader.readexactly(1)
            opened += 1
            if opened == STREAMS:
                all_open.set()
            await all_open.wait()
            writer.write(data[1:])
            back += await reader.readexactly(len(data) - 1)
            digest = await reader.readexactly(32)
            wrong += back != data or digest != hashlib.sha256(data).digest()
            if await reader.read():
                wrong += 1
            writer.close()

        limit = asyncio.Semaphore(200)  # connections being opened at once; fewer than dials_max
        results = await asyncio.wait_for(asyncio.gather(*(one(i) for i in range(STREAMS)), return_exceptions=True), 240)
        errors = [repr(r) for r in results if isinstance(r, BaseException)]
        self.assertEqual((len(errors), wrong), (0, 0), errors[:5])
        backend.close()


class StalledReader(Case):
    """One reader stops reading; this must not slow down the others on the same tunnel."""

    alone = True
    seconds = 30
    window_bytes_max = 16 << 20
    # In addition to the window: the send and receive buffers of the kernels at both ends.
    kernel_bytes_max = 24 << 20

    def test_it_holds_its_window_and_others_keep_their_speed(self):
        sent = [0]

        def pour(connection):
            """Sends zeros until the client closes; counts them if the client asks for it."""
            mine = connection.recv(1) == b"s"
            block = bytes(1 << 18)
            while True:
                connection.sendall(block)
                if mine:
                    sent[0] += len(block)

        pair = self.pair(tunnels=1)
        ports = [pair.to_cloud(port := serve(self, pour)), pair.to_premise(port)]
        pair.start()
        for port in ports:
            sent[0] = 0
            self.speed(port)  # so that windows have grown
            # Interleaved, so that a machine that becomes slower affects both.
            before, during = [], []
            while len(during) < 5 or self.ratio(before, during) < 0.9 and len(during) < 15:
                before.append(self.speed(port))
                with socket.create_connection(("127.0.0.1", port), timeout=20) as stalled:
                    stalled.sendall(b"s")
                    receive_exactly(stalled, 1 << 20)
                    self.wait_until_stalled(sent)
                    during.append(self.speed(port))
                    self.assertLess(sent[0], self.window_bytes_max + self.kernel_bytes_max,
                                    "bytes that the stalled stream took")
                sent[0] = 0
            # Takes more samples while the ratio is too low: other load on the machine evens out, a stream that is
            # slowed down does not.
            ratio = self.ratio(before, during)
            print(f"note: beside a stalled stream the other has {ratio:.0%} of its speed "
                  f"({statistics.median(during) / 1e6:.0f} MB/s)")
            self.assertGreaterEqual(ratio, 0.9, f"before {before}, during {during}")

    @staticmethod
    def ratio(before, during):
        return statistics.median(during) / statistics.median(before)

    def speed(self, port):
        # Long enough on every build that a tenth of the speed exceeds the noise of the scheduler; the start is not
        # measured.
        amount = 256 << 20
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            client.sendall(b"f")
            receive_exactly(client, 32 << 20)
            started = time.monotonic()
            left, buffer = amount, bytearray(1 << 18)
            while left > 0:
                left -= client.recv_into(buffer)
            return amount / (time.monotonic() - started)

    def wait_until_stalled(self, sent):
        last, since = -1, time.monotonic()

        def has_stalled():
            nonlocal last, since
            if sent[0] != last:
                last, since = sent[0], time.monotonic()
            return time.monotonic() - since > 0.5
        wait_until(has_stalled, 30, "the stream to stall")


class ShortStreams(Case):
    seconds = 15

    def test_short_connections_leave_nothing_behind(self):
        pair = self.pair()
        ports = [pair.to_cloud(port := serve(self, echo)), pair.to_premise(port)]
        pair.start()
        faults = []

        def churn(port):
            try:
                for _ in range(50):
                    assert_echoes(self, port)
            except Exception as fault:  # pylint: disable=broad-except
                faults.append(repr(fault))

        threads = [threading.Thread(target=churn, args=[ports[i % 2]]) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(faults, [])
