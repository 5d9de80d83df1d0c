# SPDX-License-Identifier: Apache-2.0
"""The programs at both ends of the tunnel: real ones with a configuration of their own in the test's folder, and small TCP servers
that misbehave in one exact way."""

import contextlib
import fcntl
import hashlib
import os
import pathlib
import pwd
import resource
import shutil
import signal
import socket
import socketserver
import struct
import subprocess
import threading

from culvert import BUILD, ROOT, Program, free_port, wait_until

AS_ROOT = os.geteuid() == 0


def serve(case, conversation, address="127.0.0.1"):
    """A TCP server that calls `conversation(socket)` for each connection, in a thread of its own. Returns the port."""

    class Conversation(socketserver.BaseRequestHandler):
        def handle(self):
            with contextlib.suppress(OSError):
                conversation(self.request)

    class TcpServer(socketserver.ThreadingTCPServer):
        allow_reuse_address, daemon_threads, request_queue_size, block_on_close = True, True, 4096, False

    server = TcpServer((address, free_port()), Conversation)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    case.addCleanup(server.server_close)
    case.addCleanup(server.shutdown)
    return server.server_address[1]


def raise_descriptor_limit():
    """To what is allowed, which it returns."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def echo(connection):
    while data := connection.recv(1 << 16):
        connection.sendall(data)


def echo_port(case):
    return serve(case, echo)


def receive_all(connection):
    parts = []
    while data := connection.recv(1 << 16):
        parts.append(data)
    return b"".join(parts)


def receive_exactly(connection, size):
    parts = []
    while size > 0:
        data = connection.recv(min(size, 1 << 16))
        if not data:
            raise EOFError(f"closed with {size} bytes missing")
        parts.append(data)
        size -= len(data)
    return b"".join(parts)


def reset(connection):
    """Closes so that the peer sees a TCP reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def make_file(path, size):
    """`size` bytes that repeat nowhere, the same each time. Returns their SHA-256."""
    with open(path, "wb") as sink:
        zeros = subprocess.Popen(["head", "-c", str(size), "/dev/zero"], stdout=subprocess.PIPE)
        subprocess.run(["openssl", "enc", "-aes-128-ctr", "-K", "00" * 16, "-iv", "01" * 16], stdin=zeros.stdout, stdout=sink, check=True)
        zeros.stdout.close()
        zeros.wait()
    return sha256(path)


