# SPDX-License-Identifier: Apache-2.0
"""The tunnels that are compared. Each peer forwards a local port per back end to that back end, through two processes
with TLS 1.3 and AES-128-GCM between them; OpenSSH uses its own transport with the same cipher. `agent` is the process
in the private network, `server` the one in the cluster. Culvert is measured with channels of the agent, with virtual
listeners of the server, and as an HTTP proxy, which serves only the HTTP back end."""

import dataclasses
import json
import os
import pathlib
import shutil
import socket
import subprocess
import time
import urllib.request

from machine import ROOT
from processes import free_ports, ordinary_user, start

LOAD = ROOT / "build/release/tests/bench/load"
START_SECONDS_MAX = 15
# Bulk, requests and HTTP each have a back end of their own, so that none of them waits for another.
BACKENDS = ("bulk", "query", "http")
CONNECTIONS_MAX = 20000
HTTP_BODY_BYTES = 4 << 20  # in each direction
CIPHER = "TLS_AES_128_GCM_SHA256"


@dataclasses.dataclass
class Peer:
    name: str
    folder: pathlib.Path  # the working directory of its processes
    ports: dict  # back end -> the port that clients connect to
    processes: dict = dataclasses.field(default_factory=dict)  # "server", "agent"
    virtual_host: str = ""  # if set, the port for HTTP is that of a proxy, where the back end has this name
    path: str = "/"  # of the back end for HTTP


def start_peer(make, stack, folder, certificates, backends, build=ROOT):
    """Starts the peer that `make`, a value of PEERS, makes. Returns it once every back end answers through it. Closing
    `stack` ends it. `build` is the checkout whose release build Culvert's programs are taken from."""
    folder.mkdir()
    peer = make(stack, folder, certificates, backends, build)
    await_ports(peer.ports, folder, peer.virtual_host, peer.processes.values(), peer.path)
    return peer


def await_ports(ports, folder, virtual_host="", processes=(), path="/"):
    limit = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            for name in ports.keys() - {"http"}:
                ask(ports[name])
            request = urllib.request.Request(f"http://{virtual_host or '127.0.0.1:%d' % ports['http']}{path}")
            if virtual_host:
                request.set_proxy(f"127.0.0.1:{ports['http']}", "http")
            urllib.request.urlopen(request, timeout=2).read()
            return
        except OSError as error:
            if time.monotonic() > limit or any(process.poll() is not None for process in processes):
                logs = "\n".join(f"{log.name}: {log.read_text(errors='replace')[-600:]}"
                                 for log in folder.glob("*.log"))
                raise SystemExit(f"bench: {folder.name} does not answer: {error}\n{logs}") from error
            time.sleep(0.05)


def ask(port):
    """Sends one request to a back end of load.cpp and reads the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=2) as connection:
        connection.sendall(b"o".ljust(64, b"\0"))
        left = 128
        while left > 0:
            got = connection.recv(left)
            if not got:
                raise ConnectionError("no answer")
            left -= len(got)


def make_certificates(folder):
    tool = ROOT / "scripts/make-certificates"
    for arguments in (
        "ca .",
        "server . 127.0.0.1",
        "request --account bench --agent bench --key agent.key --out agent.csr",
        "agent . agent.csr --trust-domain bench --account bench --agent bench --out agent.crt",
    ):
        subprocess.run([tool, *arguments.split()], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    # HAProxy reads both from one file.
    together = folder / "server.pem"
    together.touch(mode=0o600)
    together.write_text((folder / "server.crt").read_text() + (folder / "server.key").read_text())


def start_backends(stack, folder):
    """Starts nginx, which sends a small body and a large one and accepts uploads, and the back end of load.cpp twice.
    Returns their ports."""
    folder.mkdir()
    ports = dict(zip(BACKENDS, free_ports(3)))
    (folder / "large").write_bytes(bytes(HTTP_BODY_BYTES))
    (folder / "nginx.conf").write_text(f"""
