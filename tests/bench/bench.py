# SPDX-License-Identifier: Apache-2.0
"""What a tunnel costs in CPU time, in interleaved rounds, as ratios to stunnel. `scripts/bench` is its door, and
docs/performance.md says what the figures mean."""

import argparse
import collections
import contextlib
import json
import os
import pathlib
import platform
import re
import resource
import signal
import statistics
import subprocess
import sys
import tempfile

import peers
import traffic

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
REFERENCE = "stunnel"
HTTP_CONNECTIONS = 64

Load = collections.namedtuple("Load", "name unit scale way streams")
LOADS = [
    Load("bulk down, 1 stream", "s/GB", 1e9, "down", 1),
    Load("bulk up, 1 stream", "s/GB", 1e9, "up", 1),
    Load("bulk down, 8 streams", "s/GB", 1e9, "down", 8),
    Load("bulk up, 8 streams", "s/GB", 1e9, "up", 8),
    Load(f"small HTTP, {HTTP_CONNECTIONS} connections", "µs/request", 1e-6, "http", HTTP_CONNECTIONS),
]


def cpu_seconds(processes):
    """Of these processes and their children, the ended and waited-for ones too; the kernel's work for them included."""
    ticks, todo = 0, [process.pid for process in processes]
    while todo:
        folder = pathlib.Path("/proc", str(todo.pop()))
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            fields = (folder / "stat").read_text().rpartition(") ")[2].split()
            ticks += sum(int(each) for each in fields[11:15])
            for children in folder.glob("task/*/children"):
                todo += [int(each) for each in children.read_text().split()]
    return ticks / TICKS_PER_SECOND


def run_client(command):
    """Its output, and its own CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise SystemExit(f"bench: {' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def carry(load, ports, seconds):
    """Runs the load through a peer's ports. Returns bytes or requests, and the client's CPU seconds."""
    if load.way != "http":
        output, cpu = run_client(["/usr/bin/python3", traffic.__file__, load.way, str(ports["bulk"]), str(load.streams), str(seconds)])
        return int(output), cpu
    duration = max(1, round(seconds))  # wrk knows whole seconds only.
    output, cpu = run_client(["wrk", "-t1", f"-c{load.streams}", f"-d{duration}s", f"http://127.0.0.1:{ports['http']}/"])
    if "Socket errors" in output or "Non-2xx" in output:
        raise SystemExit(f"bench: not every request was answered:\n{output}")
    return int(re.search(r"(\d+) requests in", output)[1]), cpu


def measure(load, peer, backends, seconds):
    tunnel, ends = cpu_seconds(peer.processes), cpu_seconds(backends.processes)
    amount, client = carry(load, peer.ports, seconds)
    tunnel = cpu_seconds(peer.processes) - tunnel
    ends = cpu_seconds(backends.processes) - ends + client
    units = amount / 1e9 if load.way != "http" else amount
    scale = 1 if load.way != "http" else 1e6
    return {"load": load.name, "peer": peer.name, "unit": load.unit, "amount": amount, "tunnel_cpu": tunnel / units * scale,
            "whole_cpu": (tunnel + ends) / units * scale}


def run_round(number, kinds, seconds, folder, certificates, backends):
    """Fresh processes; the peers follow one another within each load, in an order that rotates."""
    with contextlib.ExitStack() as stack:
        running = []
        for kind in kinds:
            own = folder / f"{kind.name}-{number}"
            own.mkdir()
            peer = kind(stack, own, certificates, backends.ports)
            peers.await_ports(peer.ports, own)
            running.append(peer)
        shift = number % len(running)
        for load in LOADS:
            for peer in running[shift:] + running[:shift]:
                yield {"round": number, **measure(load, peer, backends, seconds)}


def summarise(rows):
    """Medians over the rounds, and medians of the ratio to the reference in the same round."""
    cells = {(row["round"], row["load"], row["peer"]): row for row in rows}

    def ratio(load, peer, key, reference):
        pairs = [(cells[each], cells[each[0], load, reference]) for each in cells if each[1:] == (load, peer)]
        return statistics.median(mine[key] / theirs[key] for mine, theirs in pairs) if all(b[key] for _, b in pairs) else None

    summary = []
    for load in LOADS:
        for peer in dict.fromkeys(row["peer"] for row in rows):
            mine = [row for row in rows if (row["load"], row["peer"]) == (load.name, peer)]
            summary.append({
                "load": load.name, "peer": peer, "unit": load.unit,
                "tunnel_cpu": statistics.median(row["tunnel_cpu"] for row in mine),
                "tunnel_cpu_ratio": ratio(load.name, peer, "tunnel_cpu", REFERENCE),
                "whole_cpu": statistics.median(row["whole_cpu"] for row in mine),
                "whole_cpu_ratio": ratio(load.name, peer, "whole_cpu", "direct"),
            })
    return summary


def table(summary):
    lines = [f"| load | peer | CPU of the tunnel | × {REFERENCE} | CPU with both ends | × direct |", "|---|---|--:|--:|--:|--:|"]
    for row in summary:
        digits = 1 if row["unit"].startswith("µs") else 2
        lines.append(f"| {row['load']} | {row['peer']} | {row['tunnel_cpu']:.{digits}f} {row['unit']} | {row['tunnel_cpu_ratio']:.2f} "
                     f"| {row['whole_cpu']:.{digits}f} {row['unit']} | {row['whole_cpu_ratio']:.2f} |")
    return "\n".join(lines)


def machine():
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return {"cpu": model[1] if model else platform.machine(), "cores": os.cpu_count(), "kernel": platform.release(),
            "load_average": os.getloadavg()[0]}


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures on loopback what a tunnel costs in CPU time.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1, help="of each load, per peer and round")
    parser.add_argument("--smoke", action="store_true", help="a few seconds: shows that everything runs, measures nothing")
    parser.add_argument("--json", metavar="FILE", help="every figure of every round, and the summary")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.rounds, arguments.seconds = 1, 0.2
    if arguments.rounds < 1 or arguments.seconds <= 0:
        parser.error("--rounds and --seconds must be more than 0")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # What was started is ended then, too.
    about, rows = machine(), []
    with tempfile.TemporaryDirectory(prefix="culvert-bench-") as name, contextlib.ExitStack() as stack:
        folder = pathlib.Path(name)
        peers.make_certificates(folder)
        backends = peers.Backends(stack, folder)
        peers.await_ports(backends.ports, folder)
        for number in range(arguments.rounds):
            for row in run_round(number, [peers.Direct, peers.Stunnel, peers.Culvert], arguments.seconds, folder, folder, backends):
                rows.append(row)
            print(f"round {number + 1} of {arguments.rounds}", file=sys.stderr, flush=True)
    summary = summarise(rows)
    print(table(summary))
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps({"machine": about, "summary": summary, "rounds": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
