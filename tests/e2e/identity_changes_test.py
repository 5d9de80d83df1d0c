# SPDX-License-Identifier: Apache-2.0
"""Identities that change when something else goes wrong, or everything at once: an authority that is replaced, clocks
that are wrong, programs that are killed in the middle, disks that are full."""

import contextlib
import itertools
import os
import shutil
import signal
import ssl
import time
import unittest

from tests.harness.bare_agent import BareAgent
from tests.harness.case import Case
from tests.harness.certificates import Authority, Credentials, serial_of
from tests.harness.clocks import all_clocks_wrong_by, clock_in, clock_wrong_by
from tests.harness.commands import openssl, run
from tests.harness.culvert_program import ACCOUNT, CONFIGURATION, TRY_AGAIN, Agent
from tests.harness.echo_client import assert_echoes, assert_still_echoes, open_echo_stream
from tests.harness.echo_load import EchoLoad
from tests.harness.enrolment import EnrolledPair, age, certificates_in, killed_at
from tests.harness.environment import AS_ROOT, SCALE
from tests.harness.tcp_server import echo_port
from tests.harness.waiting import wait_until

MINUTE, DAY = 60, 86_400


def seasoned_authority(folder):
    """One that has been there for a while, so that certificates can be dated back."""
    with all_clocks_wrong_by(-60 * DAY):
        return Authority(folder, days=120)


def serial_in(identity):
    return serial_of(identity / "current" / "certificate.pem")


class SlowEchoLoad(EchoLoad):
    def request(self):
        super().request()
        time.sleep(0.02)