daemon off; master_process off; pid nginx.pid; error_log nginx.error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600; sendfile on; tcp_nopush on;
  client_max_body_size 0; client_body_buffer_size {2 * HTTP_BODY_BYTES};
  client_body_temp_path body; proxy_temp_path proxy;
  fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server {{
    listen 127.0.0.1:{ports["http"]}; default_type text/plain;
    location / {{ return 200 "{"x" * 128}"; }}
    location = /down {{ alias {folder}/large; }}
    # Reads the body to its end before it answers.
    location = /up {{
      proxy_pass http://127.0.0.1:{ports["http"]}/; proxy_pass_request_body off; proxy_set_header Content-Length "";
    }}
  }}
}}
""")
    start(stack, nginx(folder, "nginx.conf"), folder, "nginx")
    for name in ("bulk", "query"):
        start(stack, [LOAD, "backend", str(ports[name])], folder, name)
    await_ports(ports, folder)
    return ports


def nginx(folder, config):
    return ["nginx", "-p", folder, "-c", folder / config, "-e", folder / f"{config}.error.log"]


def start_pair(name, stack, folder, ports, texts, command_of):
    """Writes `texts` (side -> configuration) and starts both sides; the server first, since the agent dials at once."""
    processes = {}
    for side in ("server", "agent"):
        (folder / f"{side}.conf").write_text(texts[side])
        processes[side] = start(stack, command_of(side), folder, side)
    return Peer(name, folder, ports, processes)


def direct(_stack, folder, _certificates, backends, _build):
    return Peer("direct", folder, backends)


def culvert(stack, folder, certificates, backends, build):
    """Channels of the agent lead to service mappings of the server, through the default number of tunnels."""
    ports = dict(zip(BACKENDS, free_ports(3)))
    server, agent = culvert_programs(certificates)
    for name in BACKENDS:
        server += f"""
[[service_mapping]]
account = "bench"
service_id = "{name}"
internal_address = "127.0.0.1:{backends[name]}"
"""
        agent += f"""
[[channel]]
listen = "127.0.0.1:{ports[name]}"
service_id = "{name}"
connections_max = {CONNECTIONS_MAX}
"""
    return start_pair("culvert", stack, folder, ports, {"server": server, "agent": agent}, culvert_command(build))


def culvert_listener(stack, folder, certificates, backends, build):
    """Virtual listeners of the server lead to system mappings of the agent."""
    ports = dict(zip(BACKENDS, free_ports(3)))
    server, agent = culvert_programs(certificates)
    for name in BACKENDS:
        server += f"""
[[virtual_listener]]
listen = "127.0.0.1:{ports[name]}"
account = "bench"
virtual_host = "{name}:80"
connections_max = {CONNECTIONS_MAX}
"""
        agent += f"""
[[system_mapping]]
virtual = "{name}:80"
internal = "127.0.0.1:{backends[name]}"
connections_max = {CONNECTIONS_MAX}
"""
    texts = {"server": server, "agent": agent}
    return start_pair("culvert-listener", stack, folder, ports, texts, culvert_command(build))


def culvert_http(stack, folder, certificates, backends, build):
    """The server's HTTP proxy leads to a system mapping of the agent, which checks each request."""
    ports = dict(zip(["http"], free_ports(1)))
    server, agent = culvert_programs(certificates)
    server += f"""
[http_proxy]
listen = "127.0.0.1:{ports["http"]}"
account = "bench"
"""
    agent += f"""
[[system_mapping]]
virtual = "web:80"
protocol = "http"
internal = "127.0.0.1:{backends["http"]}"
resource = [{{path = "/", match = "sub_paths"}}]
"""
    texts = {"server": server, "agent": agent}
    peer = start_pair("culvert-http", stack, folder, ports, texts, culvert_command(build))
    peer.virtual_host = "web"
    return peer


