# SPDX-License-Identifier: Apache-2.0
"""Squid, as the forward proxy through which an agent reaches its server."""

import os
import pwd

from tests.harness.commands import run
from tests.harness.environment import AS_ROOT
from tests.harness.ports import free_port
from tests.harness.program import Program


class Squid:
    """Allows CONNECT to `allowed_port` only, for user `culvert` with `password` (basic authentication). With `logins`
    (negotiate, ntlm) it offers these schemes instead, and accepts no login."""

    def __init__(self, case, allowed_port, password="correct horse", logins=()):
        self.port, folder = free_port(), case.folder / "squid"
        folder.mkdir()
        run("htpasswd", "-bcm", folder / "passwd", "culvert", password)
        if AS_ROOT:
            for path in (folder, folder / "passwd"):
                os.chown(path, pwd.getpwnam("proxy").pw_uid, pwd.getpwnam("proxy").pw_gid)
        schemes = [f"auth_param {scheme} program /usr/lib/squid/ntlm_fake_auth" for scheme in logins] or [
            f"auth_param basic program /usr/lib/squid/basic_ncsa_auth {folder}/passwd",
            "auth_param basic realm culvert-test"]
        config = folder / "squid.conf"
        config.write_text("\n".join(schemes) + f"""
http_port 127.0.0.1:{self.port}
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
        self.program = Program(case, "squid", ["/usr/sbin/squid", "-N", "-n", f"culvert{self.port}", "-d", 1, "-f",
                                               config]).start().wait_for_port(self.port, 30)