class ReplacedAuthority(Case):
    """docs/security.md, "Replacing the authority", with certificates of one minute."""

    seconds = 130

    def put(self, **texts):
        """Writes files of the server as an administrator does, one after the other."""
        for name, text in texts.items():
            file = self.folder / name.replace("_", ".")
            file.touch(0o600)
            file.write_text(text)

    def test_no_request_fails_while_the_authority_is_replaced(self):
        old, new = (Authority(self.folder / name, name=name) for name in ("old", "new"))
        old_ca, new_ca = old.ca.read_text(), new.ca.read_text()
        pair = EnrolledPair(self, old)
        server = old.server()
        self.put(authority_pem=old_ca, authority_key=old.key.read_text(), server_pem=server.certificate.read_text(),
                 server_key=server.private_key.read_text())
        pair.server.tables["enrolment"] |= {"authority_certificate": self.folder / "authority.pem",
                                            "authority_key": self.folder / "authority.key"}
        pair.server.tables["tunnel"] |= {"certificate": self.folder / "server.pem",
                                         "private_key": self.folder / "server.key"}
        to_cloud, to_premise = pair.to_cloud(echo_port(self)), pair.to_premise(echo_port(self))
        pair.server.start().wait_until_ready()
        pair.join(pair.token("one", "--lifetime", "1m"))
        pair.use_identity()
        pair.agent.start().wait_until_ready()
        # Agents that were off while others heard of the new authority, and while others got a certificate of it.
        pair.join(pair.token("early", "--location", "elsewhere"), self.folder / "early")
        trusted = lambda identity=pair.identity: certificates_in(identity / "current" / "authorities.pem")
        self.assertEqual(trusted(), certificates_in(old.ca))

        with SlowEchoLoad(self, to_cloud) as up, SlowEchoLoad(self, to_premise) as down:
            # Step 1: everybody hears of the new one.
            self.put(authority_pem=old_ca + new_ca)
            pair.server.reload()
            both = certificates_in(old.ca) | certificates_in(new.ca)
            wait_until(lambda: trusted() == both, 2 * MINUTE, "the agent to hear of both authorities", every=0.5)
            pair.join(pair.token("between", "--location", "elsewhere"), self.folder / "between")
            self.assertEqual(trusted(self.folder / "between"), both)
            pair.join(pair.token("ended", "--location", "elsewhere", "--lifetime", "1m"), self.folder / "ended")
            token_of_step_1 = pair.token("late")

            # Step 2: the new one signs, agents and the server.
            server = new.server()
            self.put(authority_pem=new_ca + old_ca, authority_key=new.key.read_text(),
                     server_pem=server.certificate.read_text(), server_key=server.private_key.read_text())
            pair.server.reload()
            between = self.start_agent(pair, "between")
            between.wait_until_ready()
            early = self.start_agent(pair, "early")
            early.wait_for_output("code=tls.unknown_ca")
            self.assertIn("(tls.wrong_pin)", pair.join(token_of_step_1, self.folder / "late", status=CONFIGURATION))
            wait_until(lambda: self.issuer_of(pair.identity) == "CN=new CA", 2 * MINUTE, "a new certificate", every=0.5)
            self.assertEqual(trusted(), both)

            # Step 3: the old one is removed.
            between.stop()
            self.put(authority_pem=new_ca)
            pair.server.reload()
            wait_until(lambda: trusted() == certificates_in(new.ca), 2 * MINUTE, "the old authority to go", every=0.5)
            wait_until(lambda: len(pair.server.status()["tunnels"]) == 2, 20, "the old tunnels to leave")
        for load in (up, down):
            self.assertEqual(load.failures[:3], [])
            self.assertGreater(load.answered, 1000)
        self.assertNotIn(" warn ", pair.agent.output())

        # Who has only a certificate of the old authority does not come in, nor gets another one by it.
        between.start()
        between.wait_for_output("code=tls.peer_refused")
        self.assertIn("not signed by a CA that it trusts", between.output())
        pair.server.wait_for_output("code=tls.unknown_ca")
        files = self.folder / "between" / "current"
        bare = BareAgent(self, pair.server.port, Credentials(files / "certificate.pem", files / "key.pem", new.ca))
        with self.assertRaisesRegex(ssl.SSLError, "UNKNOWN_CA"):
            bare.greet()
        ended = self.start_agent(pair, "ended")
        ended.wait_for_output("code=join.request_refused")
        self.assertIn("join again with a new token", ended.output())
        # Joining again helps.
        between.stop()
        pair.join(pair.agents("token", "between"), self.folder / "between")
        between.start().wait_until_ready()

    def start_agent(self, pair, name):
        agent = Agent(self, f"{name}-agent")
        pair.use_identity(agent, self.folder / name)
        return agent.start()

    def issuer_of(self, identity):
        return openssl("x509", "-in", identity / "current" / "certificate.pem", "-noout", "-issuer", "-nameopt",
                       "rfc2253").strip().removeprefix("issuer=")


WORKS = "identity.renewed"
CLOCK = "code=join.clock"
# Whose clock is wrong, and by how much: what joining leads to with certificates of 30 days and of one day, and what the
# renewals of such certificates lead to. Certificates are dated back by 5 minutes, and read with a leeway of 5 minutes.
CLOCKS = [
    ("agent", +10 * MINUTE, {"month": (WORKS, WORKS), "day": (WORKS, WORKS)}),
    ("agent", -10 * MINUTE, {"month": (WORKS, WORKS), "day": (WORKS, WORKS)}),
    ("agent", +2 * DAY, {"month": (WORKS, WORKS), "day": (CLOCK, CLOCK)}),
    ("agent", -2 * DAY, {"month": (CLOCK, CLOCK), "day": (CLOCK, CLOCK)}),
    ("server", +10 * MINUTE, {"month": (WORKS, WORKS), "day": (WORKS, WORKS)}),
    ("server", -10 * MINUTE, {"month": (WORKS, WORKS), "day": (WORKS, WORKS)}),
    ("server", +2 * DAY, {"month": (CLOCK, CLOCK), "day": (CLOCK, CLOCK)}),
    ("server", -2 * DAY, {"month": (WORKS, WORKS), "day": (CLOCK, CLOCK)}),
]


