# SPDX-License-Identifier: Apache-2.0
"""The loads that each peer carries, and the figures that are taken."""

import functools
import json
import re
import signal
import subprocess
import tempfile
import time

import peers
from peers import HTTP_BODY_BYTES, LOAD
from processes import cpu_seconds, memory_kib

HTTP_CONNECTIONS = 64
HTTP_BULK_CONNECTIONS = 4
HTTP_SECONDS_MIN = 0.5  # until wrk handles signals, and the slowest peer has answered
STALLED_OTHERS = 63  # beside the one stream that nobody reads
SPEED_LEFT = "speed of the others, with / without"
IDLE_STREAMS = (1000, 9000)
LATE_SECONDS_MAX = 60
MICROSECONDS = {"us": 1, "ms": 1e3, "s": 1e6}
SHORT_CONNECTIONS = 2000  # of the history


class LoadFailed(Exception):
    """A peer did not carry a load; the text says why."""


def begin(command):
    return subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def finish(client, seconds):
    """Waits until the client ends by itself, and returns its output."""
    try:
        output, errors = client.communicate(timeout=seconds + LATE_SECONDS_MAX)
    except subprocess.TimeoutExpired:
        client.kill()
        client.communicate()
        raise LoadFailed(f"{' '.join(client.args)} did not end") from None
    if client.returncode != 0:
        raise LoadFailed(f"{' '.join(client.args)}: {errors.strip()}")
    return output


def load(name, port, *arguments, seconds=0):
    return json.loads(finish(begin([LOAD, name, port, *arguments]), seconds))


def spent(peer, carry):
    """Calls `carry`. Returns its result, and the CPU seconds that the peer spent meanwhile."""
    before = cpu_seconds(peer.processes.values())
    answer = carry()
    return answer, cpu_seconds(peer.processes.values()) - before


def cost(peer, value):
    """The value, or None for a peer without processes, which costs nothing."""
    return value if peer.processes else None


def bulk(way, streams, peer, seconds):
    carry = functools.partial(load, "bulk", peer.ports["bulk"], way, streams, seconds, seconds=seconds)
    answer, cpu = spent(peer, carry)
    gigabytes = answer["bytes"] / 1e9
    return {"CPU s/GB": cost(peer, cpu / gigabytes), "MB/s": 1000 * gigabytes / answer["seconds"]}


def http(connections, path, peer, seconds):
    """Sends requests, one after the other, on each of so many connections. Returns how many were answered, the peer's
    CPU seconds, and the output of wrk."""
    script = ""
    if peer.virtual_host:  # A proxy expects the whole URL.
        script = f'wrk.path = "http://{peer.virtual_host}{path}"\nwrk.headers["Host"] = "{peer.virtual_host}"\n'
    if path.endswith("/up"):
        script += f'wrk.method = "PUT"\nwrk.body = string.rep("x", {HTTP_BODY_BYTES})\n'

    def carry():
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
            file.write(script)
            file.flush()
            client = begin(["wrk", "-t1", f"-c{connections}", "-d1h", "--latency", "-s", file.name,
                            f"http://127.0.0.1:{peer.ports['http']}{path}"])
            time.sleep(max(seconds, HTTP_SECONDS_MIN))
            client.send_signal(signal.SIGINT)  # wrk counts whole seconds only, but it reports when it is interrupted.
            return finish(client, 0)

    output, cpu = spent(peer, carry)
    requests = int(re.search(r"(\d+) requests in", output)[1])
    if requests == 0 or "Socket errors" in output or "Non-2xx" in output:
        raise LoadFailed(f"not every request was answered: {output}")
    return requests, cpu, output


def requests_per_second(output):
    return float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1])


def small_http(peer, seconds, folder="/"):
    """`folder` is the path that leads to the back end's root."""
    requests, cpu, output = http(HTTP_CONNECTIONS, folder, peer, seconds)
    latencies = {percent: float(value) * MICROSECONDS[unit]
                 for percent, value, unit in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)\b", output)}
    return {"CPU µs/request": cost(peer, cpu / requests * 1e6), "requests/s": requests_per_second(output),
            "p50 µs": latencies["50"], "p99 µs": latencies["99"]}


def bulk_http(way, connections, peer, seconds, folder="/"):
    requests, cpu, output = http(connections, f"{folder}{way}", peer, seconds)
    gigabyte = HTTP_BODY_BYTES / 1e9
    return {"CPU s/GB": cost(peer, cpu / requests / gigabyte), "MB/s": 1000 * requests_per_second(output) * gigabyte}


def one_connection(peer, seconds):
    carry = functools.partial(load, "latency", peer.ports["query"], seconds, seconds=seconds)
    answer, cpu = spent(peer, carry)
    return {"CPU µs/request": cost(peer, cpu / answer["count"] * 1e6), **latencies_of(answer)}


def latencies_of(answer):
    return {"p50 µs": answer["p50_us"], "p99 µs": answer["p99_us"]}


def connections(peer, seconds):
    carry = functools.partial(load, "connections", peer.ports["query"], seconds, seconds=seconds)
    answer, cpu = spent(peer, carry)
    return {"CPU µs each": cost(peer, cpu / answer["count"] * 1e6),
            "connections/s": answer["count"] / answer["seconds"]}