def culvert_programs(certificates):
    """The part of both configurations that all ways through Culvert have in common."""
    (tunnel,) = free_ports(1)
    server = f"""
[tunnel]
listen = "127.0.0.1:{tunnel}"
certificate = "{certificates}/server.crt"
private_key = "{certificates}/server.key"
client_ca = "{certificates}/ca.crt"
trust_domain = "bench"
[admin]
socket = "server.sock"
[metrics]
listen = "off"
"""
    agent = f"""
[[server]]
address = "127.0.0.1:{tunnel}"
certificate = "{certificates}/agent.crt"
private_key = "{certificates}/agent.key"
ca = "{certificates}/ca.crt"
[admin]
socket = "agent.sock"
"""
    return server, agent


def culvert_command(build):
    return lambda side: [build / f"build/release/{side}/culvert-{side}", "--config", f"{side}.conf"]


def tunnel_streams(peer):
    """How many streams each tunnel of Culvert's agent has now, as its `status` reports. The question goes to the admin
    socket directly: a program started for it would disturb what is measured meanwhile."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        # A path of the working directory may be too long for an address of a socket.
        folder = os.open(peer.folder, os.O_PATH)
        try:
            connection.connect(f"/proc/self/fd/{folder}/agent.sock")
        finally:
            os.close(folder)
        connection.sendall(b"status --json\n")
        answer = connection.makefile().read()
    first, _, body = answer.partition("\n")
    if first != "ok":
        raise RuntimeError(f"the agent does not report its status: {first}")
    return [tunnel["streams"] for tunnel in json.loads(body)["tunnels"]]


def openssh(stack, folder, _certificates, backends, _build):
    """`ssh -R` dials out, and sshd has the local ports: one TCP connection, a channel per stream. Both run unprivileged
    with keys made here. Without PAM, sshd considers a user without a password locked."""
    ports, (tunnel,), user = dict(zip(BACKENDS, free_ports(3))), free_ports(1), ordinary_user()
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / key], check=True)
    public = " ".join((folder / "host.pub").read_text().split()[:2])
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{tunnel} {public}\n")
    (folder / "sshd.conf").write_text(f"""
Port {tunnel}
ListenAddress 127.0.0.1
HostKey {folder}/host
PidFile none
AuthorizedKeysFile {folder}/user.pub
StrictModes no
UsePAM yes
PasswordAuthentication no
KbdInteractiveAuthentication no
Ciphers aes128-gcm@openssh.com
""")
    for path in [folder, *folder.iterdir()]:
        shutil.chown(path, user)
    server = start(stack, ["/usr/sbin/sshd", "-D", "-e", "-f", folder / "sshd.conf"], folder, "server", user)
    await_listener(tunnel)  # ssh dials once.
    forwards = [word for name in BACKENDS for word in ("-R", f"127.0.0.1:{ports[name]}:127.0.0.1:{backends[name]}")]
    options = ("BatchMode=yes", f"UserKnownHostsFile={folder}/known_hosts", "StrictHostKeyChecking=yes",
               "IdentitiesOnly=yes", "ExitOnForwardFailure=yes", "LogLevel=ERROR")
    command = ["ssh", "-F", "none", "-N", "-p", str(tunnel), "-i", folder / "user", *forwards]
    command += [*(word for option in options for word in ("-o", option)), f"{user}@127.0.0.1"]
    agent = start(stack, command, folder, "agent", user)
    return Peer("openssh", folder, ports, {"server": server, "agent": agent})


def await_listener(port):
    limit = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=2).close()
        except OSError:
            if time.monotonic() > limit:
                raise
            time.sleep(0.05)


STUNNEL_COMMON = f"""foreground = yes
pid =
debug = err
sslVersionMin = TLSv1.3
ciphersuites = {CIPHER}
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
"""


def stunnel(stack, folder, certificates, backends, _build):
    """Like HAProxy and nginx below: one TLS connection per stream, and clients connect to the agent."""
    ports, inner = dict(zip(BACKENDS, free_ports(3))), dict(zip(BACKENDS, free_ports(3)))
    agent = STUNNEL_COMMON + f"client = yes\nCAfile = {certificates}/ca.crt\nverifyChain = yes\n"
    server = STUNNEL_COMMON + f"cert = {certificates}/server.crt\nkey = {certificates}/server.key\n"
    for name in BACKENDS:
        agent += f"[{name}]\naccept = 127.0.0.1:{ports[name]}\nconnect = 127.0.0.1:{inner[name]}\n"
        server += f"[{name}]\naccept = 127.0.0.1:{inner[name]}\nconnect = 127.0.0.1:{backends[name]}\n"
    texts = {"server": server, "agent": agent}
    return start_pair("stunnel", stack, folder, ports, texts, lambda side: ["stunnel4", f"{side}.conf"])


def haproxy(stack, folder, certificates, backends, _build):
    """Its TLS sessions are resumed."""
    ports, inner = dict(zip(BACKENDS, free_ports(3))), dict(zip(BACKENDS, free_ports(3)))
    common = f"""global
  maxconn 9800
  ssl-default-bind-options ssl-min-ver TLSv1.3
  ssl-default-bind-ciphersuites {CIPHER}
  ssl-default-server-ciphersuites {CIPHER}
