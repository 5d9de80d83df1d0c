# SPDX-License-Identifier: Apache-2.0
"""The web server behind a service of a cluster: named_web_server.py ADDRESS PORT NAME. Answers every GET with its name,
and keeps the connection open."""

import http.server
import sys

ADDRESS, PORT, NAME = sys.argv[1], int(sys.argv[2]), sys.argv[3].encode()


class Answer(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(NAME)))
        self.end_headers()
        self.wfile.write(NAME)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024


Server((ADDRESS, PORT), Answer).serve_forever()
