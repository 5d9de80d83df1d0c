# SPDX-License-Identifier: Apache-2.0
"""What a tunnel costs, beside others, in interleaved rounds. `scripts/bench` is its door, and docs/performance.md says what the
figures mean."""

import argparse
import contextlib
import datetime
import json
import os
import pathlib
import platform
import re
import resource
import signal
import sys
import tempfile

import loads
import peers
import report

DOCUMENT = peers.ROOT / "docs/performance.md"
BEGIN, END = "<!-- figures: scripts/bench writes what follows -->\n", "<!-- figures: end -->\n"
SMOKE_IDLE_STREAMS = (20,)


def attempt(row, measure):
    """The row with its figures, or with why there are none: one peer that fails does not cost the others' figures."""
    try:
        row["figures"] = measure()
    except loads.LoadFailed as failure:
        row["error"] = str(failure)
        print(f"{row['peer']}, {row['load']}: {failure}", file=sys.stderr, flush=True)
    return row


def measure_idle(names, counts, folder, certificates, backends):
    """Memory does not waver as time does, so once is enough; each peer is alone then, since shared pages count in parts."""
    for name in names:
        for count in counts:
            with contextlib.ExitStack() as stack:
                peer = peers.start_peer(name, stack, folder / f"{name}-idle-{count}", certificates, backends)

                def measure():
                    rest, growth = loads.idle(peer, count)
                    processes.append({f"Pss MiB, {side}": value / 1024 for side, value in rest.items()})
                    return {f"Pss KiB/stream, {side}": value for side, value in growth.items()}

                processes = []
                row = {"round": 0, "peer": name}
                yield attempt({**row, "load": f"{count:,} idle streams"}, measure)
                if processes and count == counts[0]:
                    yield {**row, "load": "idle processes", "figures": processes[0]}


def measure_round(number, arguments, names, folder, certificates, backends):
    """Fresh processes; the peers follow one another within each load, in an order that rotates."""
    with contextlib.ExitStack() as stack:
        running = [peers.start_peer(name, stack, folder / f"{name}-{number}", certificates, backends) for name in names]
        shift = number % len(running)
        for load, measure in ((load, measure) for load, measure in loads.LOADS.items() if arguments.loads in load):
            for peer in [each for each in running[shift:] + running[:shift] if loads.is_for(load, each)]:
                yield attempt({"round": number, "load": load, "peer": peer.name}, lambda: measure(peer, arguments.seconds))


def measure_all(arguments, names, idle_streams):
    with tempfile.TemporaryDirectory(prefix="culvert-bench-") as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        folder.chmod(0o755)  # OpenSSH runs as another user.
        certificates = folder / "certificates"
        certificates.mkdir()
        peers.make_certificates(certificates)
        backends = peers.start_backends(stack, folder / "backends")
        for number in range(arguments.rounds):
            yield from measure_round(number, arguments, names, folder, certificates, backends)
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
        if not arguments.loads:
            yield from measure_idle([each for each in names if each not in ("direct", "culvert-http")], idle_streams, folder, certificates, backends)