defaults
  mode tcp
  option tcp-smart-connect
  timeout connect 5s
  timeout client 10m
  timeout server 10m
"""
    agent = server = common
    for name in BACKENDS:
        agent += f"""listen {name}
  bind 127.0.0.1:{ports[name]} backlog 4096
  server far 127.0.0.1:{inner[name]} ssl verify required ca-file {certificates}/ca.crt
"""
        server += f"""listen {name}
  bind 127.0.0.1:{inner[name]} backlog 4096 ssl crt {certificates}/server.pem
  server far 127.0.0.1:{backends[name]}
"""
    command_of = lambda side: ["haproxy", "-db", "-f", f"{side}.conf"]
    return start_pair("haproxy", stack, folder, ports, {"server": server, "agent": agent}, command_of)


def nginx_stream(stack, folder, certificates, backends, _build):
    """Its TLS sessions are resumed."""
    ports, inner = dict(zip(BACKENDS, free_ports(3))), dict(zip(BACKENDS, free_ports(3)))
    tls = {
        "agent": f"""proxy_ssl on; proxy_ssl_protocols TLSv1.3; proxy_ssl_conf_command Ciphersuites {CIPHER};
  proxy_ssl_verify on; proxy_ssl_name 127.0.0.1; proxy_ssl_trusted_certificate {certificates}/ca.crt;
  proxy_ssl_session_reuse on;""",
        "server": f"""ssl_certificate {certificates}/server.crt; ssl_certificate_key {certificates}/server.key;
  ssl_protocols TLSv1.3; ssl_conf_command Ciphersuites {CIPHER}; ssl_session_cache shared:tls:1m;""",
    }
    servers = {
        "agent": [f"server {{ listen 127.0.0.1:{ports[name]} backlog=4096; proxy_pass 127.0.0.1:{inner[name]}; }}"
                  for name in BACKENDS],
        "server": [f"server {{ listen 127.0.0.1:{inner[name]} ssl backlog=4096; "
                   f"proxy_pass 127.0.0.1:{backends[name]}; }}" for name in BACKENDS],
    }
    texts = {side: f"""
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; master_process off; pid {side}.pid; error_log {side}.error.log;
events {{ worker_connections {CONNECTIONS_MAX - 100}; }}
stream {{
  tcp_nodelay on; proxy_half_close on; proxy_timeout 10m;
  {tls[side]}
  {" ".join(servers[side])}
}}
""" for side in servers}
    return start_pair("nginx", stack, folder, ports, texts, lambda side: nginx(folder, f"{side}.conf"))


PEERS = {"direct": direct, "culvert": culvert, "culvert-listener": culvert_listener, "culvert-http": culvert_http,
         "openssh": openssh, "haproxy": haproxy, "nginx": nginx_stream, "stunnel": stunnel}
# What docs/performance.md shows.
DOCUMENTED = [name for name in PEERS if name != "culvert-listener"]
