# SPDX-License-Identifier: Apache-2.0
"""Bulk traffic: `traffic.py serve PORT` is the back end, `traffic.py down|up PORT STREAMS SECONDS` the client, which prints
how many bytes passed through. A connection begins with one byte that says which way; the client ends it by a half-close, so
every byte that the tunnel carried is counted. No figure of ours depends on the speed of this program."""

import select
import socket
import sys
import threading
import time

DOWN, UP = b"d", b"u"
CHUNK = bytes(256 * 1024)
LATE_SECONDS_MAX = 20  # for what is still under way when the time is up


def serve(port):
    listener = socket.create_server(("127.0.0.1", port), backlog=128)
    print("ready", flush=True)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def answer(connection):
    try:
        with connection:
            if connection.recv(1) == DOWN:
                while not select.select([connection], [], [], 0)[0]:
                    connection.sendall(CHUNK)
            else:
                connection.sendall(str(read_to_end(connection)).encode())
    except OSError:
        pass  # The client sees it: it gets no count, or its bytes end too early.


def read_to_end(connection, when_late=lambda: None, end=float("inf")):
    buffer, total = bytearray(len(CHUNK)), 0
    while size := connection.recv_into(buffer):
        total += size
        if time.monotonic() >= end:
            when_late()
            end = float("inf")
    return total


def dial(port, way, seconds):
    connection = socket.create_connection(("127.0.0.1", port), timeout=seconds + LATE_SECONDS_MAX)
    connection.sendall(way)
    return connection


def down(port, seconds):
    end = time.monotonic() + seconds
    with dial(port, DOWN, seconds) as connection:
        total = read_to_end(connection, lambda: connection.shutdown(socket.SHUT_WR), end)
    if time.monotonic() < end:
        raise ConnectionError("the stream ended before its time")
    return total


def up(port, seconds):
    end, sent = time.monotonic() + seconds, 0
    with dial(port, UP, seconds) as connection:
        while time.monotonic() < end:
            connection.sendall(CHUNK)
            sent += len(CHUNK)
        connection.shutdown(socket.SHUT_WR)
        counted = connection.recv(32).decode()
    if counted != str(sent):
        raise ConnectionError(f"{sent} bytes were sent, and {counted or 'none'} came")
    return sent


def main(way, port, streams=1, seconds=0):
    if way == "serve":
        return serve(int(port))
    carry, results = {"down": down, "up": up}[way], []
    threads = [threading.Thread(target=lambda: results.append(carry(int(port), float(seconds)))) for _ in range(int(streams))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(results) != len(threads):
        sys.exit(1)  # The thread has told why.
    print(sum(results))


if __name__ == "__main__":
    main(*sys.argv[1:])
