# SPDX-License-Identifier: Apache-2.0
"""The harness: starts real programs in a folder of their own, on ports of their own, and proves at the end of each test that both
processes are back where they began."""

import contextlib
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request

import certificates

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("CULVERT_BUILD", ROOT / "build/release"))
SCALE = float(os.environ.get("CULVERT_E2E_SCALE", "1"))  # of the amounts of data; sanitizer builds are slow
ACCOUNT = "acme"

# What counts something that is there only while traffic flows: zero in both programs once it has ended.
GAUGES_BACK_TO_ZERO = ["culvert_streams", "culvert_relays", "culvert_stream_buffer_bytes", "culvert_stream_window_bytes",
                        "culvert_dials_in_flight"]
SANITIZER_REPORT = re.compile(r"ERROR: (Address|Leak|Thread|Memory)Sanitizer|WARNING: ThreadSanitizer|runtime error:|check failed")


def wait_until(condition, seconds=10, what="the condition", every=0.02):
    """Polls until `condition` gives something true, which it returns. OSError, such as a refused connection, means: not yet."""
    deadline, last = time.monotonic() + seconds, None
    while True:
        try:
            if value := condition():
                return value
            last = None
        except OSError as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s in vain for {what}" + (f": {last}" if last else ""))
        time.sleep(every)


def free_port():
    """A loopback port below the ephemeral range, so that no outgoing connection takes it; no other test process gets the same."""
    with open(pathlib.Path(tempfile.gettempdir()) / "culvert-e2e-port", "a+", encoding="ascii") as counter:
        fcntl.flock(counter, fcntl.LOCK_EX)
        counter.seek(0)
        port = int(counter.read() or 12000)
        while True:
            port = port + 1 if port < 29000 else 12000
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                with contextlib.suppress(OSError):
                    probe.bind(("127.0.0.1", port))
                    break
        counter.truncate(0)
        counter.write(str(port))
    return port


def toml(tables):
    """TOML of a dict of tables; a list of dicts becomes [[…]]."""
    def value(v):
        if isinstance(v, dict):
            return "{" + ", ".join(f"{key} = {value(each)}" for key, each in v.items()) + "}"
        if isinstance(v, list):
            return "[" + ", ".join(map(value, v)) + "]"
        return json.dumps(str(v) if isinstance(v, pathlib.Path) else v)

    lines = []
    for name, content in tables.items():
        for table in content if isinstance(content, list) else [content]:
            lines.append(f"[[{name}]]" if isinstance(content, list) else f"[{name}]")
            lines += [f"{key} = {value(v)}" for key, v in table.items()] + [""]
    return "\n".join(lines)


class Program:
    """One process with a log file. Stopped by its id."""

    stop_signal = signal.SIGTERM

    def __init__(self, case, name, command, folder=None, user=None, environment=None):
        self.case, self.name, self.command, self.user = case, name, [str(part) for part in command], user
        self.folder = folder or case.folder
        self.log, self.process, self.environment = case.folder / f"{name}.log", None, environment
        case.programs.append(self)

    def start(self):
        assert not self.is_running(), f"{self.name} runs already"
        with open(self.log, "ab") as sink:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, cwd=self.folder,
                                            user=self.user, env=self.environment)
        return self

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def output(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def send(self, number):
        os.kill(self.process.pid, number)

    def exit_status(self, seconds=15):
        try:
            return self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} still runs after {seconds} s") from None

    def stop(self, seconds=15):
        """Asks it to end; the exit status."""
        if self.is_running():
            self.send(signal.SIGCONT)
            self.send(signal.SIGTERM)
        return self.exit_status(seconds)

    def kill(self):
        if self.is_running():
            self.send(signal.SIGKILL)
            self.process.wait()

    def wait_for_port(self, port, seconds=15):
        def open_port():
            assert self.is_running(), f"{self.name} ended with {self.process.returncode}:\n{self.output()}"
            socket.create_connection(("127.0.0.1", port), timeout=2).close()
            return True
        wait_until(open_port, seconds, f"{self.name} on port {port}")
        return self

    def wait_for_output(self, text, seconds=10):
        wait_until(lambda: text in self.output(), seconds, f"“{text}” in the log of {self.name}")


