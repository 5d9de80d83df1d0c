# SPDX-License-Identifier: Apache-2.0
"""nginx and Apache as back ends that tell what they saw: X-Seen of each answer is the request line that came, and seen() has a line
for every request, with the path that it resolved to."""

import re

from backends import AS_ROOT, apache
from culvert import Program, free_port


def telling_nginx(case, name="nginx"):
    """Answers everything. Returns the port."""
    port, config = free_port(), case.folder / f"{name}.conf"
    config.write_text(f"""
        {"user root;" if AS_ROOT else ""}
        daemon off; worker_processes 1; pid {case.folder}/{name}.pid; error_log stderr warn;
        events {{ worker_connections 4096; }}
        http {{
          log_format seen '$http_x_marker|$request|$uri'; access_log {case.folder}/{name}.seen seen;
          client_max_body_size 0; keepalive_requests 1000000;
          client_body_temp_path {case.folder}/{name}-body; proxy_temp_path {case.folder}/{name}-proxy;
          fastcgi_temp_path {case.folder}/{name}-f; uwsgi_temp_path {case.folder}/{name}-u; scgi_temp_path {case.folder}/{name}-s;
          server {{
            listen 127.0.0.1:{port};
            location / {{ add_header X-Seen $request always; return 200 "ok"; }}
          }}
        }}""")
    Program(case, name, ["/usr/sbin/nginx", "-e", "stderr", "-c", config, "-p", case.folder]).start().wait_for_port(port)
    return port


def telling_apache(case, name="apache"):
    """Has nothing to serve, so that most answers are 404. Returns the port."""
    return apache(case, name=name, more=f"""
MaxKeepAliveRequests 0
KeepAliveTimeout 60
AllowEncodedSlashes On
Header always set X-Seen "expr=%{{THE_REQUEST}}"
LogFormat "%{{X-Marker}}i|%r|%U" seen
CustomLog {case.folder}/{name}.seen seen
""")


def seen(case, name):
    """(field X-Marker, request line, resolved path) of each request, in bytes."""
    def plain(text):
        return re.sub(rb"\\(?:x([0-9a-fA-F]{2})|(.))", lambda m: bytes.fromhex(m[1].decode()) if m[1] else m[2], text)

    lines = (case.folder / f"{name}.seen").read_bytes().splitlines()
    return [tuple(map(plain, re.fullmatch(rb"([^|]*)\|(.*? HTTP/\d\.\d|[^|]*)\|(.*)", line).groups())) for line in lines]
