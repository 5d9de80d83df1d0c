# SPDX-License-Identifier: Apache-2.0
"""The back end of scripts/demo: answers 200 to /test for the host in its second argument, and shows the request.

It listens on the port in its first argument, on loopback or the address in its third. With a fourth, USER:FILE, it
asks for Basic authentication with the password in the file, and never shows it."""

import base64
import http.server
import pathlib
import sys


def login():
    """The user, and the Authorization field that proves it; None if nobody has to."""
    if not sys.argv[4:]:
        return None, None
    user, file = sys.argv[4].split(":", 1)
    password = pathlib.Path(file).read_text().strip()
    return user, "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


class Backend(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body=b""):
        host = self.headers.get("Host", "").rsplit(":", 1)[0]
        known = host == sys.argv[2] and self.path == "/test"
        user, proof = login()
        refused = proof and self.headers.get("Authorization") != proof
        if user and not refused:
            host = f"the user {user}"
            del self.headers["Authorization"]
        text = f"{self.command} {self.path} for {host}, seen by the back end {sys.argv[2]}\n{self.headers}"
        text = b"" if refused else text.encode() + body
        self.send_response(401 if refused else 200 if known else 404)
        if refused:
            self.send_header("WWW-Authenticate", 'Basic realm="demo"')
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    http.server.ThreadingHTTPServer(((sys.argv[3:] or ["127.0.0.1"])[0], int(sys.argv[1])), Backend).serve_forever()
