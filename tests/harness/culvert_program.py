# SPDX-License-Identifier: Apache-2.0
"""culvert-server and culvert-agent: their configuration, their subcommands, what their metrics port and their admin
socket report."""

import json
import urllib.error
import urllib.request

from tests.harness import certificates
from tests.harness.commands import outcome_of
from tests.harness.environment import BUILD
from tests.harness.ports import free_port
from tests.harness.program import Program
from tests.harness.toml_text import toml
from tests.harness.waiting import wait_until

ACCOUNT = "acme"
# Exit statuses, named as in sysexits.h; systemd's RestartPreventExitStatus uses them.
USAGE, TRY_AGAIN, CONFIGURATION = 64, 75, 78
# Gauges of what exists only while traffic flows: zero in both programs once it has ended.
GAUGES_BACK_TO_ZERO = ["culvert_streams", "culvert_relays", "culvert_clients", "culvert_stream_buffer_bytes",
                       "culvert_stream_window_bytes",
                       "culvert_dials_in_flight"]


class CulvertProgram(Program):
    """culvert-server or culvert-agent. `tables` is its configuration; change it, then call reload()."""

    kind, host = "", "127.0.0.1"  # the address at which tests reach its ports

    def __init__(self, case, name, tables):
        self.config = case.folder / f"{name}.toml"
        self.metrics_port = free_port()
        self.tables = tables
        tables.setdefault("metrics", {"listen": f"127.0.0.1:{self.metrics_port}"})
        tables.setdefault("admin", {"socket": str(case.folder / f"{name}.sock")})
        self.executable = self.binary()
        super().__init__(case, name, [self.executable, "--config", self.config])

    @classmethod
    def binary(cls, build=BUILD):
        return build / cls.kind / f"culvert-{cls.kind}"

    def use_build(self, build):
        """Runs the program of this build folder from the next start on."""
        self.executable = self.binary(build)
        self.command[0] = str(self.executable)

    def write(self):
        # By renaming, as editors and Kubernetes do, so that no reader sees half a file.
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
            assert self.is_running(), f"{self.name} exited with {self.process.returncode}:\n{self.output()}"
            return self.is_ready()
        wait_until(ready, seconds, f"{self.name} to be ready")
        return self

    def metrics(self):
        """Metric name -> sum over its series."""
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
        """Runs a subcommand or an option with this program's configuration: (exit status, output)."""
        return outcome_of(self.executable, *words, "--config", self.config)

    def status(self):
        """The status that the admin socket reports, as an object."""
        status, text = self.ask("status", "--json")
        assert status == 0, f"status of {self.name}: {status}\n{text}"
        return json.loads(text)

    def check(self):
        """Runs `--check` on the configuration: (exit status, output)."""
        self.write()
        return self.ask("--check")

    def reload(self):
        """Writes the tables and reloads; returns once they are in force."""
        self.write()
        assert (answer := self.ask("reload")) == (0, "reloaded\n"), f"reload of {self.name}: {answer}"


class Server(CulvertProgram):
    kind = "server"

    def __init__(self, case, credentials, name="server", trust_domain=certificates.TRUST_DOMAIN):
        self.port = free_port()
        super().__init__(case, name, {
            "tunnel": {"listen": f"127.0.0.1:{self.port}", "certificate": credentials.certificate,
                       "private_key": credentials.private_key, "client_ca": credentials.ca,
                       "trust_domain": trust_domain},
            "service_mapping": [], "virtual_listener": []})

    def service(self, service_id, port, account=ACCOUNT):
        """Cloud side: a service that an agent's channel may reach."""
        self.tables["service_mapping"].append({"account": account, "service_id": service_id,
                                               "internal_address": f"127.0.0.1:{port}"})

    def listener(self, virtual_host, account=ACCOUNT, **more):
        """Cloud side: a local port for an on-premise virtual host. Returns the port."""
        port = free_port()
        self.tables["virtual_listener"].append(
            {"listen": f"127.0.0.1:{port}", "account": account, "virtual_host": virtual_host, **more})
        return port


class Agent(CulvertProgram):
    kind = "agent"

    def __init__(self, case, name="agent"):
        super().__init__(case, name, {"server": [], "channel": [], "system_mapping": []})

    def connect(self, server_port, credentials, **more):
        self.tables["server"].append({"address": f"127.0.0.1:{server_port}", "server_name": "localhost",
                                      "ca": credentials.ca, "certificate": credentials.certificate,
                                      "private_key": credentials.private_key, **more})

    def channel(self, server_port, service_id, **more):
        """On-premise side: a local port for a service behind a server. Returns the port."""
        port = free_port()
        self.tables["channel"].append({"endpoint": f"tcp://127.0.0.1:{server_port}/{service_id}",
                                       "listen": f"127.0.0.1:{port}", **more})
        return port

    def web(self, virtual_host, port, resources=None, **more):
        """An HTTP mapping. It exposes every path unless `resources` exposes less."""
        self.mapping(virtual_host, port, **{"protocol": "http",
                                            "resource": resources or [{"path": "/", "match": "sub_paths"}], **more})

    def mapping(self, virtual_host, port, protocol="tcp", **more):
        """A mapping that is not dialled when it is loaded: back ends of tests count their connections."""
        self.tables["system_mapping"].append(
            {"protocol": protocol, "virtual": virtual_host, "internal": f"127.0.0.1:{port}", "check": False, **more})
