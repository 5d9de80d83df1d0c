# SPDX-License-Identifier: Apache-2.0
"""Both ends of a measurement over a wide area network: `load.py serve PORT` is the back end, `load.py run ADDRESS PORT`
the client, which prints what arrived during the measurement, as JSON. Bulk is counted where it arrives. The small
requests are HTTP requests on a connection that stays open, each sent when the previous answer has arrived."""

import argparse
import json
import socket
import statistics
import sys
import threading
import time

CHUNK = bytes(256 * 1024)
REQUEST = b"GET / HTTP/1.1\r\nHost: far\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 128\r\n\r\n" + bytes(128)
DOWN = b"D"
STALL_SECONDS_MAX = 30  # Some peers stall almost as long, and that is a result, not an error.


def serve(port):
    listener = socket.create_server(("0.0.0.0", port), backlog=128)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def answer(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        with connection:
            while request := connection.recv(4096):
                while request == DOWN:
                    connection.sendall(CHUNK)
                connection.sendall(ANSWER)
    except OSError:
        pass  # The client has finished.


class Bulk:
    """A stream from the back end, read until the process ends."""

    def __init__(self, address):
        self.received = 0
        self.connection = socket.create_connection(address, timeout=STALL_SECONDS_MAX)
        self.connection.sendall(DOWN)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        buffer = bytearray(len(CHUNK))
        while size := self.connection.recv_into(buffer):
            self.received += size
        print("load: a bulk stream ended before its time", file=sys.stderr)


def request_times(address, end):
    """The milliseconds that each request took, until `end`. A request not answered by then counts with its time so
    far."""
    times = []
    with socket.create_connection(address, timeout=STALL_SECONDS_MAX) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while (started := time.monotonic()) < end:
            connection.sendall(REQUEST)
            missing = len(ANSWER)
            try:
                while missing > 0:
                    connection.settimeout(max(end - time.monotonic(), 0.001))
                    if not (data := connection.recv(missing)):
                        raise ConnectionError("the requests' connection ended")
                    missing -= len(data)
            except TimeoutError:
                pass
            times.append((time.monotonic() - started) * 1000)
    return times


def run(address, streams, warm_up, seconds, requests):
    bulks = [Bulk(address) for _ in range(streams)]
    time.sleep(warm_up)
    started, before = time.monotonic(), sum(bulk.received for bulk in bulks)
    result = {}
    if requests:
        times = request_times(address, started + seconds)
        result |= {"requests": len(times), "p50_ms": statistics.median(times), "max_ms": max(times)}
    time.sleep(max(started + seconds - time.monotonic(), 0))
    amount, elapsed = sum(bulk.received for bulk in bulks) - before, time.monotonic() - started
    return result | {"bytes_per_second": amount / elapsed}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["serve", "run"])
    parser.add_argument("address", nargs="+", metavar="[ADDRESS] PORT")
    parser.add_argument("--streams", type=int, default=1)
    parser.add_argument("--warm-up", type=float, default=4)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--requests", action="store_true", help="small requests beside the bulk")
    options = parser.parse_args()
    if options.what == "serve":
        return serve(int(options.address[0]))
    address = (options.address[0], int(options.address[1]))
    print(json.dumps(run(address, options.streams, options.warm_up, options.seconds, options.requests)))


if __name__ == "__main__":
    main()
