# SPDX-License-Identifier: Apache-2.0
"""The Debian packages: their build, the files that they install, and the services on a booted system, with an upgrade.
Needs root; `scripts/test --packages` runs it."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import unittest

from tests.harness import debian_system
from tests.harness.commands import run
from tests.harness.debian_system import Booted, System, field, files_of
from tests.harness.environment import ROOT
from tests.harness.hardening import missing_hardening
from tests.harness.waiting import wait_until

BUILT = pathlib.Path(os.environ.get("CULVERT_PACKAGES", ROOT / "build/packages"))
OLDER = "0.0.1"
EXPOSURE_MAX = 15  # tenths; 100 is a service without any protection
PROGRAMS = ("culvert-agent", "culvert-server")
# Words on the command line, and what the completion must offer behind them.
COMPLETIONS = {"culvert-agent": [("", "join", "status", "--config"), ("join", "--token-file", "--name", "--proxy")],
               "culvert-server": [("", "agents", "hash-secret"), ("agents", "add", "list", "disable", "--lifetime")]}
WEB, CHANNEL, LOW_PORT, TUNNEL = 8000, 5001, 443, 8042


def built(name):
    return next(path for path in BUILT.glob(f"{name}_*.deb"))


def older(folder, name):
    """The same package with a lower version and another conffile, like an older installation."""
    tree = folder / name
    run("dpkg-deb", "--raw-extract", built(name), tree)
    control = tree / "DEBIAN/control"
    control.write_text(re.sub(r"(?m)^Version: .*$", f"Version: {OLDER}", control.read_text()))
    conffile = next((tree / "etc/culvert").glob("*.toml"))
    conffile.write_text(conffile.read_text() + "\n# As it was.\n")
    package = folder / f"{name}_{OLDER}.deb"
    run("dpkg-deb", "--root-owner-group", "--build", tree, package)
    return package


TLS = "/etc/culvert/tls"
FOR_SERVER = (["ca", "/root/ca"], ["server", "/root/ca", "localhost", "--out", f"{TLS}/server"])
FOR_AGENT = (["request", "--account", "acme", "--agent", "gate", "--key", f"{TLS}/agent.key", "--out",
              "/root/agent.csr"],
             ["agent", "/root/ca", "/root/agent.csr", "--trust-domain", "example.org", "--account", "acme", "--agent",
              "gate", "--out", f"{TLS}/agent.crt"])


def make_certificates(system, *commands):
    """Makes an authority, and the keys of the programs where the packages expect them."""
    for command in commands or (*FOR_SERVER, *FOR_AGENT):
        system.run("culvert-certificates", *command)
    system.run("cp", "/root/ca/ca.crt", "/root/ca/ca.key", TLS)
    system.run("sh", "-c", f"chown root:culvert {TLS}/*; chmod 640 {TLS}/*")


SERVER = f"""
[tunnel]
listen = "127.0.0.1:{TUNNEL}"
certificate = "tls/server.crt"
private_key = "tls/server.key"
client_ca = "tls/ca.crt"
trust_domain = "example.org"
[[service_mapping]]
account = "acme"
service_id = "web"
internal_address = "127.0.0.1:{WEB}"
"""
ENROLLING = SERVER.replace('client_ca = "tls/ca.crt"\n', "") + f"""
[enrolment]
authority_certificate = "tls/ca.crt"
authority_key = "tls/ca.key"
addresses = ["localhost:{TUNNEL}"]
"""
AGENT = f"""
[[server]]
address = "localhost:{TUNNEL}"
certificate = "tls/agent.crt"
private_key = "tls/agent.key"
ca = "tls/ca.crt"
[[channel]]
listen = "127.0.0.1:{CHANNEL}"
service_id = "web"
[[channel]]
listen = "127.0.0.1:{LOW_PORT}"
service_id = "web"
"""


class Made(unittest.TestCase):
    """The packages that build-deb makes."""

    def test_lintian_finds_no_error(self):
        run("lintian", "--fail-on=error", next(BUILT.glob("*.changes")), seconds=600)

    def test_the_same_tree_gives_the_same_bytes(self):
        """In another folder. ccache has the objects of the first build unless they depend on the folder; with
        CCACHE_DISABLE=1 in the environment everything is compiled again."""
        folder = ROOT / "build/packages-again"
        run(ROOT / "packaging/build-deb", folder, seconds=3600)
        again = {path.name: path.read_bytes() for path in folder.glob("*.deb")}
        self.assertEqual(len(again), 4, again.keys())
        for name, content in again.items():
            self.assertTrue((BUILT / name).read_bytes() == content, f"{name} differs; diffoscope shows where")

    def test_the_programs_are_hardened_and_stripped(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in PROGRAMS:
                run("dpkg-deb", "--extract", built(name), folder)
                self.assertEqual(missing_hardening(f"{folder}/usr/bin/{name}"), [], name)

    def test_the_debug_symbols_belong_to_the_programs(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in PROGRAMS:
                run("dpkg-deb", "--extract", built(name), folder)
                run("dpkg-deb", "--extract", built(f"{name}-dbgsym"), folder)
                build_id = re.search(r"Build ID: (\w+)", run("readelf", "--notes", f"{folder}/usr/bin/{name}"))[1]
                self.assertTrue(
                    pathlib.Path(f"{folder}/usr/lib/debug/.build-id/{build_id[:2]}/{build_id[2:]}.debug").exists())

    def test_the_manual_pages_are_good_roff(self):
        with tempfile.TemporaryDirectory() as folder:
            for name in PROGRAMS:
                run("dpkg-deb", "--extract", built(name), folder)
            pages = sorted(pathlib.Path(folder).glob("usr/share/man/man?/*.gz"))
            self.assertEqual(len(pages), 6)
            for page in pages:
                said = run("sh", "-c", f"zcat {page} | mandoc -T lint -W warning", status=None)
                self.assertEqual([line for line in said.splitlines() if "missing date" not in line], [], page.name)
            # The pages have every key of the configuration, and every option of --help.
            configuration = self.page(folder, "man5/culvert-agent.toml.5")
            for key in re.findall(r"(?m)^#(\w+) = ", (ROOT / "packaging/etc/agent.toml").read_text()):
                self.assertIn(key, configuration)
            for name, command in (("agent", ()), ("server", ()), ("agent", ["join"]), ("server", ["agents"])):
                said = run(f"{folder}/usr/bin/culvert-{name}", *command, "--help")
                page = self.page(folder, f"man1/culvert-{name}.1")
                for option in re.findall(r"(?<![\w-])--[a-z-]+", said):
                    self.assertIn(option, page)
            for verb in ("add", "token", "list", "show", "disable", "enable", "remove"):
                self.assertRegex(page, rf"(?m)^ +culvert-server agents {verb}\b")

    @staticmethod
    def page(folder, name):
        return run("sh", "-c", f"zcat {folder}/usr/share/man/{name}.gz | mandoc -T utf8 -O width=200 | col -b")


class Installed(unittest.TestCase):
    """Installation and removal in a root that is not booted."""

    @classmethod
    def setUpClass(cls):
        cls.base = debian_system.base_root([built(name) for name in PROGRAMS])

    def test_an_installation_leaves_nothing_behind(self):
        with System(self.base, "installed") as system:
            before = files_of(system.root)
            system.give(*map(built, PROGRAMS))
            system.apt("install", *(f"/root/{built(name).name}" for name in PROGRAMS))
            self.check_files(system)
            self.run_both(system)
            shutil.rmtree(system.root / "etc/culvert/tls")  # Its content belongs to the administrator.
            self.remove_one(system)
            system.apt("remove", "culvert-agent")
            self.assertTrue((system.root / "etc/culvert/agent.toml").exists(), "until it is purged")
            system.apt("purge", "culvert-agent")
            after = files_of(system.root)
            self.assertEqual({path: state for path, state in after.items() if before.get(path) != state}, {})
            self.assertFalse(system.has_user("culvert"))

    def remove_one(self, system):
        """Removes one program; the other still works, since user, certificates and completion are in both packages."""
        system.apt("purge", "culvert-server")
        self.assertTrue(system.has_user("culvert"))
        system.run("culvert-agent", "--version")
        system.run("culvert-certificates", "--help")

    def check_files(self, system):
        for path, mode, owner in (("/etc/culvert/agent.toml", 0o644, "root:root"),
                                  ("/etc/culvert/server.toml", 0o644, "root:root"),
                                  ("/etc/culvert/tls", 0o750, "root:culvert"),
                                  ("/var/lib/culvert", 0o750, "culvert:culvert"),
                                  ("/var/lib/culvert-agent", 0o750, "culvert:culvert"),
                                  ("/var/lib/culvert-server", 0o750, "culvert:culvert"),
                                  ("/usr/bin/culvert-agent", 0o755, "root:root"),
                                  ("/lib/systemd/system/culvert-agent@.service", 0o644, "root:root")):
            self.assertEqual(system.run("stat", "--format=%a %U:%G", path).strip(), f"{mode:o} {owner}", path)
        for name in PROGRAMS:
            self.assertIn("/etc/culvert/", system.run("dpkg-query", "--showformat=${Conffiles}", "--show", name))
            completion = system.run("bash", "-c",
                                    f". /usr/share/bash-completion/completions/{name}; complete -p {name}")
            self.assertIn(f"culvert-{name.split('-')[1]}", completion)
            for before, *expected in COMPLETIONS[name]:
                self.assertLessEqual(set(expected), self.completed(system, name, before.split()), before)
            # Nothing starts before it has a configuration.
            self.assertFalse((system.root / f"etc/systemd/system/multi-user.target.wants/{name}.service").exists())
            self.assertIn("78", system.run("sh", "-c", f"{name} --check; echo $?"))

    @staticmethod
    def completed(system, name, before):
        """What the completion offers behind these words."""
        words = " ".join([name, *before, "''"])
        return set(system.run("bash", "-c", f". /usr/share/bash-completion/completions/{name}; COMP_WORDS=({words}); "
                              f"COMP_CWORD={len(before) + 1}; _{name.replace('-', '_')}; "
                              'echo "${COMPREPLY[@]}"').split())

    def run_both(self, system):
        make_certificates(system)
        system.write("/etc/culvert/server.toml", SERVER)
        system.write("/etc/culvert/agent.toml", AGENT.replace(f":{LOW_PORT}", ":5443"))
        for name in PROGRAMS:
            version = field(built(name), "Version")
            self.assertEqual(system.run(name, "--version").strip(), f"{name} {version}")
            system.run("setpriv", "--reuid=culvert", "--regid=culvert", "--init-groups", name, "--check")
        said = system.run("sh", "-c", """
            ip link set lo up
            culvert-server & server=$!
            culvert-agent & agent=$!
            for i in $(seq 100); do culvert-agent status 2>/dev/null | grep -q tunnels_up=2 && break; sleep 0.1; done
            culvert-agent status
            kill $agent; wait $agent; echo agent ended with $?
            kill $server; wait $server; echo server ended with $?
        """)
        self.assertIn("tunnels_up=2", said)
        self.assertIn("agent ended with 0", said)
        self.assertIn("server ended with 0", said)

    def test_the_units_are_confined(self):
        with System(self.base, "confined") as system:
            system.give(*map(built, PROGRAMS))
            system.apt("install", *(f"/root/{built(name).name}" for name in PROGRAMS))
            for unit in ("culvert-agent.service", "culvert-agent@plant.service", "culvert-server.service"):
                # For a template, an instance under its own name.
                shutil.copy(system.root / "lib/systemd/system" / re.sub("@.*?[.]", "@.", unit),
                            system.root / "root" / unit)
                verified = system.run("systemd-analyze", "verify", f"/root/{unit}")
                self.assertEqual([line for line in verified.splitlines() if "culvert" in line], [])
                system.run("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MAX}", "--no-pager",
                           f"/root/{unit}")


class Services(unittest.TestCase):
    """On a booted system, in the sandbox of the units."""

    def test_the_services_from_start_to_purge(self):
        base = debian_system.base_root([built(name) for name in PROGRAMS])
        with tempfile.TemporaryDirectory() as folder, Booted(base, "booted") as system:
            self.system = system
            first = [older(pathlib.Path(folder), name) for name in PROGRAMS]
            system.give(*first, *map(built, PROGRAMS))
            system.apt("install", *(f"/root/{package.name}" for package in first))
            self.assertEqual(self.property("culvert-agent", "ActiveState"), "inactive")
            self.start()
            self.check_sandbox()
            self.reload_under_traffic()
            self.check_watchdog()
            self.upgrade_under_traffic()
            self.stop_drains()
            self.purge()

    def test_two_commands_connect_an_agent_which_then_renews_itself(self):
        base = debian_system.base_root([built(name) for name in PROGRAMS])
        with tempfile.TemporaryDirectory() as folder, Booted(base, "joined") as system:
            self.system = system
            first = [older(pathlib.Path(folder), name) for name in PROGRAMS]
            system.give(*first, *map(built, PROGRAMS))
            system.apt("install", *(f"/root/{package.name}" for package in first))
            token = self.start_enrolling()
            self.join(token)
            self.upgrade_keeps_the_identity()
            self.assert_renewed()
            self.purge()

    def start_enrolling(self):
        """A server as docs/quick-start.md has it. Returns the token of an agent with a certificate of one minute."""
        self.assertEqual(self.system.peer("serve", WEB).stdout.readline(), "serving\n")
        make_certificates(self.system, *FOR_SERVER)
        self.system.write("/etc/culvert/server.toml", ENROLLING)
        self.system.run("culvert-server", "--check")
        self.system.run("systemctl", "enable", "--now", "culvert-server")
        return self.system.run("culvert-server", "agents", "add", "gate", "--account", "acme", "--lifetime", "1m")

    def join(self, token):
        """As docs/install.md has it. The umask is that of a careful administrator."""
        conffile = self.system.root / "etc/culvert/agent.toml"
        conffile.write_text(conffile.read_text() + f'[[channel]]\nlisten = "{CHANNEL}"\nservice_id = "web"\n')
        began = time.monotonic()
        said = self.system.run("sh", "-c", "umask 077 && culvert-agent join", input=token.encode(), stdin=None)
        self.system.run("systemctl", "enable", "--now", "culvert-agent")
        self.wait_for_tunnels()
        self.assert_complete(self.download(CHANNEL, 0))
        seconds = time.monotonic() - began
        print(f"note: {seconds:.1f} s from the token to the first request")
        self.assertLess(seconds, 10)
        self.assertIn("joined as spiffe://example.org/account/acme/agent/gate", said)
        self.assertIn("/etc/culvert/agent.toml.d/localhost.toml has the server", said)
        self.check_identity()

    def check_identity(self):
        """Only the user of the service can read the key, whoever wrote it."""
        place = "/var/lib/culvert-agent/localhost"
        for path, mode in (("", "700"), ("/current/", "700"), ("/current/key.pem", "600"),
                           ("/current/certificate.pem", "644"), ("/current/authorities.pem", "644")):
            self.assertEqual(self.system.run("stat", "--format=%a %U:%G", place + path).strip(),
                             f"{mode} culvert:culvert", path)
        self.assertEqual(self.system.run("find", place, "!", "-user", "culvert"), "")

    def upgrade_keeps_the_identity(self):
        serial = self.serial()
        pids = [self.main_pid(unit) for unit in PROGRAMS]
        self.system.apt("install", *(f"/root/{built(name).name}" for name in PROGRAMS),
                        "-o", "Dpkg::Options::=--force-confold")
        self.assertFalse({self.main_pid(unit) for unit in PROGRAMS} & set(pids), "both were restarted")
        self.wait_for_tunnels()
        self.assert_complete(self.download(CHANNEL, 0))
        if "identity.renewed" not in self.journal("culvert-agent"):
            self.assertEqual(self.serial(), serial)

    def serial(self):
        return json.loads(self.system.run("culvert-agent", "status", "--json"))["identities"][0]["serial"]

    def assert_renewed(self):
        """Within the sandbox, and so that a restart finds it."""
        wait_until(lambda: "identity.renewed" in self.journal("culvert-agent"), 60, "the renewal", every=1)
        self.check_identity()
        self.system.run("systemctl", "restart", *PROGRAMS)
        self.wait_for_tunnels()
        self.assert_complete(self.download(CHANNEL, 0))
        shown = json.loads(self.system.run("culvert-server", "agents", "show", "gate", "--json"))
        self.assertEqual(self.serial(), shown["serial"])
        self.assertEqual(self.journal("culvert-server").count("agent.joined"), 1)

    def property(self, unit, name):
        return self.system.run("systemctl", "show", "--value", f"--property={name}", unit).strip()

    def journal(self, unit):
        return self.system.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}")

    def main_pid(self, unit):
        return int(self.property(unit, "MainPID"))

    def wait_for_tunnels(self):
        wait_until(lambda: "tunnels_up=2" in self.system.run("culvert-agent", "status", status=None), 20, "two tunnels")

    def download(self, port, seconds):
        return self.system.peer("download", port, seconds)

    def assert_complete(self, process):
        out, _ = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 0, f"a download ended early: {out}")

    def start(self):
        self.assertEqual(self.system.peer("serve", WEB).stdout.readline(), "serving\n")
        make_certificates(self.system)
        self.system.write("/etc/culvert/server.toml", SERVER)
        self.system.write("/etc/culvert/agent.toml", AGENT)
        shutil.copy(ROOT / "packaging/examples/culvert-agent.socket", self.system.root / "etc/systemd/system")
        self.system.run("systemctl", "daemon-reload")
        self.system.run("systemctl", "start", "culvert-server.service", "culvert-agent.socket", "culvert-agent.service")
        self.wait_for_tunnels()
        self.assert_complete(self.download(CHANNEL, 0))
        self.assert_complete(self.download(LOW_PORT, 0))
        wait_until(lambda: self.property("culvert-agent", "StatusText") == "2 tunnels up, 0 streams", 10,
                   "the line of systemctl status")

    def check_sandbox(self):
        """Checks the sandbox of the process itself, not of the unit."""
        for unit in PROGRAMS:
            process = pathlib.Path("proc") / str(self.main_pid(unit))
            state = dict(line.split(":\t", 1) for line in self.system.run("cat",
                                                                          f"/{process}/status").splitlines()
                         if ":\t" in line)
            self.assertEqual((state["CapEff"], state["CapBnd"], state["NoNewPrivs"], state["Seccomp"]),
                             ("0" * 16, "0" * 16, "1", "2"))
            self.assertEqual(state["Uid"].split()[0], self.system.run("id", "--user", "culvert").strip())
            self.assertRegex(self.system.run("cat", f"/{process}/limits"), r"Max core file size\s+0\s+0")
            key = (self.system.root / f"etc/culvert/tls/{unit.split('-')[1]}.key").read_text().splitlines()[1]
            for place in ("cmdline", "environ"):
                self.assertNotIn(key, self.system.run("cat", f"/{process}/{place}"))
            self.assertNotIn(key, self.journal(unit))

    def reload_under_traffic(self):
        process = self.download(CHANNEL, 8)
        for turn in range(20):
            channel = f'[[channel]]\nlisten = "127.0.0.1:{6000 + turn}"\nservice_id = "web"\n'
            self.system.write("/etc/culvert/agent.toml", AGENT + channel)
            self.system.run("systemctl", "reload", "culvert-agent")
        wait_until(lambda: "listen=127.0.0.1:6019" in self.system.run("culvert-agent", "status"), 10,
                   "the last channel")
        self.assert_complete(self.download(6019, 0))
        self.system.write("/etc/culvert/agent.toml", AGENT + "what = 1\n")
        self.system.run("systemctl", "reload", "culvert-agent")
        line = AGENT.count("\n") + 1
        wait_until(lambda: f"agent.toml:{line}: " in self.journal("culvert-agent"), 10, "the line of the error")
        self.assert_complete(self.download(6019, 0))
        self.system.write("/etc/culvert/agent.toml", AGENT)
        self.assert_complete(process)

    def check_watchdog(self):
        drop_in = "/etc/systemd/system/culvert-agent.service.d/watchdog.conf"
        self.system.write(drop_in, "[Service]\nWatchdogSec=2s\n")
        self.system.run("systemctl", "daemon-reload")
        self.system.run("systemctl", "restart", "culvert-agent")
        before = self.main_pid("culvert-agent")
        self.system.run("sleep", "5")
        self.assertEqual(self.main_pid("culvert-agent"), before, "it feeds its watchdog")
        self.system.run("kill", "-STOP", before)
        wait_until(lambda: self.main_pid("culvert-agent") not in (before, 0), 30, "systemd to end and restart it")
        self.assertIn("Watchdog timeout", self.system.run("journalctl", "--no-pager", "--unit=culvert-agent"))
        self.assertEqual(list((self.system.root / "var/lib").glob("systemd/coredump/*")), [])
        (self.system.root / drop_in[1:]).unlink()
        self.system.run("systemctl", "daemon-reload")
        self.system.run("systemctl", "restart", "culvert-agent")
        self.wait_for_tunnels()

    def upgrade_under_traffic(self):
        pids = [self.main_pid(unit) for unit in PROGRAMS]
        download = self.download(LOW_PORT, 6)
        connects = self.system.peer("connect", LOW_PORT)
        self.system.apt("install", f"/root/{built('culvert-agent').name}", "-o", "Dpkg::Options::=--force-confold")
        self.wait_for_tunnels()
        self.assert_complete(download)
        answer = json.loads(connects.communicate(timeout=120)[0])
        self.assertEqual(answer["faults"], [], f"of {answer['tries']} connections")
        self.assertGreater(answer["tries"], 50)
        self.assertNotEqual(self.main_pid("culvert-agent"), pids[0])
        self.assertEqual(self.main_pid("culvert-server"), pids[1])
        self.assertEqual((self.system.root / "etc/culvert/agent.toml").read_text(), AGENT)
        self.system.apt("install", f"/root/{built('culvert-server').name}", "-o", "Dpkg::Options::=--force-confold")
        self.assertNotEqual(self.main_pid("culvert-server"), pids[1])
        self.wait_for_tunnels()
        self.assert_complete(self.download(CHANNEL, 0))

    def stop_drains(self):
        download = self.download(CHANNEL, 4)
        wait_until(lambda: "1 stream" in self.property("culvert-agent", "StatusText"), 10, "the stream")
        self.system.run("systemctl", "stop", "culvert-agent")
        self.assert_complete(download)
        self.assertEqual(self.property("culvert-agent", "Result"), "success")
        self.assertEqual(self.property("culvert-agent", "ExecMainStatus"), "0")

    def purge(self):
        self.system.run("rm", "-rf", "/etc/culvert/tls", "/etc/systemd/system/culvert-agent.socket")
        self.system.apt("purge", *PROGRAMS)
        made = ("/etc/culvert", "/run/culvert", "/var/lib/culvert", "/var/lib/culvert-agent", "/var/lib/culvert-server")
        left = self.system.run("ls", "--directory", *made, status=2)
        self.assertEqual(left.count("No such file"), len(made), left)
        self.assertEqual(self.system.run("find", "/etc/systemd/system", "-name", "culvert*"), "")
        self.assertEqual(self.system.run("pgrep", "--list-full", "culvert-", status=1), "")
        self.assertFalse(self.system.has_user("culvert"))


def setUpModule():
    if os.geteuid() != 0:
        raise AssertionError("the packages are tested as root")
    if "CULVERT_PACKAGES" not in os.environ:
        print(subprocess.run([ROOT / "packaging/build-deb"], check=True, capture_output=True, text=True,
                             timeout=3600).stdout)


if __name__ == "__main__":
    unittest.main(verbosity=2)