class CulvertProgram(Program):
    """culvert-server or culvert-agent. `tables` is its configuration; change it, then call reload()."""

    kind, host = "", "127.0.0.1"  # where its ports are, as tests see them

    def __init__(self, case, name, tables):
        self.config = case.folder / f"{name}.toml"
        self.metrics_port = free_port()
        self.tables = tables
        tables.setdefault("metrics", {"listen": f"127.0.0.1:{self.metrics_port}"})
        tables.setdefault("admin", {"socket": str(case.folder / f"{name}.sock")})
        super().__init__(case, name, [self.binary(), "--config", self.config])

    @classmethod
    def binary(cls):
        return BUILD / cls.kind / f"culvert-{cls.kind}"

    def write(self):
        # By renaming, as editors and Kubernetes do: no reader sees half a file.
        aside = self.config.with_suffix(".new")
        aside.write_text(toml(self.tables))
        aside.replace(self.config)

    def start(self):
        self.write()
        return super().start()

    def http(self, path, seconds=5):
        try:
            with urllib.request.urlopen(f"http://{self.host}:{self.metrics_port}{path}", timeout=seconds) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def is_ready(self):
        try:
            return self.http("/readyz")[0] == 200
        except OSError:
            return False

    def wait_until_ready(self, seconds=20):
        def ready():
            assert self.is_running(), f"{self.name} ended with {self.process.returncode}:\n{self.output()}"
            return self.is_ready()
        wait_until(ready, seconds, f"{self.name} to be ready")
        return self

    def metrics(self):
        """Name -> sum over its series."""
        sums = {}
        for line in self.http("/metrics")[1].splitlines():
            if line and not line.startswith("#"):
                series, value = line.rsplit(" ", 1)
                name = series.split("{")[0]
                sums[name] = sums.get(name, 0) + float(value)
        return sums

    def gauges(self):
        metrics = self.metrics()
        return {name: metrics.get(name) for name in GAUGES_BACK_TO_ZERO}

    def ask(self, *words):
        """A subcommand or an option, with this program's file: (exit status, what it said)."""
        answer = subprocess.run([self.binary(), *words, "--config", self.config], capture_output=True, text=True, timeout=20, check=False)
        return answer.returncode, answer.stdout + answer.stderr

    def status(self):
        """What the admin socket says, as an object."""
        status, text = self.ask("status", "--json")
        assert status == 0, f"status of {self.name}: {status}\n{text}"
        return json.loads(text)

    def check(self):
        """`--check` on the configuration: (exit status, what it said)."""
        self.write()
        return self.ask("--check")

    def reload(self):
        """Writes the tables and asks for a reload; returns once they are in force."""
        self.write()
        assert (answer := self.ask("reload")) == (0, "reloaded\n"), f"reload of {self.name}: {answer}"


class Server(CulvertProgram):
    kind = "server"

    def __init__(self, case, credentials, name="server", trust_domain=certificates.TRUST_DOMAIN):
        self.port = free_port()
        super().__init__(case, name, {
            "tunnel": {"listen": f"127.0.0.1:{self.port}", "certificate": credentials.certificate,
                       "private_key": credentials.private_key, "client_ca": credentials.ca, "trust_domain": trust_domain},
            "service_mapping": [], "virtual_listener": []})

    def service(self, service_id, port, account=ACCOUNT):
        """Cloud side: what an agent's channel may reach."""
        self.tables["service_mapping"].append({"account": account, "service_id": service_id, "internal_address": f"127.0.0.1:{port}"})

    def listener(self, virtual_host, account=ACCOUNT, **more):
        """Cloud side: a local port that leads to an on-premise virtual host. Returns the port."""
        port = free_port()
        self.tables["virtual_listener"].append(
            {"listen": f"127.0.0.1:{port}", "account": account, "virtual_host": virtual_host, **more})
        return port


class Agent(CulvertProgram):
    kind = "agent"

    def __init__(self, case, name="agent"):
        super().__init__(case, name, {"server": [], "channel": [], "system_mapping": []})

    def connect(self, server_port, credentials, **more):
        self.tables["server"].append({"address": f"127.0.0.1:{server_port}", "server_name": "localhost", "ca": credentials.ca,
                                      "certificate": credentials.certificate, "private_key": credentials.private_key, **more})

    def channel(self, server_port, service_id, **more):
        """On-premise side: a local port that leads to a service behind a server. Returns the port."""
        port = free_port()
        self.tables["channel"].append({"endpoint": f"tcp://127.0.0.1:{server_port}/{service_id}", "listen": f"127.0.0.1:{port}", **more})
        return port

    def web(self, virtual_host, port, resources=None, **more):
        """A mapping of HTTP; everything may be asked for unless `resources` says less."""
        self.mapping(virtual_host, port, **{"protocol": "http", "resource": resources or [{"path": "/", "match": "sub_paths"}], **more})

    def mapping(self, virtual_host, port, protocol="tcp", **more):
        """Not dialled when it is loaded: back ends of tests count their connections."""
        self.tables["system_mapping"].append(
            {"protocol": protocol, "virtual": virtual_host, "internal": f"127.0.0.1:{port}", "check": False, **more})


