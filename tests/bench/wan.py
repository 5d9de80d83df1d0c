# SPDX-License-Identifier: Apache-2.0
"""Measures what a tunnel carries over an emulated wide area network. `scripts/bench --wan` runs it, and
docs/performance.md explains the figures."""

import argparse
import collections
import contextlib
import json
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import machine
import peers
from processes import start

sys.path.insert(0, str(peers.ROOT / "tests/testing/wan"))
import load  # noqa: E402
import network  # noqa: E402

EMULATOR = peers.ROOT / "build/release/tests/testing/wan/emulator"
START_SECONDS_MAX = 20
BACKEND_PORT, ENTRY_PORT, TUNNEL_PORT = 5000, 6000, 7000  # the namespaces are ours, so these are free
MARKERS = ("<!-- wan -->", "<!-- /wan -->")

Setting = collections.namedtuple("Setting", "name text network streams requests")
SETTINGS = [
    Setting("a", "80 ms, 500 Mbit/s, no loss; 1 stream",
            {"round_trip_ms": 80, "rate_mbit": 500}, 1, False),
    Setting("b", "80 ms, 200 Mbit/s, 0.1 % loss; 8 streams",
            {"round_trip_ms": 80, "rate_mbit": 200, "loss_percent": 0.1}, 8, True),
    Setting("c", "20 ms, 100 Mbit/s, 1 % loss; 8 streams",
            {"round_trip_ms": 20, "rate_mbit": 100, "loss_percent": 1}, 8, False),
]
CONGESTION_CONTROLS = ["cubic", "bbr"]

# Each peer is started in a network and a folder, and returns the address that clients connect to at the near end. The
# back end is at the far end.


def direct(stack, folder, wan):
    return network.FAR, BACKEND_PORT


def stunnel(stack, folder, wan):
    """One TLS connection per stream."""
    near = f"{peers.STUNNEL_COMMON}client = yes\nCAfile = {folder.parent}/ca.crt\nverifyChain = yes\n"
    near += f"[tunnel]\naccept = 127.0.0.1:{ENTRY_PORT}\nconnect = {network.FAR}:{TUNNEL_PORT}\n"
    far = f"{peers.STUNNEL_COMMON}cert = {folder.parent}/server.crt\nkey = {folder.parent}/server.key\n"
    far += f"[tunnel]\naccept = {network.FAR}:{TUNNEL_PORT}\nconnect = 127.0.0.1:{BACKEND_PORT}\n"
    for side, namespace, text in (("far", wan.far, far), ("near", wan.near, near)):
        (folder / f"{side}.conf").write_text(text)
        start(stack, network.at(namespace, ["stunnel4", f"{side}.conf"]), folder, side)
    return "127.0.0.1", ENTRY_PORT


def culvert(keys, server_keys=""):
    """A virtual listener of the server, near, leads to a host behind the agent, far. `keys` are lines of the agent's
    [[server]], `server_keys` of the server's [tunnel]."""

    def start_pair(stack, folder, wan):
        def credentials(name):
            return f'certificate = "{folder.parent}/{name}.crt"\nprivate_key = "{folder.parent}/{name}.key"'

        server = f"""
[tunnel]
listen = "{network.NEAR}:{TUNNEL_PORT}"
{credentials("server")}
client_ca = "{folder.parent}/ca.crt"
trust_domain = "bench"
{server_keys}
[[virtual_listener]]
listen = "127.0.0.1:{ENTRY_PORT}"
account = "bench"
virtual_host = "far:80"
"""
        agent = f"""
[[server]]
address = "{network.NEAR}:{TUNNEL_PORT}"
server_name = "127.0.0.1"
ca = "{folder.parent}/ca.crt"
{credentials("agent")}
{keys}
[[system_mapping]]
virtual = "far:80"
internal = "127.0.0.1:{BACKEND_PORT}"
"""
        for side, namespace, text in (("server", wan.near, server), ("agent", wan.far, agent)):
            rest = f'[admin]\nsocket = "{side}.sock"\n[metrics]\nlisten = "off"\n'
            (folder / f"{side}.toml").write_text(text + rest)
            program = peers.ROOT / f"build/release/{side}/culvert-{side}"
            start(stack, network.at(namespace, [program, "--config", f"{side}.toml"]), folder, side)
        return "127.0.0.1", ENTRY_PORT

    return start_pair


def culvert_with(tunnels):
    """With a fixed number of tunnels, and the system's congestion control."""
    system = 'congestion_control = "system"'
    return culvert(f"tunnels_min = {tunnels}\ntunnels_max = {tunnels}\n{system}", system)


PEERS = {"direct": direct, "stunnel": stunnel, "culvert, by default": culvert("")}
PEERS |= {f"culvert, {count} tunnel{'s' * (count > 1)}": culvert_with(count) for count in (1, 2, 4, 8)}


def tunnels_of(folder):
    """How many tunnels the agent has; None if there is no agent."""
    if not (folder / "agent.sock").exists():
        return None
    command = [peers.ROOT / "build/release/agent/culvert-agent", "status", "--json", "--config", "agent.toml"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=20)
    status = json.loads(done.stdout)
    return sum(server["tunnels_up"] for server in status["servers"])


def await_answer(namespace, address, folder):
    limit = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            with network.inside(namespace):
                return load.request_times(address, time.monotonic() + 0.3)
        except OSError as error:
            if time.monotonic() > limit:
                logs = "\n".join(f"{log.name}: {log.read_text(errors='replace')[-600:]}"
                                 for log in folder.glob("*.log"))
                raise SystemExit(f"bench: {folder.name} does not answer: {error}\n{logs}") from error
            time.sleep(0.1)