def sha256(path):
    with open(path, "rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def nginx(case, credentials=None, name="nginx", more=""):
    """Serves GET and PUT on case.folder/"www". With `credentials` over TLS; with `more` directives of its server. Returns the port."""
    port, root = free_port(), case.folder / "www"
    root.mkdir(exist_ok=True)
    tls = f"ssl_certificate {credentials.certificate}; ssl_certificate_key {credentials.private_key};" if credentials else ""
    config = case.folder / f"{name}.conf"
    config.write_text(f"""
        {"user root;" if AS_ROOT else ""}
        daemon off; worker_processes 1; pid {case.folder}/{name}.pid; error_log stderr warn;
        events {{ worker_connections 4096; }}
        http {{
          access_log off; sendfile on; client_max_body_size 0; root {root};
          client_body_temp_path {case.folder}/{name}-body; proxy_temp_path {case.folder}/{name}-proxy;
          fastcgi_temp_path {case.folder}/{name}-f; uwsgi_temp_path {case.folder}/{name}-u; scgi_temp_path {case.folder}/{name}-s;
          server {{
            listen 127.0.0.1:{port} {"ssl" if credentials else ""}; {tls} {more}
            location / {{ dav_methods PUT; create_full_put_path on; }}
          }}
        }}""")
    Program(case, name, ["/usr/sbin/nginx", "-e", "stderr", "-c", config, "-p", case.folder]).start().wait_for_port(port)
    return port


def apache(case, credentials=None, name="apache", more=""):
    """Serves GET on case.folder/"www". With `credentials` over TLS; with `more` directives. Returns the port."""
    port, root = free_port(), case.folder / "www"
    root.mkdir(exist_ok=True)
    modules = ["mpm_event", "authz_core", "dir", "alias", "headers", *(["ssl"] if credentials else [])]
    lines = [f"LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so" for module in modules]
    if credentials:
        lines += ["SSLEngine on", f"SSLCertificateFile {credentials.certificate}", f"SSLCertificateKeyFile {credentials.private_key}"]
    config = case.folder / f"{name}.conf"
    config.write_text("\n".join([*lines, f"""
ServerRoot {case.folder}
ServerName {name}.internal
Listen 127.0.0.1:{port}
PidFile {case.folder}/{name}.pid
DefaultRuntimeDir {case.folder}
ErrorLog /dev/stderr
{"User www-data" if AS_ROOT else ""}
{"Group www-data" if AS_ROOT else ""}
DocumentRoot {root}
<Directory {root}>
  Require all granted
</Directory>
{more}
"""]))
    Program(case, name, ["/usr/sbin/apache2", "-D", "FOREGROUND", "-f", config]).start().wait_for_port(port)
    return port


def node_packages():
    """What tests/e2e/node/package-lock.json pins, installed once for all tests of this checkout. Returns the environment for Node.js."""
    source, folder = ROOT / "tests/e2e/node", BUILD.parent / "node"
    folder.mkdir(parents=True, exist_ok=True)
    pins, installed = (source / "package-lock.json").read_bytes(), folder / "installed"
    with open(folder / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed.exists() or installed.read_bytes() != pins:
            for file in ("package.json", "package-lock.json"):
                shutil.copy(source / file, folder)
            answer = subprocess.run(["/usr/bin/npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, capture_output=True,
                                    text=True, timeout=300, check=False)
            assert answer.returncode == 0, f"npm ci: {answer.stdout}{answer.stderr}"
            installed.write_bytes(pins)
    return {**os.environ, "NODE_PATH": str(folder / "node_modules")}


def node(case):
    """node/back_end.js, which tells what it was asked, and echoes what comes by WebSocket. Returns the port."""
    return node_ports(case, "node", 1)[0]


def node_ports(case, name, count):
    """One process of it with several ports, which it returns."""
    ports = [free_port() for _ in range(count)]
    Program(case, name, ["/usr/bin/node", ROOT / "tests/e2e/node/back_end.js", *ports],
            environment=node_packages()).start().wait_for_port(ports[-1])
    return ports


def slapd(case, credentials):
    """An LDAP directory of 1000 people under dc=example, which cn=admin,dc=example with password "secret" may change. Returns its
    ports, without TLS and with."""
    ports, folder = (free_port(), free_port()), case.folder / "slapd"
    (folder / "data").mkdir(parents=True)
    config, entries = folder / "slapd.conf", folder / "entries.ldif"
    config.write_text(f"""
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
modulepath /usr/lib/ldap
moduleload back_mdb
pidfile {folder}/slapd.pid
TLSCertificateFile {credentials.certificate}
TLSCertificateKeyFile {credentials.private_key}
TLSCACertificateFile {credentials.ca}
database mdb
suffix dc=example
rootdn cn=admin,dc=example
rootpw secret
sizelimit unlimited
directory {folder}/data
maxsize 67108864
""")
    people = [f"dn: cn=person {number},dc=example\nobjectClass: person\ncn: person {number}\nsn: {number}\ndescription: {'x' * 500}\n"
              for number in range(1000)]
    entries.write_text("\n".join(["dn: dc=example\nobjectClass: domain\ndc: example\n", *people]))
    case.command("/usr/sbin/slapadd", "-q", "-f", config, "-l", entries)
    Program(case, "slapd", ["/usr/sbin/slapd", "-d", 0, "-f", config, "-h", f"ldap://127.0.0.1:{ports[0]}/ ldaps://127.0.0.1:{ports[1]}/"]
            ).start().wait_for_port(ports[1], 30)
    return ports


class Postgres:
    """A private PostgreSQL cluster. Trusts loopback, since the tunnel is what is tested."""

    def __init__(self, case):
        self.case, self.port, self.folder = case, free_port(), case.folder / "postgres"
        self.user = "postgres" if AS_ROOT else None
        self.folder.mkdir()
        if AS_ROOT:
            entry = pwd.getpwnam("postgres")
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        binaries = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
        data = self.folder / "data"
        case.command(binaries / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C",
                     user=self.user, cwd=self.folder)
        Program(case, "postgres", [binaries / "postgres", "-D", data, "-h", "127.0.0.1", "-p", self.port, "-k", self.folder, "-F"],
                folder=self.folder, user=self.user).start().wait_for_port(self.port, 30)
        case.programs[-1].stop_signal = signal.SIGINT  # PostgreSQL's fast shutdown
        wait_until(lambda: "ready to accept" in case.programs[-1].output(), 30, "PostgreSQL to accept connections")


class Sshd:
    """A private sshd that lets in the user who runs the tests, by a throw-away key."""

    def __init__(self, case):
        self.case, self.port = case, free_port()
        self.key, host_key, self.known = case.folder / "user_key", case.folder / "host_key", case.folder / "known_hosts"
        for key in (self.key, host_key):
            case.command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
        (case.folder / "authorized_keys").write_text(self.key.with_suffix(".pub").read_text())
        self.host_public = " ".join(host_key.with_suffix(".pub").read_text().split()[:2])
        config = case.folder / "sshd_config"
        config.write_text(f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nPidFile none\nUsePAM no\nStrictModes no\n"
                          f"AuthorizedKeysFile {case.folder}/authorized_keys\nPermitRootLogin yes\nPasswordAuthentication no\n"
                          f"KbdInteractiveAuthentication no\nSubsystem sftp internal-sftp\nMaxStartups 100\n")
        if AS_ROOT:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # of its privilege separation
        Program(case, "sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", config]).start().wait_for_port(self.port)

    def options(self, port):
        """For ssh and scp to a port that leads here."""
        with open(self.known, "a", encoding="ascii") as known:
            known.write(f"[127.0.0.1]:{port} {self.host_public}\n")
        return ["-F", "none", "-i", self.key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o", f"UserKnownHostsFile={self.known}",
                "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=20", "-o", "LogLevel=ERROR"]

    @property
    def destination(self):
        return pwd.getpwuid(os.geteuid()).pw_name + "@127.0.0.1"


class Squid:
    """An HTTP CONNECT proxy with basic authentication: user `culvert` with `password`, to `allowed_port` only."""

    def __init__(self, case, allowed_port, password="correct horse"):
        self.port, folder = free_port(), case.folder / "squid"
        folder.mkdir()
        case.command("htpasswd", "-bcm", folder / "passwd", "culvert", password)
        if AS_ROOT:
            for path in (folder, folder / "passwd"):
                os.chown(path, pwd.getpwnam("proxy").pw_uid, pwd.getpwnam("proxy").pw_gid)
        config = folder / "squid.conf"
        config.write_text(f"""
http_port 127.0.0.1:{self.port}
auth_param basic program /usr/lib/squid/basic_ncsa_auth {folder}/passwd
auth_param basic realm culvert-test
acl known proxy_auth REQUIRED
acl tunnel_port port {allowed_port}
http_access deny !tunnel_port
http_access allow CONNECT known
http_access deny all
access_log stdio:{folder}/access.log
cache_log {folder}/cache.log
coredump_dir {folder}
pid_filename {folder}/squid.pid
cache deny all
cache_mem 8 MB
max_filedescriptors 1024
pinger_enable off
shutdown_lifetime 0 seconds
visible_hostname culvert-test
""")
        self.access_log = folder / "access.log"
        self.program = Program(case, "squid", ["/usr/sbin/squid", "-N", "-n", f"culvert{self.port}", "-d", 1, "-f", config]).start().wait_for_port(self.port, 30)


def silent_port(case):
    """Accepts and never says a word."""
    return serve(case, lambda connection: receive_all(connection))
