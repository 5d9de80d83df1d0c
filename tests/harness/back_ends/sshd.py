# SPDX-License-Identifier: Apache-2.0
"""OpenSSH's server."""

import os
import pwd

from tests.harness.commands import run
from tests.harness.environment import AS_ROOT
from tests.harness.ports import free_port
from tests.harness.program import Program


class Sshd:
    """A private sshd, at which the user of the tests logs in with a temporary key."""

    def __init__(self, case):
        self.case, self.port = case, free_port()
        self.key, host_key, self.known = case.folder / "user_key", case.folder / "host_key", case.folder / "known_hosts"
        for key in (self.key, host_key):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
        (case.folder / "authorized_keys").write_text(self.key.with_suffix(".pub").read_text())
        self.host_public = " ".join(host_key.with_suffix(".pub").read_text().split()[:2])
        config = case.folder / "sshd_config"
        config.write_text(f"""
Port {self.port}
ListenAddress 127.0.0.1
HostKey {host_key}
PidFile none
UsePAM no
StrictModes no
AuthorizedKeysFile {case.folder}/authorized_keys
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
Subsystem sftp internal-sftp
MaxStartups 100
""")
        if AS_ROOT:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)  # for its privilege separation
        Program(case, "sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", config]).start().wait_for_port(self.port)

    def options(self, port):
        """Options of ssh and scp for a port that leads here."""
        with open(self.known, "a", encoding="ascii") as known:
            known.write(f"[127.0.0.1]:{port} {self.host_public}\n")
        return ["-F", "none", "-i", self.key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-o",
                f"UserKnownHostsFile={self.known}",
                "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=20", "-o", "LogLevel=ERROR"]

    @property
    def destination(self):
        return pwd.getpwuid(os.geteuid()).pw_name + "@127.0.0.1"