@unittest.skipIf(SCALE != 1, "libfaketime and sanitizers do not go together")
class WrongClocks(Case):
    """Joining and renewal work, or fail with a message that names the clocks."""

    seconds = 20
    # Of certificates that are due, and have not ended, also by a clock that is wrong by two days: that of a month is
    # due after 17 to 23 days.
    AGES = {"month": 26 * DAY, "day": 20 * 3600}

    def setUp(self):
        super().setUp()
        with all_clocks_wrong_by(-50 * DAY):
            self.pair = EnrolledPair(self, seasoned_authority(self.folder / "certificates"))
        self.server, self.agent = self.pair.server, self.pair.agent

    def start_server(self, wrong_by):
        self.server.environment = clock_wrong_by(wrong_by)
        self.server.start().wait_until_ready()

    def join(self, token, directory, wrong_by, status=0):
        return self.pair.join(token, directory, status, environment=clock_wrong_by(wrong_by))

    def test_joins_and_renewals_work_or_name_the_clock(self):
        for life, past in self.AGES.items():
            self.start_server(-past)
            self.join(self.pair.token(life, "--lifetime", {"month": "30d", "day": "1d"}[life]), self.folder / life,
                      -past)
            age(self.folder / life, past)
            self.server.stop()
        for number, (who, wrong_by, outcomes) in enumerate(CLOCKS):
            with self.subTest(who=who, wrong_by=wrong_by):
                clocks = {"agent": 0, "server": 0, who: wrong_by}
                self.start_server(clocks["server"])
                self.check_joins(number, clocks["agent"], outcomes)
                self.check_renewals(number, clocks["agent"], outcomes)
                self.server.stop()

    def check_joins(self, number, wrong_by, outcomes):
        for life, (outcome, _) in outcomes.items():
            token = self.pair.token(f"{life}-{number}", "--lifetime", {"month": "30d", "day": "1d"}[life])
            directory = self.folder / f"joined-{life}-{number}"
            said = self.join(token, directory, wrong_by, 0 if outcome == WORKS else TRY_AGAIN)
            self.assertEqual((directory / "current").exists(), outcome == WORKS)
            if outcome == WORKS:
                self.assertIn("joined as", said)
            else:
                self.assertIn("set the two clocks right (NTP) (join.clock)", said)
                # Once the clocks are right, the same token still works.
                self.assertIn("joined as", self.join(token, directory, self.server_wrong_by(number)))

    def server_wrong_by(self, number):
        who, wrong_by, _ = CLOCKS[number]
        return wrong_by if who == "server" else 0

    def check_renewals(self, number, wrong_by, outcomes):
        agent = Agent(self, f"agent-{number}")
        agent.environment = clock_wrong_by(wrong_by)
        for life in outcomes:
            shutil.copytree(self.folder / life, self.folder / f"{life}-{number}", symlinks=True)
            self.pair.use_identity(agent, self.folder / f"{life}-{number}", name=life)
        agent.start()
        for life, (_, outcome) in outcomes.items():
            event = outcome if outcome == WORKS else "identity.not_renewed"
            wait_until(lambda life=life, event=event, outcome=outcome: any(
                event in line and f"server={life} " in line and outcome in line
                for line in agent.output().splitlines()), 20, f"{outcome} of {life}")
        if all(outcome == WORKS for _, outcome in outcomes.values()):
            agent.wait_until_ready()
        status = agent.status()
        for each in status["servers"]:
            if each["tunnels_up"] == 0:
                self.assertIn("clock", each["last_error"])
        for each in status["identities"]:
            if outcomes[each["server"]][1] == CLOCK:
                self.assertIn("set the two clocks right", each["last_error"])
        agent.stop()

    def test_an_agent_whose_clock_is_put_right_comes_in(self):
        # As after the start of a machine whose clock has lost its battery.
        self.start_server(0)
        self.pair.join(self.pair.token())
        self.pair.use_identity()
        clock = self.folder / "clock"
        clock.write_text(f"-{2 * DAY}\n")
        self.agent.environment = clock_in(clock)
        self.agent.start()
        self.agent.wait_for_output(CLOCK)
        self.assertFalse(self.agent.is_ready())
        clock.write_text("+0\n")
        self.agent.wait_until_ready(30)

    def test_a_server_whose_certificate_is_new_is_refused_with_the_clock_as_a_reason(self):
        authority = Authority(self.folder / "fresh")
        server = authority.server()
        self.server.tables["tunnel"] |= {"certificate": server.certificate, "private_key": server.private_key}
        self.server.tables["enrolment"] |= {"authority_certificate": authority.ca, "authority_key": authority.key}
        self.start_server(0)
        token = self.pair.token()
        for wrong_by in (-20 * MINUTE, -2 * DAY, +40 * DAY):
            with self.subTest(wrong_by=wrong_by):
                said = self.join(token, self.pair.identity, wrong_by, CONFIGURATION)
                self.assertRegex(said, r"the server's .* clock.* \(tls\.certificate_(not_yet_valid|expired)\)")