def measure(setting, congestion_control, peer, folder, arguments):
    """Measures one cell of a table in a fresh network, with fresh processes."""
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        wan = stack.enter_context(network.Network(EMULATOR, congestion_control, **setting.network))
        start(stack, network.at(wan.far, ["/usr/bin/python3", load.__file__, "serve", BACKEND_PORT]), folder, "backend")
        address = PEERS[peer](stack, folder, wan)
        await_answer(wan.near, address, folder)
        time.sleep(arguments.settle)
        command = ["/usr/bin/python3", load.__file__, "run", *address, "--streams", setting.streams, "--warm-up",
                   arguments.warm_up, "--seconds", arguments.seconds, *["--requests"] * setting.requests]
        done = subprocess.run(network.at(wan.near, command), capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            raise SystemExit(f"bench: {peer} failed in setting {setting.name}:\n{done.stdout}{done.stderr}")
        return {"setting": setting.name, "congestion_control": congestion_control, "peer": peer,
                "tunnels": tunnels_of(folder), **json.loads(done.stdout)}


def summarise(rows):
    """Medians over the rounds, in the order of the first round."""
    cells = collections.defaultdict(list)
    for row in rows:
        cells[row["setting"], row["peer"], row["congestion_control"]].append(row)
    return {cell: {key: statistics.median(row[key] for row in mine)
                   for key in ("bytes_per_second", "p50_ms") if key in mine[0]} for cell, mine in cells.items()}


def table(summary):
    """A table for each setting: MB/s and the request's p50, for each congestion control."""
    text = []
    for setting in SETTINGS:
        mine = {cell[1:]: value for cell, value in summary.items() if cell[0] == setting.name}
        controls = [each for each in CONGESTION_CONTROLS if any(control == each for _, control in mine)]
        if not mine:
            continue
        figures = (", MB/s", ", request p50")[:1 + setting.requests]
        heads = [f"{control}{figure}" for control in controls for figure in figures]
        text += [f"{setting.name}) **{setting.text}**" + ", and a small request beside" * setting.requests, "",
                 f"| peer | {' | '.join(heads)} |", "|---|" + "--:|" * len(heads)]
        for peer in dict.fromkeys(peer for peer, _ in mine):
            columns = []
            for control in controls:
                value = mine.get((peer, control), {})
                columns.append(f"{value['bytes_per_second'] / 1e6:.1f}" if value else "–")
                if setting.requests:
                    columns.append(f"{value['p50_ms']:.0f} ms" if value else "–")
            text.append(f"| {peer} | {' | '.join(columns)} |")
        text.append("")
    return "\n".join(text).strip()


def insert(text, path):
    before, _, rest = path.read_text().partition(MARKERS[0])
    _, found, after = rest.partition(MARKERS[1])
    if not found:
        raise SystemExit(f"bench: {path} does not contain the markers {MARKERS[0]} and {MARKERS[1]} around the tables")
    path.write_text(f"{before}{MARKERS[0]}\n{text}\n{MARKERS[1]}{after}")


def names(known):
    def chosen(text):
        if unknown := set(text.split("+")) - set(known):
            raise argparse.ArgumentTypeError(f"there is no {unknown.pop()!r}; choose from: {'+'.join(known)}")
        return text.split("+")
    return chosen


def main():
    parser = argparse.ArgumentParser(
        prog="scripts/bench --wan", description="Measures bulk and small requests over an emulated wide area network. "
        "Must run as root. Takes about a quarter of an hour.")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement")
    parser.add_argument("--warm-up", type=float, default=4, help="seconds of load before each measurement")
    parser.add_argument("--settle", type=float, default=1, help="seconds from the first answer to the load")
    settings = [each.name for each in SETTINGS]
    parser.add_argument("--settings", type=names(settings), default=settings, help="join several by +")
    parser.add_argument("--congestion", type=names(CONGESTION_CONTROLS), default=CONGESTION_CONTROLS,
                        help="join several by +")
    parser.add_argument("--peers", type=names(PEERS), default=list(PEERS), help="join several by +")
    parser.add_argument("--json", metavar="FILE", help="write every figure of every round")
    parser.add_argument("--document", metavar="FILE", help=f"write the tables between {' and '.join(MARKERS)} in it; "
                        f"refused unless the load average is below {machine.LOAD_AVERAGE_LIMIT}")
    arguments = parser.parse_args()

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the processes started here are ended, too
    about, rows = machine.describe(), []
    if arguments.document:
        machine.require_quiet(about, arguments.document)
    with tempfile.TemporaryDirectory(prefix="culvert-wan-") as name:
        folder = pathlib.Path(name)
        peers.make_certificates(folder)
        for number in range(arguments.rounds):
            for setting in [each for each in SETTINGS if each.name in arguments.settings]:
                for control in arguments.congestion:
                    for peer in arguments.peers:
                        figures = measure(setting, control, peer, folder / f"cell-{len(rows)}", arguments)
                        row = {"round": number, **figures}
                        rows.append(row)
                        print(json.dumps(row), file=sys.stderr, flush=True)
    tables = table(summarise(rows))
    print(tables)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps({"machine": about, "rounds": rows}, indent=1) + "\n")
    if arguments.document:
        insert(tables, pathlib.Path(arguments.document))


if __name__ == "__main__":
    main()
