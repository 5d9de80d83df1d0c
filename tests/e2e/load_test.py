# SPDX-License-Identifier: Apache-2.0
"""Many streams, and one that stands still."""

import asyncio
import hashlib
import random
import socket
import statistics
import threading
import time

from backends import echo, raise_descriptor_limit, receive_exactly, serve
from culvert import Case, wait_until
from conversations import echoes

STREAMS = 2000


class ManyStreams(Case):
    seconds = 60

    def test_two_thousand_streams_at_once_lose_and_mix_up_nothing(self):
        """All are open at the same time before the first one ends; each compares a checksum of bytes of its own."""
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
                # The first byte came back, so this stream stands from end to end.
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

        limit = asyncio.Semaphore(200)  # connections under way at once; fewer than dials_max
        results = await asyncio.wait_for(asyncio.gather(*(one(i) for i in range(STREAMS)), return_exceptions=True), 240)
        errors = [repr(r) for r in results if isinstance(r, BaseException)]
        self.assertEqual((len(errors), wrong), (0, 0), errors[:5])
        backend.close()


class StalledReader(Case):
    """One reader stops; the others on the same tunnel must not feel it."""

    alone = True
    seconds = 30
    window_bytes_max = 16 << 20
    # What the kernels at both ends may hold beside the window: their send and receive buffers.
    kernel_bytes_max = 24 << 20

    def test_it_holds_its_window_and_others_keep_their_speed(self):
        sent = [0]

        def pour(connection):
            """Sends zeros until the client goes, and counts."""
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
            self.speed(port)  # so that windows have grown and files are in memory
            # Interleaved, so that a machine that gets slower meanwhile does not decide.
            before, during = [], []
            while len(during) < 5 or self.ratio(before, during) < 0.9 and len(during) < 15:
                before.append(self.speed(port))
                with socket.create_connection(("127.0.0.1", port), timeout=20) as stalled:
                    stalled.sendall(b"s")
                    receive_exactly(stalled, 1 << 20)
                    self.wait_until_stalled(sent)
                    during.append(self.speed(port))
                    self.assertLess(sent[0], self.window_bytes_max + self.kernel_bytes_max, "bytes that the stalled stream took")
                sent[0] = 0
            # More samples while in doubt: other load on the machine evens out, a stream that is held up does not.
            ratio = self.ratio(before, during)
            print(f"note: with a stalled stream the other has {ratio:.0%} of its speed ({statistics.median(during) / 1e6:.0f} MB/s)")
            self.assertGreaterEqual(ratio, 0.9, f"before {before}, during {during}")

    @staticmethod
    def ratio(before, during):
        return statistics.median(during) / statistics.median(before)

    def speed(self, port):
        # Long enough on every build that a tenth of the speed is more than the scheduler's whims; the start does not count.
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

        def stands_still():
            nonlocal last, since
            if sent[0] != last:
                last, since = sent[0], time.monotonic()
            return time.monotonic() - since > 0.5
        wait_until(stands_still, 30, "the stalled stream to stand still")


class ShortStreams(Case):
    seconds = 15

    def test_connections_that_come_and_go_leave_nothing_behind(self):
        pair = self.pair()
        ports = [pair.to_cloud(port := serve(self, echo)), pair.to_premise(port)]
        pair.start()
        faults = []

        def churn(port):
            try:
                for _ in range(50):
                    echoes(self, port)
            except Exception as fault:  # pylint: disable=broad-except
                faults.append(repr(fault))

        threads = [threading.Thread(target=churn, args=[ports[i % 2]]) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(faults, [])
