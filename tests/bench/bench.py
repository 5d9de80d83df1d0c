# SPDX-License-Identifier: Apache-2.0
"""Measures what a tunnel costs, compared with others, in interleaved rounds. `scripts/bench` runs it, and
docs/performance.md explains the figures."""

import argparse
import contextlib
import json
import os
import pathlib
import resource
import signal
import sys
import textwrap

import against
import gateways
import loads
import machine
import peers
import report
import rounds

DOCUMENT = machine.ROOT / "docs/performance.md"
BEGIN, END = "<!-- figures: scripts/bench writes what follows -->\n", "<!-- figures: end -->\n"
SMOKE_IDLE_STREAMS = (20,)
DOCUMENT_ROUNDS_MIN, DOCUMENT_SECONDS_MIN = 9, 3
AFTER_HISTORY_PEERS = ["culvert", "culvert-listener", "stunnel"]


def measure_all(arguments, idle_streams):
    entrants = [rounds.Entrant({"peer": name}, name, machine.ROOT) for name in arguments.peers]
    with rounds.workspace() as space:
        yield from rounds.measure(space, loads.select(arguments.loads), [entrants], arguments.rounds, arguments.seconds)
        if not arguments.loads:
            with_memory = [each for each in entrants if each.kind not in ("direct", "culvert-http")]
            yield from rounds.measure_idle(space, with_memory, idle_streams)


