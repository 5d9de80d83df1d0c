# SPDX-License-Identifier: Apache-2.0
"""Over an emulated wide area network, in namespaces of its own: as root, or it fails."""

import json
import sys

from culvert import BUILD, ROOT, SCALE, Case, Program, free_port, wait_until

sys.path.insert(0, str(ROOT / "tests/testing/wan"))
import load  # noqa: E402
from network import FAR, NEAR, Network, at, inside  # noqa: E402

CONGESTION_CONTROL = "cubic"  # of all connections: what is compared with plain TCP must not be better at its expense
TUNNELS_NEAR, TUNNELS_FAR = 2, 8
ROUND_TRIP_MS = 80
MARGIN_MS = 40 if SCALE >= 1 else 150  # of a small request: what the machine, not the distance, may cost
# Sanitized programs are too slow to fill the whole line; the shares below are the same on a narrower one.
NARROWER = 1 if SCALE == 1 else 5


class Distance(Case):
    alone = True
    seconds = 40

    def setUp(self):
        super().setUp()
        self.places = {}

    def begin(self, **network):
        """A server here, an agent and the back end far away. Returns the two addresses of the back end: direct, and by the tunnel."""
        wan = self.enterContext(Network(BUILD / "tests/testing/wan/emulator", CONGESTION_CONTROL, round_trip_ms=ROUND_TRIP_MS, **network))
        port = free_port()
        Program(self, "backend", at(wan.far, [sys.executable, load.__file__, "serve", port])).start()
        pair = self.pair()
        entry = pair.to_premise(port)
        address = f"{NEAR}:{pair.server.port}"
        pair.server.tables["tunnel"] |= {"listen": address, "congestion_control": CONGESTION_CONTROL}
        pair.agent.tables["server"][0] |= {"address": address, "congestion_control": CONGESTION_CONTROL}
        for program, place in ((pair.server, wan.near), (pair.agent, wan.far)):
            self.places[program] = place
            with inside(place):
                program.start().wait_until_ready()
        self.near, self.agent = wan.near, pair.agent
        return (FAR, port), ("127.0.0.1", entry)

    def assert_gauges_at_zero(self, programs):
        for program in programs:
            with inside(self.places.get(program, "/proc/thread-self/ns/net")):
                super().assert_gauges_at_zero([program])

    def run_load(self, address, streams, *options):
        command = [sys.executable, load.__file__, "run", *address, "--streams", streams, *options]
        return json.loads(self.command(*at(self.near, command)))

    def share(self, direct, tunnel, least, *options, streams):
        """Of what plain TCP carries. Once more while in doubt: where losses are random, one sample is a throw of dice."""
        carried = {direct: [], tunnel: []}
        for _ in range(2):
            for address, results in carried.items():
                results.append(self.run_load(address, streams, *options))
            rates = {address: sum(r["bytes_per_second"] for r in results) / len(results) for address, results in carried.items()}
            share = rates[tunnel] / rates[direct]
            print(f"note: {streams} streams: {rates[tunnel] / 1e6:.1f} MB/s by the tunnel, {rates[direct] / 1e6:.1f} MB/s by plain TCP: {share:.0%}")
            if share >= least:
                break
        self.assertGreaterEqual(share, least)
        return carried[tunnel][-1]

    def test_a_far_link_has_eight_tunnels_which_carry_bulk_and_small_requests_in_spite_of_losses(self):
        direct, tunnel = self.begin(rate_mbit=200 / NARROWER, loss_percent=0.1)
        wait_until(lambda: tunnels_up(self.agent) == TUNNELS_FAR, 5, f"{TUNNELS_FAR} tunnels")
        result = self.share(direct, tunnel, 0.7, "--requests", "--warm-up", 3, "--seconds", 6, streams=8)
        print(f"note: {result['requests']} small requests beside, p50 {result['p50_ms']:.0f} ms, at most {result['max_ms']:.0f} ms")
        self.assertLessEqual(result["p50_ms"], 2 * ROUND_TRIP_MS + MARGIN_MS)

    def test_one_stream_fills_a_long_fat_line(self):
        direct, tunnel = self.begin(rate_mbit=500 / NARROWER)
        self.share(direct, tunnel, 0.8, "--warm-up", 3, "--seconds", 3, streams=1)

    def test_a_near_link_has_two_tunnels(self):
        pair = self.pair()
        pair.to_premise(free_port())
        pair.start()
        wait_until(lambda: tunnels_up(pair.agent) >= TUNNELS_NEAR, 5, f"{TUNNELS_NEAR} tunnels")
        self.assertEqual(tunnels_up(pair.agent), TUNNELS_NEAR)


def tunnels_up(agent):
    return sum(server["tunnels_up"] for server in agent.status()["servers"])