def raise_descriptor_limit():
    """To the hard one, which the peers inherit. Returns it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def machine():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return {"cpu": model[1] if model else platform.machine(), "cores": os.cpu_count(), "kernel": platform.release(),
            "load_average": os.getloadavg()[0], "date": datetime.date.today().isoformat(),
            "version": (peers.ROOT / "VERSION").read_text().strip()}


def write_document(about, arguments, rows, summary):
    text = DOCUMENT.read_text()
    before, middle, after = text.partition(BEGIN)
    _, end, after = after.partition(END)
    if not middle or not end:
        raise SystemExit(f"bench: {DOCUMENT} has lost its markers")
    heading = (f"Version {about['version']}, {about['date']}, {about['cores']} cores of {about['cpu']}, Linux {about['kernel']}. "
               f"Rounds: {arguments.rounds}, of {arguments.seconds:g} s per load and peer. Load average at the start: "
               f"{about['load_average']:.1f}. In brackets: the ratio to {report.REFERENCE} in the same round.")
    DOCUMENT.write_text(before + BEGIN + f"\n{heading}\n\n![CPU time by peer](performance.svg)\n\n{report.table(summary)}\n\n"
                        f"{report.http_beside_channel(rows)}\n\n" + END + after)
    DOCUMENT.with_suffix(".json").write_text(as_json(about, rows, summary))
    DOCUMENT.with_suffix(".svg").write_text(report.picture(summary))


def as_json(about, rows, summary):
    lines = lambda items: ",\n".join("  " + json.dumps(item, ensure_ascii=False) for item in items)
    return f'{{\n "machine": {json.dumps(about)},\n "summary": [\n{lines(summary)}\n ],\n "rows": [\n{lines(rows)}\n ]\n}}\n'


def parse():
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures on loopback what a tunnel costs.",
                                     epilog="A whole run writes docs/performance.{md,json,svg}; --smoke, --peers and --loads only print.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1, help="of each load, per peer and round")
    parser.add_argument("--smoke", action="store_true", help="some seconds: shows that everything runs, measures nothing")
    parser.add_argument("--peers", default=",".join(peers.PEERS), metavar="NAME,…", help=f"of {', '.join(peers.PEERS)}")
    parser.add_argument("--loads", default="", metavar="TEXT", help="only those whose name has this in it, such as HTTP")
    parser.add_argument("--json", metavar="FILE", help="every figure of every round, and the summary")
    parser.add_argument("--churn", nargs="?", type=int, const=60, metavar="SECONDS",
                        help="instead: 5,000 streams open and end per second, by default for 60 s, and leave nothing behind")
    parser.add_argument("--workers", action="store_true", help="instead: does the server's work spread over two workers at no cost?")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.rounds, arguments.seconds = 1, 0.05
    if arguments.rounds < 1 or arguments.seconds <= 0:
        parser.error("--rounds and --seconds must be more than 0")
    if unknown := set(arguments.peers.split(",")) - set(peers.PEERS):
        parser.error(f"no peer {', '.join(sorted(unknown))}; there are {', '.join(peers.PEERS)}")
    return arguments


def main():
    arguments = parse()
    if arguments.workers:
        environment = dict(os.environ, CULVERT_BUILD=str(peers.ROOT / "build/release"))
        os.chdir(pathlib.Path(__file__).parent)
        os.execve(sys.executable, [sys.executable, "-B", "-m", "unittest", "-v", "workers"], environment)
    if arguments.churn:
        environment = dict(os.environ, CULVERT_BUILD=str(peers.ROOT / "build/release"), CULVERT_CHURN_RATE="5000",
                           CULVERT_CHURN_SECONDS=str(arguments.churn))
        command = [sys.executable, "-B", str(peers.ROOT / "tests/e2e/run_class.py"), "churn_test.Churn"]
        os.execve(command[0], command, environment)

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # What was started is ended then, too.
    names, descriptors = arguments.peers.split(","), raise_descriptor_limit()
    idle_streams = SMOKE_IDLE_STREAMS if arguments.smoke else [each for each in loads.IDLE_STREAMS if 2 * each + 500 < descriptors]
    if len(idle_streams) < len(loads.IDLE_STREAMS) and not arguments.smoke:
        print(f"{descriptors} descriptors are allowed here (ulimit -Hn): too few for {loads.IDLE_STREAMS[-1]} streams", file=sys.stderr)
    about = machine()
    rows = list(measure_all(arguments, names, idle_streams))
    summary = report.summarise(rows)
    print(report.table(summary), report.http_beside_channel(rows), sep="\n\n")
    if arguments.json:
        pathlib.Path(arguments.json).write_text(as_json(about, rows, summary))
    if not arguments.smoke and not arguments.loads and set(names) == set(peers.PEERS):
        write_document(about, arguments, rows, summary)
    if failed := [row for row in rows if "error" in row]:
        raise SystemExit(f"bench: {len(failed)} figures are missing; the reasons stand above")


if __name__ == "__main__":
    main()
