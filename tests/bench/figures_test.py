# SPDX-License-Identifier: Apache-2.0
"""What the benchmark makes of its figures; nothing is measured."""

import contextlib
import io
import sys
import unittest

import against
import bench
import gateways
import loads
import machine
import peers
import report


def rows_of(build, costs, peer="culvert", load="new connections", figure="CPU µs each"):
    return [{"round": number, "load": load, "peer": peer, "build": build, "figures": {figure: value, "MB/s": 1}}
            for number, value in enumerate(costs)]


class Against(unittest.TestCase):
    def summary(self, theirs, ours):
        rows = rows_of("v1", theirs) + rows_of(against.THIS, ours)
        (line,) = against.summarise(rows, "v1")
        return line

    def test_the_ratio_is_the_median_within_a_round_not_the_ratio_of_medians(self):
        line = self.summary([10, 20, 100], [11, 40, 50])
        self.assertEqual([line["theirs"], line["ours"]], [20, 40])
        self.assertEqual([line["ratio"], line["least"], line["greatest"]], [1.1, 0.5, 2])

    def test_only_a_ratio_beyond_the_limit_is_reported(self):
        self.assertEqual(against.over_limit([self.summary([100], [102])], 1.02), [])
        (text,) = against.over_limit([self.summary([100], [102.1])], 1.02)
        self.assertEqual(text, "new connections, CPU µs each: 1.021 × exceeds 1.02 ×")

    def test_a_round_that_lacks_one_of_the_two_is_left_out(self):
        rows = rows_of("v1", [10, 10]) + rows_of(against.THIS, [10, 10, 99])
        self.assertEqual(against.summarise(rows, "v1")[0]["ratio"], 1)

    def test_bulk_requests_connections_and_bodies_are_compared(self):
        self.assertEqual([name for name in loads.LOADS if name not in against.select("")],
                         ["request beside bulk down", "request beside bulk up",
                          "stalled reader among 64, down", "stalled reader among 64, up"])


class Gateway(unittest.TestCase):
    def over_limit(self, figure, ratio):
        rows = [row for build, value in ((gateways.OTHER, 100), (against.THIS, 100 * ratio))
                for row in rows_of(build, [value], "gateway", "small HTTP", figure)]
        return gateways.over_limit(against.summarise(rows, gateways.OTHER))

    def test_each_figure_has_its_own_limit(self):
        self.assertEqual(self.over_limit("CPU µs/request", 1.14), [])
        self.assertEqual(self.over_limit("CPU s/GB", 1.09), [])
        self.assertEqual(self.over_limit("CPU s/GB", 1.14), ["small HTTP, CPU s/GB: 1.140 × exceeds 1.1 ×"])
        self.assertEqual(len(self.over_limit("CPU µs/request", 1.16)), 1)

    def test_both_targets_carry_small_requests_and_bodies_both_ways(self):
        self.assertEqual(len(gateways.select("")), 6)
        self.assertEqual(len(gateways.select("HTTPS")), 3)


class Document(unittest.TestCase):
    def refusal(self, *arguments):
        errors = io.StringIO()
        sys.argv = ["bench.py", *arguments]
        with contextlib.redirect_stderr(errors), self.assertRaises(SystemExit):
            bench.parse()
        return errors.getvalue()

    def test_it_needs_a_quiet_machine(self):
        machine.require_quiet({"load_average": 0.49}, "a document")
        with self.assertRaisesRegex(SystemExit, "a document is not written: the load average over 1 minute is 0.50"):
            machine.require_quiet({"load_average": 0.5}, "a document")

    def test_it_needs_nine_rounds_of_three_seconds_of_everything(self):
        few = "at least 9 rounds of 3 s"
        self.assertIn(few, self.refusal("--document", "--rounds", "8"))
        self.assertIn(few, self.refusal("--document", "--seconds", "2.9"))
        self.assertIn("all loads of all peers", self.refusal("--document", "--loads", "HTTP"))
        self.assertIn("all loads of all peers", self.refusal("--document", "--peers", "culvert"))
        sys.argv = ["bench.py", "--document"]
        arguments = bench.parse()
        self.assertEqual([arguments.rounds, arguments.seconds, arguments.peers], [9, 3, peers.DOCUMENTED])

    def test_the_http_proxy_has_rows_in_culverts_column(self):
        load, figure = "small HTTP, 64 connections", "CPU µs/request"
        costs = {"culvert": 10, "culvert-http": 15, "stunnel": 20}
        rows = [{"round": 0, "load": load, "peer": peer, "figures": {figure: value}} for peer, value in costs.items()]
        self.assertEqual(report.table(report.summarise(rows)).splitlines()[2:], [
            "| small HTTP, 64 connections | CPU µs/request | 10.0 (0.50) | 20.0 |",
            "| small HTTP, 64 connections, HTTP proxy | CPU µs/request | 15.0 (0.75) | – |"])

    def test_no_line_of_the_table_is_too_wide(self):
        figures = {"CPU µs/request": 1234.5, "p50 µs": 12345.6, "MB/s": 1234.5}
        rows = [{"round": 0, "load": load, "peer": peer, "figures": figures}
                for load in loads.LOADS for peer in peers.DOCUMENTED
                if "stalled" not in load and (peer != "culvert-http" or "HTTP" in load)]
        for row in rows:
            row["figures"] = {figure: value / (100 if row["peer"] == report.REFERENCE else 1)
                              for figure, value in figures.items()}
        widest = max(report.table(report.summarise(rows)).splitlines(), key=len)
        self.assertLessEqual(len(widest), report.COLUMNS_MAX, widest)


if __name__ == "__main__":
    unittest.main()
