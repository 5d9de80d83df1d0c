# SPDX-License-Identifier: Apache-2.0
"""Compares the CPU time of this checkout with that of another revision: `scripts/bench --against REVISION`."""

import statistics
import sys

import loads
import report
import rounds
from machine import ROOT

sys.path.insert(0, str(ROOT))
from tests.harness import revision as revisions

THIS = "this checkout"
# Channels, and the HTTP proxy with its requests and bodies.
KINDS = ["culvert", "culvert-http"]


def build(revision):
    """Builds the programs of the revision. Returns the folder with its files."""
    try:
        return revisions.build(revision)
    except revisions.RevisionError as error:
        raise SystemExit(f"bench: {error}") from None


def select(text):
    """The loads whose CPU time is compared, as far as their name contains `text`."""
    return {name: measure for name, measure in loads.select(text).items()
            if measure in (*loads.BULK.values(), loads.small_http, loads.one_connection, loads.connections)
            or name.startswith("bulk HTTP")}


def measure(space, revision, other, arguments):
    """Yields the rows. Both builds run with the same configuration, which must be valid for both."""
    builds = {revision: other, THIS: ROOT}
    groups = [[rounds.Entrant({"peer": kind, "build": name}, kind, folder) for name, folder in builds.items()]
              for kind in KINDS]
    yield from rounds.measure(space, select(arguments.loads), groups, arguments.rounds, arguments.seconds)


def summarise(rows, revision):
    """The medians of each CPU figure, and the median, the least and the greatest ratio of the two builds in a round."""
    values = {}
    for row in rows:
        for figure, value in row.get("figures", {}).items():
            if figure.startswith("CPU"):
                by_build = values.setdefault((row["peer"], row["load"], figure), {})
                by_build.setdefault(row["build"], {})[row["round"]] = value
    summary = []
    for (peer, load, figure), by_build in values.items():
        theirs, ours = by_build.get(revision, {}), by_build.get(THIS, {})
        ratios = [ours[number] / theirs[number] for number in ours if theirs.get(number)]
        if ratios:
            summary.append({"load": report.load_name(load, peer), "figure": figure, "peer": peer,
                            "theirs": statistics.median(theirs.values()), "ours": statistics.median(ours.values()),
                            "ratio": statistics.median(ratios), "least": min(ratios), "greatest": max(ratios)})
    return summary


def table(summary, revision):
    lines = [f"| load | figure | {revision} | {THIS} | ratio | least | greatest |", "|---|---|--:|--:|--:|--:|--:|"]
    for row in summary:
        medians = [report.number(row["theirs"]), report.number(row["ours"])]
        ratios = [f"{row[key]:.3f}" for key in ("ratio", "least", "greatest")]
        lines.append(f"| {row['load']} | {row['figure']} | {' | '.join(medians + ratios)} |")
    return "\n".join(lines)


def over_limit(summary, limit):
    """A line for each figure whose median ratio exceeds the limit."""
    return [f"{row['load']}, {row['figure']}: {row['ratio']:.3f} × exceeds {limit:g} ×" for row in summary
            if row["ratio"] > limit]