class Pair:
    """A server and an agent of account acme, not started yet."""

    def __init__(self, case, tunnels=None):
        self.authority = certificates.Authority(case.folder / "certificates")
        self.server_credentials, self.agent_credentials = self.authority.server(), self.authority.agent()
        self.server = Server(case, self.server_credentials)
        self.agent = Agent(case)
        fixed = {"tunnels_min": tunnels, "tunnels_max": tunnels} if tunnels else {}
        self.agent.connect(self.server.port, self.agent_credentials, **fixed)

    def to_cloud(self, port, service_id="web", **more):
        """A way on-premise -> cloud to `port`; returns where to connect."""
        self.server.service(service_id, port)
        return self.agent.channel(self.server.port, service_id, **more)

    def to_premise(self, port, virtual_host="erp:443", protocol="tcp", **more):
        """A way cloud -> on-premise to `port`; returns where to connect."""
        self.agent.mapping(virtual_host, port, protocol, **more)
        return self.server.listener(virtual_host)

    def proxy(self, **more):
        """The server's HTTP proxy for account acme. Returns its URL."""
        port = free_port()
        self.server.tables["http_proxy"] = {"listen": f"127.0.0.1:{port}", "account": ACCOUNT, **more}
        return f"http://127.0.0.1:{port}"

    def socks(self, **more):
        """The server's SOCKS5 proxy; everybody who can connect may use account acme unless `more` has consumers. Returns host:port."""
        port = free_port()
        usual = {} if "consumer" in more else {"unauthenticated_account": ACCOUNT}
        self.server.tables["socks5_proxy"] = {"listen": f"127.0.0.1:{port}", **usual, **more}
        return f"127.0.0.1:{port}"

    def consumer(self, secret, virtual_hosts, **more):
        """One who may log in at the SOCKS5 proxy."""
        answer = subprocess.run([self.server.binary(), "hash-secret"], input=secret, capture_output=True, text=True, timeout=20, check=True)
        return {"name": "test", "account": ACCOUNT, "virtual_hosts": virtual_hosts, "secret_hash": answer.stdout.strip(), **more}

    def start(self):
        self.server.start().wait_until_ready()
        self.agent.start().wait_until_ready()
        return self


class Case(unittest.TestCase):
    """Base of all: a folder and programs that are gone afterwards; logs are printed when a test fails."""

    seconds = 10  # about, so that long classes start first
    alone = False  # True: measures, so nothing else may run meanwhile

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="culvert-"))
        self.folder.chmod(0o755)
        self.programs = []
        self.addCleanup(self.kill_programs)

    def kill_programs(self):
        """First politely, so that squid and PostgreSQL leave no shared memory behind, and take their children with them. What is
        left all the same is in the process group of this test class, which tests/run.py ends."""
        for program in reversed(self.programs):
            if program.is_running():
                program.send(signal.SIGCONT)
                program.send(program.stop_signal)
        for program in self.programs:
            if program.process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    program.process.wait(timeout=5)
                program.kill()

    def run(self, result=None):
        faults = lambda: len(result.failures) + len(result.errors)
        before = faults()
        super().run(result)
        if not hasattr(self, "programs"):
            return result
        if faults() > before:
            for program in self.programs:
                tail = program.output().splitlines()[-60:]
                print(f"--- {self.id()}: {program.name}", *tail, sep="\n", flush=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        return result

    def tearDown(self):
        culverts = [p for p in self.programs if isinstance(p, CulvertProgram)]
        running = [p for p in culverts if p.is_running()]
        self.assert_gauges_at_zero(running)
        # Agents first, so that none logs the loss of its server.
        for program in sorted(running, key=lambda p: p.kind):
            self.assertEqual(program.stop(), 0, f"exit status of {program.name}")
        for program in culverts:
            found = SANITIZER_REPORT.search(program.output())
            self.assertIsNone(found, f"{program.name} reports: {found and program.output()[found.start():][:4000]}")

    def assert_gauges_at_zero(self, programs):
        for program in programs:
            with contextlib.suppress(AssertionError):
                wait_until(lambda p=program: all(v == 0 for v in p.gauges().values()), 10)
            self.assertEqual(program.gauges(), dict.fromkeys(GAUGES_BACK_TO_ZERO, 0.0), f"gauges of {program.name}")

    def pair(self, **options):
        return Pair(self, **options)

    def command(self, *arguments, seconds=120, status=0, **keywords):
        """Runs a program to its end, expects this exit status (None: any), returns what it wrote."""
        answer = subprocess.run([str(a) for a in arguments], stdin=keywords.pop("stdin", subprocess.DEVNULL), stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, timeout=seconds, check=False, **keywords)
        text = answer.stdout.decode(errors="replace")
        if status is not None:
            self.assertEqual(answer.returncode, status, f"{' '.join(map(str, arguments))}:\n{text}")
        return text