@unittest.skipIf(SCALE != 1, "the sanitizer of leaks does not work below strace")
class Killed(Case):
    """SIGKILL in place of each system call that changes the files of an identity."""

    seconds = 35
    CALLS = ("mkdirat", "fchmod", "fsync", "symlinkat", "renameat", "unlinkat")

    def setUp(self):
        super().setUp()
        self.pair = EnrolledPair(self, seasoned_authority(self.folder / "certificates"))
        self.port = self.pair.to_cloud(echo_port(self))
        self.pair.server.start().wait_until_ready()
        self.pair.use_identity()

    def assert_agent_comes_in(self, renews=""):
        """And renews the certificate with the serial `renews`."""
        self.pair.agent.start().wait_until_ready()
        assert_echoes(self, self.port)
        if renews:
            self.pair.server.wait_for_output(f"earlier={renews} ")
        self.pair.agent.kill()

    def test_joining_again(self):
        pair, points = self.pair, 0
        pair.join(pair.token())
        for call in (*self.CALLS, "write"):
            for number in itertools.count(1):
                token, before = pair.agents("token", "one"), serial_in(pair.identity)
                said = pair.join(token, status=None, below=killed_at(call, number))
                if "joined as" in said:
                    break
                points += 1
                self.assert_agent_comes_in()
                if serial_in(pair.identity) == before:
                    pair.join(token)
                    self.assertNotEqual(serial_in(pair.identity), before)
        self.assertGreaterEqual(points, 20)
        self.assert_agent_comes_in()

    def test_renewing(self):
        pair, points = self.pair, 0
        pair.join(pair.token("one", "--lifetime", "1m"))
        plain = pair.agent.command
        renewals = lambda: pair.agent.output().count("info identity.renewed")
        for call in self.CALLS:
            for number in itertools.count(1):
                age(pair.identity, 5 * MINUTE)
                pair.agent.command, done = [*killed_at(call, number), *plain], renewals()
                pair.agent.start()
                wait_until(lambda done=done: not pair.agent.is_running() or renewals() > done, 20, "an end")
                pair.agent.kill()
                if renewals() > done:
                    break
                points += 1
                self.assertEqual(pair.agent.exit_status(), -signal.SIGKILL)
                pair.agent.command = plain
                age(pair.identity, 5 * MINUTE)
                self.assert_agent_comes_in(renews=serial_in(pair.identity))
        self.assertGreaterEqual(points, 15)


