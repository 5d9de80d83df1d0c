# SPDX-License-Identifier: Apache-2.0
"""What is compared: each peer leads from two local ports to the two back ends, and knows the processes that do it."""

import os
import pathlib
import socket
import subprocess
import time
import urllib.request

import traffic

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
START_SECONDS_MAX = 15
BACKENDS = ("bulk", "http")


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def start(stack, command, folder, name):
    """`stack` ends it. What it says goes to `name`.log in `folder`."""
    environment = dict(os.environ, PATH=os.environ.get("PATH", "") + ":/usr/sbin")
    with open(folder / f"{name}.log", "wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
    stack.callback(end, process)
    return process


def end(process):
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def await_ports(ports, folder):
    """Until both back ends answer through these ports."""
    limit = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            traffic.up(ports["bulk"], 0)
            urllib.request.urlopen(f"http://127.0.0.1:{ports['http']}/", timeout=2).read()
            return
        except OSError as error:
            if time.monotonic() > limit:
                logs = "\n".join(f"{log.name}: {log.read_text(errors='replace')[-600:]}" for log in folder.glob("*.log"))
                raise SystemExit(f"bench: {folder.name} does not answer: {error}\n{logs}") from error
            time.sleep(0.05)


def make_certificates(folder):
    tool = ROOT / "scripts/make-certificates"
    for arguments in (
        "ca .",
        "server . 127.0.0.1",
        "request --account bench --agent bench --key agent.key --out agent.csr",
        "agent . agent.csr --trust-domain bench --account bench --agent bench --out agent.crt",
    ):
        subprocess.run([tool, *arguments.split()], cwd=folder, check=True, stdout=subprocess.DEVNULL)


class Direct:
    name = "direct"

    def __init__(self, stack, folder, certificates, backends):
        self.ports, self.processes = backends, []


class Stunnel:
    """One TLS connection per client connection."""

    name = "stunnel"
    COMMON = """foreground = yes
pid =
debug = err
sslVersionMin = TLSv1.3
ciphersuites = TLS_AES_128_GCM_SHA256
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
"""

    def __init__(self, stack, folder, certificates, backends):
        self.ports = dict(zip(BACKENDS, free_ports(2)))
        inner = dict(zip(BACKENDS, free_ports(2)))
        near = self.COMMON + f"client = yes\nCAfile = {certificates}/ca.crt\nverifyChain = yes\n"
        far = self.COMMON + f"cert = {certificates}/server.crt\nkey = {certificates}/server.key\n"
        for name in BACKENDS:
            near += f"[{name}]\naccept = 127.0.0.1:{self.ports[name]}\nconnect = 127.0.0.1:{inner[name]}\n"
            far += f"[{name}]\naccept = 127.0.0.1:{inner[name]}\nconnect = 127.0.0.1:{backends[name]}\n"
        self.processes = []
        for side, text in (("far", far), ("near", near)):
            (folder / f"{side}.conf").write_text(text)
            self.processes.append(start(stack, ["stunnel4", f"{side}.conf"], folder, side))


class Culvert:
    """An agent's channel leads to a service of the server, through the tunnels that an agent keeps by default."""

    name = "culvert"

    def __init__(self, stack, folder, certificates, backends):
        self.ports = dict(zip(BACKENDS, free_ports(2)))
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
        for name in BACKENDS:
            server += f"""
[[service_mapping]]
account = "bench"
service_id = "{name}"
internal_address = "127.0.0.1:{backends[name]}"
"""
            agent += f"""
[[channel]]
listen = "127.0.0.1:{self.ports[name]}"
service_id = "{name}"
"""
        self.processes = []
        for side, text in (("server", server), ("agent", agent)):
            (folder / f"{side}.toml").write_text(text)
            program = ROOT / f"build/release/{side}/culvert-{side}"
            self.processes.append(start(stack, [program, "--config", f"{side}.toml"], folder, side))


class Backends:
    """nginx with a small answer, and the bulk back end."""

    def __init__(self, stack, folder):
        self.ports = dict(zip(BACKENDS, free_ports(2)))
        (folder / "nginx.conf").write_text(f"""
daemon off; master_process off; pid nginx.pid; error_log nginx.error.log;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server {{
    listen 127.0.0.1:{self.ports["http"]}; default_type text/plain;
    location / {{ return 200 "{"x" * 128}"; }}
  }}
}}
""")
        program = pathlib.Path(traffic.__file__).resolve()
        self.processes = [
            start(stack, ["nginx", "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "nginx.error.log"], folder, "nginx"),
            start(stack, ["/usr/bin/python3", program, "serve", str(self.ports["bulk"])], folder, "traffic"),
        ]