def latency_beside_bulk(way, peer, seconds):
    """Small requests in a closed loop while one bulk stream runs."""
    return requests_beside("bulk", way, peer, seconds)


def requests_beside(kind, way, peer, seconds, watch=lambda: None):
    """As latency_beside_bulk, with a bulk stream of this kind: bulk or abandon. Calls `watch` halfway."""
    lead = min(0.3, seconds)  # until the bulk stream has reached its speed
    bulk_client = begin([LOAD, kind, peer.ports["bulk"], way, 1, 2 * lead + seconds])
    try:
        time.sleep(lead)
        client = begin([LOAD, "latency", peer.ports["query"], seconds])
        try:
            time.sleep(seconds / 2)
            watch()
        finally:
            output = finish(client, seconds)
    finally:
        carried = json.loads(finish(bulk_client, seconds))
    return {**latencies_of(json.loads(output)), "MB/s beside it": carried["bytes"] / 1e6 / carried["seconds"]}


def stalled_reader(way, peer, seconds):
    speeds = []
    for stalled in (0, 1):
        answer = load("bulk", peer.ports["bulk"], way, STALLED_OTHERS, seconds, stalled, seconds=seconds)
        speeds.append(answer["bytes"] / answer["seconds"])
    return {SPEED_LEFT: speeds[1] / speeds[0]}


BULK_STREAMS = (1, 8, 64)
BULK = {f"bulk {way}, {streams} stream{'s' * (streams > 1)}": functools.partial(bulk, way, streams)
        for streams in BULK_STREAMS for way in ("down", "up")}
LOADS = {
    **BULK,
    f"small HTTP, {HTTP_CONNECTIONS} connections": small_http,
    **{f"bulk HTTP {way}, {HTTP_BULK_CONNECTIONS} connections": functools.partial(bulk_http, way, HTTP_BULK_CONNECTIONS)
       for way in ("down", "up")},
    "one connection": one_connection,
    "new connections": connections,
    "request beside bulk down": functools.partial(latency_beside_bulk, "down"),
    "request beside bulk up": functools.partial(latency_beside_bulk, "up"),
    "stalled reader among 64, down": functools.partial(stalled_reader, "down"),
    "stalled reader among 64, up": functools.partial(stalled_reader, "up"),
}


def history(peer, seconds):
    """Bulk streams that are abandoned, small requests and short connections; all have ended when it returns. Their
    traces should not slow down later streams. Returns no figures."""
    for streams in BULK_STREAMS:
        for way in ("down", "up"):
            load("abandon", peer.ports["bulk"], way, streams, seconds, seconds=seconds)
    small_http(peer, seconds)
    answer = load("connections", peer.ports["query"], LATE_SECONDS_MAX, SHORT_CONNECTIONS, seconds=LATE_SECONDS_MAX)
    if answer["count"] != SHORT_CONNECTIONS:
        raise LoadFailed(f"{answer['count']} of {SHORT_CONNECTIONS} short connections were answered in time")
    return {}


def beside_bulk_after_history(way, peer, seconds):
    """As latency_beside_bulk, with the number of streams that each tunnel has meanwhile, e.g. "1 + 1"."""
    seen = []

    def watch():
        limit = time.monotonic() + seconds / 4
        streams = peers.tunnel_streams(peer) if peer.name.startswith("culvert") else None
        while streams and sum(streams) < 2 and time.monotonic() < limit:  # a busy machine has not started both yet
            time.sleep(0.02)
            streams = peers.tunnel_streams(peer)
        if streams:
            seen.append(" + ".join(map(str, streams)))

    figures = requests_beside("abandon", way, peer, seconds, watch)
    return {**figures, **({STREAMS_OF_TUNNELS: seen[0]} if seen else {})}


BESIDE_BULK_AFTER_HISTORY = "beside-bulk-after-history"  # the name that selects them
STREAMS_OF_TUNNELS = "streams of each tunnel"
# In this order, without a pause, in the same processes.
HISTORY_LOADS = {
    "history": history,
    "after history: request beside bulk up": functools.partial(beside_bulk_after_history, "up"),
    "after history: request beside bulk down": functools.partial(beside_bulk_after_history, "down"),
}


def select(text):
    """The loads whose name contains `text`, or those that `text` names as a group."""
    if text == BESIDE_BULK_AFTER_HISTORY:
        return HISTORY_LOADS
    return {name: measure for name, measure in LOADS.items() if text in name}


def is_for(load_name, peer):
    """Whether the peer can carry this load: a peer for HTTP alone carries no other."""
    return "HTTP" in load_name or "query" in peer.ports


def idle(peer, streams):
    """The peer must have just been started. Returns the memory of its processes in KiB, and what each idle stream
    adds."""
    at_rest, own = ({side: memory_kib(process, kind) for side, process in peer.processes.items()}
                    for kind in ("Pss", "Pss_Anon"))
    client = subprocess.Popen([LOAD, "idle", str(peer.ports["query"]), str(streams)], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    client.stdout.readline()  # The client exits by itself when an answer does not arrive.
    grown = {side: memory_kib(process, "Pss_Anon") - own[side] for side, process in peer.processes.items()}
    finish(client, 0)  # This closes its standard input, so it ends.
    return at_rest, {side: each / streams for side, each in grown.items()}
