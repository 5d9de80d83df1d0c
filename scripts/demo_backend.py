# SPDX-License-Identifier: Apache-2.0
"""The back end of scripts/demo: answers 200 to /test for the host in its second argument, and shows the request.

It listens on the port in its first argument, on loopback or the address in its third."""

import http.server
import sys


class Backend(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body=b""):
        host = self.headers.get("Host", "").rsplit(":", 1)[0]
        known = host == sys.argv[2] and self.path == "/test"
        text = f"{self.command} {self.path} for {host}, seen by the back end {sys.argv[2]}\n{self.headers}"
        text = text.encode() + body
        self.send_response(200 if known else 404)
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
