# SPDX-License-Identifier: Apache-2.0
"""scripts/make-certificates: its certificates, checked with openssl, and what it refuses."""

import os
import pathlib
import re
import stat
import subprocess
import tempfile
import unittest

from tests.harness.commands import openssl, openssl_bytes
from tests.harness.environment import ROOT

SCRIPT = ROOT / "scripts/make-certificates"
SECONDS_MAX = 30


def run(*arguments, cwd=None):
    return subprocess.run([str(a) for a in arguments], cwd=cwd, capture_output=True, text=True, timeout=SECONDS_MAX,
                          check=False)


class MakeCertificatesTest(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory(prefix="culvert certificates ")  # The path has spaces on purpose.
        self.addCleanup(holder.cleanup)
        self.base = pathlib.Path(holder.name)
        self.ca = self.base / "the ca"

    def make(self, *arguments):
        done = run(SCRIPT, *arguments, cwd=self.base)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def refused(self, status, *arguments):
        """It is refused with one line, and leaves no file. Returns the line."""
        before = self.files()
        done = run(SCRIPT, *arguments, cwd=self.base)
        self.assertEqual(done.returncode, status, f"{arguments}: {done.stdout}{done.stderr}")
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, r"\Amake-certificates: [^\n]+\n\Z")
        self.assertEqual(self.files(), before, arguments)
        return done.stderr

    def files(self):
        return {p: p.read_bytes() if p.is_file() else None for p in self.base.rglob("*")}

    def make_ca(self):
        self.make("ca", self.ca)

    def make_request(self, name="one", key="agent.key", out="agent.csr"):
        self.make("request", "--account", "acme", "--agent", name, "--key", key, "--out", out)

    def agent(self, *more, csr="agent.csr", domain="test.example", account="acme", name="one", out="agent.crt"):
        return ("agent", self.ca, csr, "--trust-domain", domain, "--account", account, "--agent", name, "--out", out,
                *more)

    def foreign_request(self, *extensions, kind="rsa:2048", subject="/CN=one"):
        """Makes agent.csr with another tool."""
        more = [word for extension in extensions for word in ("-addext", extension)]
        openssl("req", "-new", "-newkey", kind, "-nodes", "-keyout", self.base / "k", "-out", self.base / "agent.csr",
                "-subj", subject, *more)

    def extension(self, certificate, name):
        lines = openssl("x509", "-in", self.base / certificate, "-noout", "-ext", name).splitlines()
        return [line.strip() for line in lines[1:]]

    def serial(self, certificate):
        return openssl("x509", "-in", self.base / certificate, "-noout", "-serial").strip().removeprefix("serial=")

    def days_left(self, certificate, days):
        """Valid for more than days - 1 and less than days + 1."""
        path = self.base / certificate
        day = 86400
        self.assertEqual(run("openssl", "x509", "-in", path, "-noout", "-checkend", (days - 1) * day).returncode, 0)
        self.assertEqual(run("openssl", "x509", "-in", path, "-noout", "-checkend", (days + 1) * day).returncode, 1)

    def verify(self, certificate, purpose):
        return openssl("verify", "-x509_strict", "-auth_level", "2", "-purpose", purpose, "-CAfile", self.ca / "ca.crt",
                       self.base / certificate)

    def assert_private(self, path):
        self.assertEqual(stat.S_IMODE(os.stat(self.base / path).st_mode), 0o600, path)

    # --- certificates

    def test_ca_is_an_authority_for_ten_years(self):
        self.make("ca", self.ca, "--name", "Plant CA (2026)")
        self.assert_private(self.ca / "ca.key")
        self.days_left(self.ca / "ca.crt", 3650)
        self.assertEqual(self.extension(self.ca / "ca.crt", "basicConstraints"), ["CA:TRUE"])
        subject = openssl("x509", "-in", self.ca / "ca.crt", "-noout", "-subject")
        self.assertEqual(subject.strip(), "subject=CN = Plant CA (2026)")

    def test_server_certificate_holds_all_names_and_server_purpose_only(self):
        self.make_ca()
        self.make("server", self.ca, "tunnel.example", "10.0.0.1", "2001:db8::7", "*.apps.example")
        certificate = self.ca / "server.crt"
        self.verify(certificate, "sslserver")
        self.assertEqual(self.extension(certificate, "subjectAltName"),
                         ["DNS:tunnel.example, IP Address:10.0.0.1, IP Address:2001:DB8:0:0:0:0:0:7, "
                          "DNS:*.apps.example"])
        self.assertEqual(self.extension(certificate, "extendedKeyUsage"), ["TLS Web Server Authentication"])
        self.assertEqual(self.extension(certificate, "basicConstraints"), ["CA:FALSE"])
        self.days_left(certificate, 397)
        self.assert_private(self.ca / "server.key")

    def test_second_server_needs_another_folder(self):
        self.make_ca()
        self.make("server", self.ca, "a.example")
        self.make("server", self.ca, "b.example", "--out", "second server", "--days", "7")
        self.verify("second server.crt", "sslserver")
        self.days_left("second server.crt", 7)

    def test_agent_certificate_names_account_location_and_agent(self):
        self.make_ca()
        self.make_request()
        self.make(*self.agent("--location", "Berlin-1"))
        self.verify("agent.crt", "sslclient")
        self.assertEqual(self.extension("agent.crt", "subjectAltName"),
                         ["URI:spiffe://test.example/account/acme/location/Berlin-1/agent/one"])
        self.assertEqual(self.extension("agent.crt", "extendedKeyUsage"), ["TLS Web Client Authentication"])
        self.days_left("agent.crt", 90)

    def test_default_location_is_left_out(self):
        self.make_ca()
        self.make_request()
        self.make(*self.agent())
        self.assertEqual(self.extension("agent.crt", "subjectAltName"),
                         ["URI:spiffe://test.example/account/acme/agent/one"])

    def test_agent_certificate_is_for_the_key_of_the_request(self):
        self.make_ca()
        self.make_request()
        self.assert_private("agent.key")
        request = (self.base / "agent.csr").read_text()
        self.assertNotIn("PRIVATE", request)
        self.make(*self.agent())
        self.assertEqual(openssl("x509", "-in", self.base / "agent.crt", "-noout", "-pubkey"),
                         openssl("pkey", "-in", self.base / "agent.key", "-pubout"))

    def test_agent_certificate_takes_nothing_but_the_key_from_a_request(self):
        self.make_ca()
        self.foreign_request("basicConstraints=CA:TRUE", "extendedKeyUsage=serverAuth",
                             subject="/O=Evil/CN=server.example")
        self.make(*self.agent())
        self.verify("agent.crt", "sslclient")
        text = openssl("x509", "-in", self.base / "agent.crt", "-noout", "-text")
        self.assertIn("Subject: CN = one\n", text)
        self.assertNotIn("CA:TRUE", text)
        self.assertNotIn("Server Authentication", text)

    def test_serials_are_128_bits_and_differ(self):
        self.make_ca()
        serials = {self.serial(self.ca / "ca.crt")}
        for i in range(4):
            self.make("server", self.ca, "a.example", "--out", f"s{i}")
            serials.add(self.serial(f"s{i}.crt"))
        self.assertEqual(len(serials), 5)
        for serial in serials:
            self.assertRegex(serial, r"\A[4-7][0-9A-F]{31}\Z")

    def test_names_that_look_like_options_are_names(self):
        self.make("ca", "--", "-ca")
        self.make("server", "--", "-ca", "a.example")
        self.assertTrue((self.base / "-ca" / "server.crt").exists())

    def test_help_exits_with_success(self):
        for arguments in (["--help"], ["ca", "--help"], ["agent", "-h"]):
            self.assertTrue(self.make(*arguments).startswith("Usage:"), arguments)

    # --- refusals

    def test_nothing_is_overwritten(self):
        self.make_ca()
        self.make("server", self.ca, "a.example")
        self.make_request()
        self.make(*self.agent())
        self.assertIn("exists already", self.refused(1, "ca", self.ca))
        self.refused(1, "server", self.ca, "a.example")
        self.refused(1, "request", "--account", "a", "--agent", "b", "--key", "agent.key", "--out", "new.csr")
        self.refused(1, "request", "--account", "a", "--agent", "b", "--key", "new.key", "--out", "agent.csr")
        self.refused(1, *self.agent())

    def test_half_a_pair_is_not_completed(self):
        self.make_ca()
        (self.ca / "server.crt").write_text("mine")
        self.refused(1, "server", self.ca, "a.example")

    def test_a_link_to_nowhere_is_not_followed(self):
        self.make_ca()
        self.make_request()
        (self.base / "agent.crt").symlink_to(self.base / "elsewhere")
        self.refused(1, *self.agent())

    def test_usage_errors(self):
        self.make_ca()
        self.make_request()
        for arguments in ([], ["frobnicate"], ["ca"], ["ca", "a", "b"], ["ca", "x", "--days", "0"],
                          ["ca", "x", "--days", "ten"],
                          ["ca", "x", "--days"], ["ca", "x", "--account", "y"], ["ca", "x", "--name", ""],
                          ["ca", "x", "--name", "a\nb"], ["ca", "x", "--days", "1", "--days", "2"], ["server", self.ca],
                          ["request", "--account", "a", "--agent", "b", "--key", "k"],
                          ["request", "--account", "a", "--agent", "b", "--key", "k", "--out", "k"],
                          ["request", "--account", "a", "--agent", "b", "--key", "k", "--out", "o", "more"],
                          ["agent", self.ca], self.agent(domain=""), self.agent(domain="Test.Example"),
                          self.agent(domain="test.example/account/x"), self.agent("--days", "-1")):
            self.refused(2, *arguments)

    def test_segments(self):
        self.make_ca()
        self.make_request()
        for bad in ("", ".", "..", "a/b", "a b", "a%2fb", "a\nb", "ä", "a,URI:spiffe://x", "*", "a\n"):
            self.refused(2, *self.agent(account=bad))
            self.refused(2, *self.agent(name=bad))
            self.refused(2, *self.agent("--location", bad))
            self.refused(2, "request", "--account", bad, "--agent", "x", "--key", "k", "--out", "o")

    def test_server_names(self):
        self.make_ca()
        for bad in ("", "a b", "a,DNS:b", "-a.example", "a..b", ".a", "*", "a.*.b", "http://a", "a:443", "10.0.0.256",
                    "1.2.3", "ä.example", "a" * 64 + ".example", "a\nb"):
            self.refused(2, "server", self.ca, bad)

    def test_requests_that_contradict_or_are_not_requests(self):
        self.make_ca()
        for asked in ("URI:spiffe://test.example/account/acme/agent/two", "DNS:one.example",
                      "URI:spiffe://test.example/account/acme/agent/one,DNS:a"):
            self.foreign_request(f"subjectAltName={asked}")
            self.assertIn("contradicts", self.refused(1, *self.agent()))
        self.refused(1, *self.agent(csr="missing.csr"))
        self.refused(1, *self.agent(csr=self.ca / "ca.crt"))

    def test_request_that_agrees_is_accepted(self):
        self.make_ca()
        self.foreign_request("subjectAltName=URI:spiffe://test.example/account/acme/agent/one")
        self.make(*self.agent())

    def test_request_whose_signature_is_not_its_own(self):
        self.make_ca()
        self.make_request()
        der = bytearray(openssl_bytes("req", "-in", self.base / "agent.csr", "-outform", "DER"))
        der[-1] ^= 1
        (self.base / "bad.der").write_bytes(der)
        openssl("req", "-inform", "DER", "-in", self.base / "bad.der", "-out", self.base / "bad.csr")
        self.refused(1, *self.agent(csr="bad.csr"))

    def test_request_with_a_weak_key(self):
        self.make_ca()
        self.foreign_request(kind="rsa:1024")
        self.assertRegex(self.refused(1, *self.agent()), re.compile("key too weak|key too small", re.IGNORECASE))

    def test_missing_ca(self):
        self.assertIn("make-certificates ca", self.refused(1, "server", self.base / "nowhere", "a.example"))

    def test_destination_that_cannot_be_written(self):
        self.make_ca()
        self.refused(1, "server", self.ca, "a.example", "--out", "no/such/place")


if __name__ == "__main__":
    unittest.main()