def raise_descriptor_limit():
    """Raises the limit, which the peers inherit, to the hard limit. Returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def write_document(about, arguments, rows, summary):
    text = DOCUMENT.read_text()
    before, middle, after = text.partition(BEGIN)
    _, end, after = after.partition(END)
    if not middle or not end:
        raise SystemExit(f"bench: {DOCUMENT} does not contain the markers around the figures any more")
    parts = [
        f"Version {about['version']}, {about['date']}, {about['cores']} cores of {about['cpu']}, Linux "
        f"{about['kernel']}; {arguments.rounds} rounds of {arguments.seconds:g} s per load and peer; load average at "
        f"the start {about['load_average']:.2f}. The figures are medians over the rounds; in brackets is the median of "
        f"the ratios to {report.REFERENCE} in the same round. Rows with “HTTP proxy” are requests through Culvert's "
        "HTTP proxy.",
        "![CPU time by peer](performance.svg)", report.table(summary), report.http_beside_channel(rows)]
    parts = [part if part[0] in "|!" else textwrap.fill(part, report.COLUMNS_MAX) for part in parts if part]
    DOCUMENT.write_text(f"{before}{BEGIN}\n" + "\n\n".join(parts) + f"\n\n{END}{after}")
    DOCUMENT.with_suffix(".json").write_text(as_json(about, rows, summary))
    DOCUMENT.with_suffix(".svg").write_text(report.picture(summary))


def as_json(about, rows, summary):
    lines = lambda items: ",\n".join("  " + json.dumps(item, ensure_ascii=False) for item in items)
    return (f'{{\n "machine": {json.dumps(about)},\n "summary": [\n{lines(summary)}\n ],\n'
            f' "rows": [\n{lines(rows)}\n ]\n}}\n')


def parse():
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Measures on loopback what a tunnel costs.",
        epilog="Prints the figures as a table; only --document writes them to docs/performance.{md,json,svg}. "
               "See scripts/bench --wan --help for measurements over a wide area network.")
    option = parser.add_argument
    option("--rounds", type=int, help="default: 5; 9 with --against, --gateway and --document")
    option("--seconds", type=float,
           help="of each load, per peer and round; default: 1; 2 with --against and --gateway; 3 with --document")
    option("--smoke", action="store_true",
           help="a quick run that shows that everything works; its figures mean nothing")
    option("--peers", metavar="NAME,…", help=f"of {', '.join(peers.PEERS)}")
    option("--loads", default="", metavar="TEXT",
           help=f"only loads whose name contains this, e.g. HTTP; or {loads.BESIDE_BULK_AFTER_HISTORY}: after many "
           "streams and connections have ended, small requests beside one bulk stream, and which tunnels they are on")
    option("--json", metavar="FILE", help="write every figure of every round, and the summary")
    option("--document", action="store_true",
           help="measure everything and write docs/performance.{md,json,svg}; refused unless the load average is below "
           f"{machine.LOAD_AVERAGE_LIMIT}")
    option("--against", metavar="REVISION",
           help="instead: compare the CPU time of this checkout with that of another revision, which is built below "
           "build/against; the exit status is 1 if a ratio exceeds the limit")
    option("--limit", type=float, default=1.02, metavar="RATIO",
           help="with --against: the greatest allowed median of the ratios within a round; default: %(default)s")
    option("--gateway", action="store_true",
           help="instead: compare the CPU time of the gateway for external systems with that of HAProxy; the exit "
           f"status is 1 if a ratio exceeds {' or '.join(f'{limit:g} ({f})' for f, limit in gateways.LIMITS.items())}")
    option("--churn", nargs="?", type=int, const=60, metavar="SECONDS",
           help="instead: open and end 5,000 streams per second, by default for 60 s, and check that nothing is left")
    option("--workers", action="store_true",
           help="instead: check that the server's work spreads over two workers at no cost")
    return checked(parser, parser.parse_args())


def checked(parser, arguments):
    """The arguments with their defaults. Exits if they do not fit together."""
    compares_two = arguments.against or arguments.gateway
    if compares_two and (arguments.peers or arguments.document or (arguments.against and arguments.gateway)):
        parser.error("--against and --gateway cannot be combined, nor with --peers or --document")
    if compares_two and not (gateways if arguments.gateway else against).select(arguments.loads):
        parser.error(f"no load of --against or --gateway contains {arguments.loads} in its name")
    if arguments.document and (arguments.peers or arguments.loads or arguments.smoke):
        parser.error("--document needs all loads of all peers; leave out --peers, --loads and --smoke")
    arguments.rounds = arguments.rounds if arguments.rounds is not None else (
        1 if arguments.smoke else DOCUMENT_ROUNDS_MIN if compares_two or arguments.document else 5)
    arguments.seconds = arguments.seconds if arguments.seconds is not None else (
        0.05 if arguments.smoke else 2 if compares_two else DOCUMENT_SECONDS_MIN if arguments.document else 1)
    if arguments.rounds < 1 or arguments.seconds <= 0:
        parser.error("--rounds and --seconds must be more than 0")
    if arguments.document and (arguments.rounds < DOCUMENT_ROUNDS_MIN or arguments.seconds < DOCUMENT_SECONDS_MIN):
        parser.error(f"--document needs at least {DOCUMENT_ROUNDS_MIN} rounds of {DOCUMENT_SECONDS_MIN} s")
    if not compares_two and not loads.select(arguments.loads):
        parser.error(f"no load contains {arguments.loads} in its name; there are: {'; '.join(loads.LOADS)}; "
                     f"{loads.BESIDE_BULK_AFTER_HISTORY}")
    after_history = arguments.loads == loads.BESIDE_BULK_AFTER_HISTORY
    default = AFTER_HISTORY_PEERS if after_history else peers.DOCUMENTED
    arguments.peers = arguments.peers.split(",") if arguments.peers else default
    if unknown := set(arguments.peers) - set(peers.PEERS):
        parser.error(f"there is no peer {', '.join(sorted(unknown))}; the peers are {', '.join(peers.PEERS)}")
    return arguments


def run_test(arguments):
    """Replaces this process by the test that --workers or --churn names."""
    environment = dict(os.environ, CULVERT_BUILD=str(machine.ROOT / "build/release"))
    command = [sys.executable, "-B"]
    if arguments.workers:
        os.chdir(machine.ROOT)
        command += ["-m", "unittest", "-v", "tests.bench.workers"]
    else:
        environment |= {"CULVERT_CHURN_RATE": "5000", "CULVERT_CHURN_SECONDS": str(arguments.churn)}
        os.chdir(machine.ROOT)
        command += ["-m", "tests.run.one_class", "churn_test.Churn"]
    os.execve(command[0], command, environment)


def run_against(arguments):
    revision, other = arguments.against, against.build(arguments.against)
    run_two(arguments, revision, lambda space, _: against.measure(space, revision, other, arguments),
            lambda summary: against.over_limit(summary, arguments.limit))


def run_gateway(arguments):
    run_two(arguments, gateways.OTHER, lambda space, stack: gateways.measure(space, stack, arguments),
            gateways.over_limit)


def run_two(arguments, other, measure, over_limit):
    """Compares this checkout with `other`. Exits with status 1 if `over_limit` has lines."""
    about = {**machine.describe(), "against": other}
    if about["load_average"] >= machine.LOAD_AVERAGE_LIMIT:
        print(f"bench: note: the load average is {about['load_average']:.2f}; small differences need a quiet machine",
              file=sys.stderr)
    with rounds.workspace() as space, contextlib.ExitStack() as stack:
        rows = list(measure(space, stack))
    summary = against.summarise(rows, other)
    print(against.table(summary, other))
    if arguments.json:
        pathlib.Path(arguments.json).write_text(as_json(about, rows, summary))
    require_all_figures(rows)
    over = over_limit(summary)
    if over and not arguments.smoke:
        raise SystemExit("\n".join(f"bench: {line}" for line in over))


def run_compared(arguments, descriptors):
    about = machine.describe()
    if arguments.document:
        machine.require_quiet(about, DOCUMENT.relative_to(machine.ROOT))
    idle_streams = [each for each in loads.IDLE_STREAMS if 2 * each + 500 < descriptors]
    if arguments.smoke:
        idle_streams = SMOKE_IDLE_STREAMS
    elif len(idle_streams) < len(loads.IDLE_STREAMS):
        print(f"bench: note: the limit of {descriptors} descriptors (ulimit -Hn) is too low for "
              f"{loads.IDLE_STREAMS[-1]} idle streams", file=sys.stderr)
    rows = list(measure_all(arguments, idle_streams))
    summary = report.summarise(rows)
    texts = [report.table(summary), report.http_beside_channel(rows), report.tunnel_streams(rows)]
    print(*filter(None, texts), sep="\n\n")
    if arguments.json:
        pathlib.Path(arguments.json).write_text(as_json(about, rows, summary))
    if arguments.document and not any("error" in row for row in rows):
        write_document(about, arguments, rows, summary)
    require_all_figures(rows)


def require_all_figures(rows):
    if failed := [row for row in rows if "error" in row]:
        raise SystemExit(f"bench: {len(failed)} figures are missing; the reasons are above")


def main():
    arguments = parse()
    if arguments.workers or arguments.churn:
        run_test(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the processes started here are ended, too
    descriptors = raise_descriptor_limit()
    if arguments.against:
        run_against(arguments)
    elif arguments.gateway:
        run_gateway(arguments)
    else:
        run_compared(arguments, descriptors)


if __name__ == "__main__":
    main()
