# SPDX-License-Identifier: Apache-2.0
"""An FTP server by pyftpdlib."""

from tests.harness.ports import free_port, free_ports
from tests.harness.program import Program


def ftp_server(case, address):
    """An FTP server for anonymous users, who may read and write case.folder/"ftp". Answers to PASV name `address`, as
    behind a router. Returns its control port, and its passive ports, which are in sequence."""
    port, passive, folder = free_port(), free_ports(8), case.folder / "ftp"
    folder.mkdir()
    Program(case, "ftp", ["/usr/bin/python3", "-B", "-m", "pyftpdlib", "-i", "127.0.0.1", "-p", port, "-w", "-d",
                          folder, "-n", address, "-r", f"{passive[0]}-{passive[-1]}"]).start().wait_for_port(port)
    return port, passive
