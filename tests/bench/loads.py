# SPDX-License-Identifier: Apache-2.0
"""What is done to each peer, and the figures that come of it."""

import functools
import json
import re
import signal
import subprocess
import tempfile
import time

from peers import HTTP_BODY_BYTES, LOAD
from processes import cpu_seconds, memory_kib

HTTP_CONNECTIONS = 64
HTTP_BULK_CONNECTIONS = 4
HTTP_SECONDS_MIN = 0.3  # until wrk listens to signals, and the slowest peer has answered
STALLED_OTHERS = 63  # and one that stands still
SPEED_LEFT = "speed of the others, with / without"
IDLE_STREAMS = (1000, 9000)
LATE_SECONDS_MAX = 60
MICROSECONDS = {"us": 1, "ms": 1e3, "s": 1e6}


class LoadFailed(Exception):
    """A peer did not carry a load; its text says how."""


def run(command, seconds=0):
    return finish(subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True),
                  seconds)


def finish(client, seconds):
    """What it wrote, once it has ended by itself."""
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
    return json.loads(run([LOAD, name, port, *arguments], seconds))


def spent(peer, carry):
    """What `carry` returns, and the CPU seconds of the peer meanwhile."""
    before = cpu_seconds(peer.processes.values())
    answer = carry()
    return answer, cpu_seconds(peer.processes.values()) - before


def cost(peer, value):
    """None when the peer has no processes that could cost something."""
    return value if peer.processes else None


def bulk(way, streams, peer, seconds):
    carry = functools.partial(load, "bulk", peer.ports["bulk"], way, streams, seconds, seconds=seconds)
    answer, cpu = spent(peer, carry)
    gigabytes = answer["bytes"] / 1e9
    return {"CPU s/GB": cost(peer, cpu / gigabytes), "MB/s": 1000 * gigabytes / answer["seconds"]}


def http(connections, path, peer, seconds):
    """Requests one after the other on each of so many connections: (how many, CPU seconds of the peer, what wrk said)."""
    # A proxy wants to hear the whole URL. What is sent needs no more than a body.
    script = f'wrk.path = "http://{peer.virtual_host}{path}"\nwrk.headers["Host"] = "{peer.virtual_host}"\n' if peer.virtual_host else ""
    if path == "/up":
        script += f'wrk.method = "PUT"\nwrk.body = string.rep("x", {HTTP_BODY_BYTES})\n'

    def carry():
        with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
            file.write(script)
            file.flush()
            command = ["wrk", "-t1", f"-c{connections}", "-d1h", "--latency", "-s", file.name, f"http://127.0.0.1:{peer.ports['http']}{path}"]
            client = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            time.sleep(max(seconds, HTTP_SECONDS_MIN))
            client.send_signal(signal.SIGINT)  # It knows whole seconds only; asked to stop, it reports all the same.
            return finish(client, 0)

    output, cpu = spent(peer, carry)
    requests = int(re.search(r"(\d+) requests in", output)[1])
    if requests == 0 or "Socket errors" in output or "Non-2xx" in output:
        raise LoadFailed(f"not every request was answered: {output}")
    return requests, cpu, output


def small_http(peer, seconds):
    requests, cpu, output = http(HTTP_CONNECTIONS, "/", peer, seconds)
    latencies = {each[0]: float(each[1]) * MICROSECONDS[each[2]] for each in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)\b", output)}
    return {"CPU µs/request": cost(peer, cpu / requests * 1e6), "requests/s": float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1]),
            "p50 µs": latencies["50"], "p99 µs": latencies["99"]}


def bulk_http(way, connections, peer, seconds):
    requests, cpu, output = http(connections, f"/{way}", peer, seconds)
    gigabyte = HTTP_BODY_BYTES / 1e9
    speed = float(re.search(r"Requests/sec:\s+([\d.]+)", output)[1])
    return {"CPU s/GB": cost(peer, cpu / requests / gigabyte), "MB/s": 1000 * speed * gigabyte}


def one_connection(peer, seconds):
    answer = load("latency", peer.ports["query"], seconds, seconds=seconds)
    return {"p50 µs": answer["p50_us"], "p99 µs": answer["p99_us"]}


def connections(peer, seconds):
    answer, cpu = spent(peer, functools.partial(load, "connections", peer.ports["query"], seconds, seconds=seconds))
    return {"CPU µs each": cost(peer, cpu / answer["count"] * 1e6), "connections/s": answer["count"] / answer["seconds"]}


def latency_beside_bulk(way, peer, seconds):
    lead = min(0.3, seconds)  # of the bulk stream, so that it saturates
    beside = subprocess.Popen([LOAD, "bulk", str(peer.ports["bulk"]), way, "1", str(2 * lead + seconds)], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(lead)
    try:
        answer = one_connection(peer, seconds)
    finally:
        output = json.loads(finish(beside, seconds))
    return {**answer, "MB/s beside it": output["bytes"] / 1e6 / output["seconds"]}


def stalled_reader(way, peer, seconds):
    speeds = []
    for stalled in (0, 1):
        answer = load("bulk", peer.ports["bulk"], way, STALLED_OTHERS, seconds, stalled, seconds=seconds)
        speeds.append(answer["bytes"] / answer["seconds"])
    return {SPEED_LEFT: speeds[1] / speeds[0]}


LOADS = {
    **{f"bulk {way}, {streams} stream{'s' * (streams > 1)}": functools.partial(bulk, way, streams)
       for streams in (1, 8, 64) for way in ("down", "up")},
    f"small HTTP, {HTTP_CONNECTIONS} connections": small_http,
    **{f"bulk HTTP {way}, {HTTP_BULK_CONNECTIONS} connections": functools.partial(bulk_http, way, HTTP_BULK_CONNECTIONS)
       for way in ("down", "up")},
    "one connection": one_connection,
    "new connections": connections,
    "one connection beside bulk down": functools.partial(latency_beside_bulk, "down"),
    "one connection beside bulk up": functools.partial(latency_beside_bulk, "up"),
    "stalled reader among 64, down": functools.partial(stalled_reader, "down"),
    "stalled reader among 64, up": functools.partial(stalled_reader, "up"),
}


def is_for(load, peer):
    """A peer for HTTP alone carries nothing else."""
    return "HTTP" in load or "query" in peer.ports


def idle(peer, streams):
    """Of a peer that has just been started: KiB that its processes take, and how many each of so many idle streams adds."""
    at_rest, own = ({side: memory_kib(process, kind) for side, process in peer.processes.items()} for kind in ("Pss", "Pss_Anon"))
    client = subprocess.Popen([LOAD, "idle", str(peer.ports["query"]), str(streams)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True)
    client.stdout.readline()  # It gives up by itself when an answer does not come.
    grown = {side: memory_kib(process, "Pss_Anon") - own[side] for side, process in peer.processes.items()}
    finish(client, 0)  # which ends its input
    return at_rest, {side: each / streams for side, each in grown.items()}
