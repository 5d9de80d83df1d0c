# SPDX-License-Identifier: Apache-2.0
"""Both ends of the traffic through a container. Run in the network of the container:

download_peer.py serve PORT              reads a line "seconds N" on each connection, sends BYTES over that time, and
closes download_peer.py connect PORT            a new connection every 50 ms until standard input ends; prints the
outcome as JSON download_peer.py download PORT SECONDS   one connection that takes this long; status 1 unless every byte
came, then the end """

import json
import select
import socket
import sys
import threading
import time

BYTES = 1 << 20
PIECES = 64
PATIENCE_S = 60


def serve(port):
    def answer(connection):
        with connection:
            seconds = float(connection.makefile("rb").readline().split()[1])
            for _ in range(PIECES):
                connection.sendall(b"x" * (BYTES // PIECES))
                time.sleep(seconds / PIECES)

    with socket.create_server(("127.0.0.1", port), backlog=1024) as server:
        print("serving", flush=True)
        while True:
            threading.Thread(target=answer, args=[server.accept()[0]], daemon=True).start()


def download(port, seconds):
    """The number of bytes before the end. Raises OSError if the connection fails."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S) as connection:
        connection.sendall(f"seconds {seconds}\n".encode())
        count = 0
        while piece := connection.recv(1 << 16):
            count += len(piece)
        return count


def connect(port):
    faults, threads = [], []

    def once():
        try:
            count = download(port, 0)
            if count != BYTES:
                faults.append(f"{count} bytes")
        except OSError as error:
            faults.append(str(error))

    while not select.select([sys.stdin], [], [], 0.05)[0]:
        threads.append(threading.Thread(target=once))
        threads[-1].start()
    for thread in threads:
        thread.join()
    print(json.dumps({"tries": len(threads), "faults": faults}))


def main():
    what, port = sys.argv[1], int(sys.argv[2])
    if what == "serve":
        serve(port)
    elif what == "connect":
        connect(port)
    else:
        count = download(port, float(sys.argv[3]))
        print(count)
        sys.exit(count != BYTES)


if __name__ == "__main__":
    main()
