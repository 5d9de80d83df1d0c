# SPDX-License-Identifier: Apache-2.0
"""Certificates for tests, good ones and deliberately bad ones. scripts/make-certificates makes those for users."""

import dataclasses
import pathlib

from tests.harness.commands import openssl

TRUST_DOMAIN = "test.culvert"


@dataclasses.dataclass(frozen=True)
class Credentials:
    certificate: pathlib.Path
    private_key: pathlib.Path
    ca: pathlib.Path

    def serial(self):
        return serial_of(self.certificate)


def serial_of(certificate):
    """In the form of Culvert's deny list: hexadecimal, lower case, without leading zeros."""
    return openssl("x509", "-in", certificate, "-noout", "-serial").strip().split("=")[1].lower().lstrip("0")


def spiffe(account, agent, location="", domain=TRUST_DOMAIN):
    place = f"/location/{location}" if location else ""
    return f"spiffe://{domain}/account/{account}{place}/agent/{agent}"


class Authority:
    """A certificate authority in a folder. Its keys are P-256: making an RSA key takes longer than most tests."""

    def __init__(self, folder, name="test", days=30):
        self.folder, self.name, self.days = pathlib.Path(folder), name, days
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ca, self.key = self.folder / "ca.pem", self.folder / "ca.key"
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", days,
                "-keyout", self.key, "-out", self.ca, "-subj", f"/CN={name} CA",
                "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self.key.chmod(0o600)

    def issue(self, name, san, usage, days=30, subject=None, key_type=("ec", "-pkeyopt", "ec_paramgen_curve:P-256")):
        """A certificate with exactly this subjectAltName and extended key usage. Negative `days`: it has expired."""
        stem = self.folder / name
        key, request, certificate, extensions = (stem.with_name(stem.name + e)
                                                 for e in (".key", ".csr", ".pem", ".ext"))
        openssl("req", "-new", "-newkey", *key_type, "-nodes", "-keyout", key, "-out", request,
                "-subj", subject or f"/CN={name}")
        key.chmod(0o600)
        extensions.write_text(f"basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
                              f"extendedKeyUsage={usage}\nsubjectAltName={san}\n")
        openssl("x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self.key, "-CAcreateserial", "-days", days,
                "-extfile", extensions, "-out", certificate)
        return Credentials(certificate, key, self.ca)

    def server(self, *names, file="server"):
        san = ",".join(("IP:" if name.replace(".", "").isdigit() else "DNS:") + name
                       for name in names or ("localhost", "127.0.0.1"))
        return self.issue(file, san, "serverAuth", self.days)

    def agent(self, account="acme", agent="one", location="", domain=TRUST_DOMAIN, usage="clientAuth", days=30):
        name = f"agent-{account}-{location}-{agent}-{usage}-{days}".replace("--", "-")
        return self.issue(name, f"URI:{spiffe(account, agent, location, domain)}", usage, days)
