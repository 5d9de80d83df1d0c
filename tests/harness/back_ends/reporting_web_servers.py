# SPDX-License-Identifier: Apache-2.0
"""nginx and Apache as back ends that report what they saw: field X-Seen of each answer is the request line that
arrived, and requests_seen() lists every request with the path that it resolved to."""

import re

from tests.harness.back_ends.web_servers import apache, nginx


def reporting_nginx(case):
    """Answers every request with 200. Returns the port."""
    return nginx(case, global_more=f"log_format seen '$http_x_marker|$request|$uri'; keepalive_requests 1000000; "
                                    "large_client_header_buffers 8 32k;",
                 access_log=f"{case.folder}/nginx.seen seen",
                 location='add_header X-Seen $request always; return 200 "ok";')


def reporting_apache(case):
    """Has no files, so most answers are 404. Returns the port."""
    return apache(case, more=f"""
MaxKeepAliveRequests 0
KeepAliveTimeout 60
AllowEncodedSlashes On
LimitRequestLine 16384
LimitRequestFieldSize 32768
Header always set X-Seen "expr=%{{THE_REQUEST}}"
LogFormat "%{{X-Marker}}i|%r|%U" seen
CustomLog {case.folder}/apache.seen seen
""")


def requests_seen(case, name):
    """(field X-Marker, request line, resolved path) of each request that "nginx" or "apache" logged, in bytes."""
    def plain(text):
        return re.sub(rb"\\(?:x([0-9a-fA-F]{2})|(.))", lambda m: bytes.fromhex(m[1].decode()) if m[1] else m[2], text)

    lines = (case.folder / f"{name}.seen").read_bytes().splitlines()
    return [tuple(map(plain, re.fullmatch(rb"([^|]*)\|(.*? HTTP/\d\.\d|[^|]*)\|(.*)", line).groups()))
            for line in lines]
