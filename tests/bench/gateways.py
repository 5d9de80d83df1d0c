# SPDX-License-Identifier: Apache-2.0
"""Compares the CPU time of the gateway for external systems with that of HAProxy, for `scripts/bench --gateway`. Both
lead /shop/plain/… to an HTTP target and /shop/secure/… to an HTTPS target, as /api/…, and add an Authorization field,
which the targets check. One process each, with keep-alive connections on both sides."""

import base64
import functools

import against
import loads
import peers
import rounds
from machine import ROOT
from processes import free_ports, start

OTHER = "HAProxy"
USER, PASSWORD = "shop", "bench"
AUTHORIZATION = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
SERVICES = {"plain": "HTTP target", "secure": "HTTPS target"}
# Greatest allowed median of the ratios to HAProxy within a round, by figure.
LIMITS = {"CPU µs/request": 1.15, "CPU s/GB": 1.1}
LOADS = {
    f"{name}, {title}": functools.partial(measure, folder=f"/shop/{service}/")
    for name, measure in {
        f"small HTTP, {loads.HTTP_CONNECTIONS} connections": loads.small_http,
        **{f"bulk HTTP {way}, {loads.HTTP_BULK_CONNECTIONS} connections":
           functools.partial(loads.bulk_http, way, loads.HTTP_BULK_CONNECTIONS) for way in ("down", "up")}}.items()
    for service, title in SERVICES.items()}


def select(text):
    """The loads whose name contains `text`."""
    return {name: measure for name, measure in LOADS.items() if text in name}


def start_targets(stack, folder, certificates, backends):
    """Starts nginx with both targets, which serve requests with the right Authorization. Returns their ports."""
    folder.mkdir()
    ports = dict(zip(SERVICES, free_ports(2)))
    (folder / "down").write_bytes(bytes(peers.HTTP_BODY_BYTES))
    listen = {"plain": f"listen 127.0.0.1:{ports['plain']};",
              "secure": f"""listen 127.0.0.1:{ports['secure']} ssl; ssl_protocols TLSv1.3;
    ssl_certificate {certificates}/server.crt; ssl_certificate_key {certificates}/server.key;
    ssl_conf_command Ciphersuites {peers.CIPHER};"""}
    servers = "".join(f"""
  server {{
    {listen[service]}
    if ($http_authorization != "{AUTHORIZATION}") {{ return 401; }}
    location = /api/ {{ return 200 "{"x" * 128}"; }}
    location = /api/down {{ alias {folder}/down; }}
    # Reads the body to its end before it answers.
    location = /api/up {{
      proxy_pass http://127.0.0.1:{backends["http"]}/; proxy_pass_request_body off; proxy_set_header Content-Length "";
    }}
  }}""" for service in SERVICES)
    (folder / "nginx.conf").write_text(f"""
daemon off; master_process off; pid nginx.pid; error_log nginx.error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600; sendfile on; tcp_nopush on;
  default_type text/plain; client_max_body_size 0; client_body_buffer_size {2 * peers.HTTP_BODY_BYTES};
  client_body_temp_path body; proxy_temp_path proxy;
  fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
{servers}
}}
""")
    start(stack, peers.nginx(folder, "nginx.conf"), folder, "nginx")
    for port in ports.values():
        peers.await_listener(port)
    return ports


def culvert(stack, folder, certificates, targets, build):
    ports = dict(zip(["http"], free_ports(1)))
    server, _ = peers.culvert_programs(certificates)
    server += f"""
[gateway]
listen = "127.0.0.1:{ports["http"]}"
listen_entries = "off"
listen_health = "off"
allow_targets = ["127.0.0.1"]
ca = "{certificates}/ca.crt"
[[application]]
name = "shop"
"""
    for service, scheme in (("plain", "http"), ("secure", "https")):
        server += f"""
  [[application.api]]
  service = "{service}"
  url = "{scheme}://127.0.0.1:{targets[service]}/api"
  credentials = {{ type = "Basic", username = "{USER}", password_file = "password" }}
"""
    (folder / "password").touch(mode=0o600)
    (folder / "password").write_text(PASSWORD)
    (folder / "server.conf").write_text(server)
    process = start(stack, peers.culvert_command(build)("server"), folder, "server")
    return peers.Peer("gateway", folder, ports, {"server": process}, path="/shop/plain/")


def haproxy(stack, folder, certificates, targets, _build):
    """Reuses any idle connection to a target, as the gateway does."""
    ports = dict(zip(["http"], free_ports(1)))
    tls = {"plain": "", "secure": f" ssl verify required ca-file {certificates}/ca.crt alpn http/1.1"}
    text = f"""global
  maxconn 9800
  ssl-default-server-ciphersuites {peers.CIPHER}
defaults
  mode http
  http-reuse always
  timeout connect 5s
  timeout client 10m
  timeout server 10m
frontend services
  bind 127.0.0.1:{ports["http"]} backlog 4096
"""
    text += "".join(f"  use_backend {service} if {{ path_beg /shop/{service}/ }}\n" for service in SERVICES)
    for service in SERVICES:
        text += f"""backend {service}
  http-request set-path "/api%[path,bytes({len(f"/shop/{service}")})]"
  http-request set-header Authorization "{AUTHORIZATION}"
  server target 127.0.0.1:{targets[service]}{tls[service]}
"""
    (folder / "haproxy.conf").write_text(text)
    process = start(stack, ["haproxy", "-db", "-f", "haproxy.conf"], folder, "haproxy")
    return peers.Peer("gateway", folder, ports, {"server": process}, path="/shop/plain/")


MAKERS = {"gateway": culvert, "gateway-haproxy": haproxy}


def measure(space, stack, arguments):
    """Yields the rows. Closing `stack` ends the targets."""
    targets = start_targets(stack, space.folder / "targets", space.certificates, space.backends)
    entrants = [rounds.Entrant({"peer": "gateway", "build": name}, kind, ROOT)
                for name, kind in ((OTHER, "gateway-haproxy"), (against.THIS, "gateway"))]
    yield from rounds.measure(space._replace(backends=targets), select(arguments.loads), [entrants], arguments.rounds,
                              arguments.seconds, MAKERS)


def over_limit(summary):
    """A line for each figure whose median ratio exceeds its limit."""
    return [line for row in summary for line in against.over_limit([row], LIMITS[row["figure"]])]