@unittest.skipUnless(AS_ROOT, "only root mounts file systems")
class FullDisks(Case):
    seconds = 8

    def setUp(self):
        super().setUp()
        self.disk = self.folder / "disk"
        self.disk.mkdir()
        run("mount", "-t", "tmpfs", "-o", "size=64k,mode=0755", "tmpfs", self.disk)
        self.addCleanup(run, "umount", "--lazy", self.disk)
        self.pair = EnrolledPair(self, seasoned_authority(self.folder / "certificates"))
        self.port = self.pair.to_cloud(echo_port(self))

    def fill(self, pages_left=0):
        with open(self.disk / "ballast", "wb", buffering=0) as ballast, contextlib.suppress(OSError):
            while True:
                ballast.write(bytes(4096))
        with open(self.disk / "ballast", "r+b") as ballast:
            size = ballast.seek(0, os.SEEK_END)
            ballast.truncate(size - 4096 * pages_left)

    def make_room(self):
        (self.disk / "ballast").unlink()

    def join_on_disk(self, *options):
        self.pair.identity = self.disk / "identity"
        self.pair.server.start().wait_until_ready()
        self.pair.join(self.pair.token("one", *options))
        self.pair.use_identity()

    def assert_old_one_works(self, serial):
        self.assertEqual(serial_in(self.pair.identity), serial)
        self.pair.agent.start().wait_until_ready()
        assert_echoes(self, self.port)
        self.pair.agent.stop()

    def test_an_agent_that_joins_again_on_a_full_disk_keeps_its_identity(self):
        self.join_on_disk()
        # One page is enough for the key, and the token is used up before the rest is written.
        for pages_left in (0, 1):
            token, serial = self.pair.agents("token", "one"), serial_in(self.pair.identity)
            self.fill(pages_left)
            said = self.pair.join(token, status=CONFIGURATION)
            self.assertRegex(said, f"cannot write {self.disk}/.*: No space left on device \\(identity.not_written\\)")
            self.assert_old_one_works(serial)
            self.make_room()
            self.pair.join(token)
            self.assertNotEqual(serial_in(self.pair.identity), serial)

    def test_an_agent_that_joins_again_in_a_read_only_directory_keeps_its_identity(self):
        self.join_on_disk()
        token, serial = self.pair.agents("token", "one"), serial_in(self.pair.identity)
        run("mount", "-o", "remount,ro", self.disk)
        said = self.pair.join(token, status=CONFIGURATION)
        self.assertRegex(said, f"cannot write {self.disk}/.*: Read-only file system \\(identity.not_written\\)")
        self.assert_old_one_works(serial)
        run("mount", "-o", "remount,rw", self.disk)
        self.pair.join(token)

    def test_an_agent_that_cannot_store_its_renewal_stays_connected_and_tries_again(self):
        self.join_on_disk("--lifetime", "1m")
        serial = serial_in(self.pair.identity)
        age(self.pair.identity, 5 * MINUTE)
        self.fill()
        self.pair.agent.start().wait_until_ready()
        self.pair.agent.wait_for_output("code=identity.not_written")
        self.assertIn("No space left on device", self.pair.agent.status()["identities"][0]["last_error"])
        self.assertEqual(serial_in(self.pair.identity), serial)
        with open_echo_stream(self, self.port) as stream:
            self.make_room()
            self.pair.agent.wait_for_output("info identity.renewed", 30)
            assert_still_echoes(self, stream)
        self.assertNotEqual(serial_in(self.pair.identity), serial)

    def test_a_server_whose_state_is_on_a_full_disk_keeps_its_agents(self):
        pair = self.pair
        pair.server.tables["enrolment"]["state"] = self.disk / "state"
        pair.start()
        waiting = pair.token("waiting")
        self.fill()
        with open_echo_stream(self, self.port) as stream:
            said = pair.agents("add", "two", "--account", ACCOUNT, status=CONFIGURATION)
            self.assertIn("No space left on device", said)
            self.assertIn("(join.enrolment_unavailable)", pair.join(waiting, self.folder / "two", status=TRY_AGAIN))
            assert_still_echoes(self, stream)
        # A restart changes nothing.
        pair.server.stop()
        pair.server.start().wait_until_ready()
        pair.agent.wait_until_ready()
        assert_echoes(self, self.port)
        self.assertNotIn("two", pair.agents("list"))
        self.make_room()
        pair.join(waiting, self.folder / "two")
        pair.join(pair.token("two"), self.folder / "three")
