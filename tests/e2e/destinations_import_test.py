# SPDX-License-Identifier: Apache-2.0
"""culvert-server destinations import: exports become a Secret or files, and what is not usable is reported."""

import json
import os
import stat
import subprocess

from tests.harness.case import Case
from tests.harness.culvert_program import CONFIGURATION, TRY_AGAIN, USAGE, Server

SECRET = "c4n4ry"
SHOP = {"Name": "shop", "Type": "HTTP", "URL": "https://shop.example/api", "ProxyType": "Internet",
        "Authentication": "BasicAuthentication", "User": "culvert", "Password": SECRET}
ERP = {"Name": "erp", "Type": "HTTP", "URL": "http://erp:80", "ProxyType": "OnPremise",
       "Authentication": "PrincipalPropagation"}
REMOTE_CALL = {"Name": "calls", "Type": "RFC", "jco.client.passwd": SECRET}
PROPERTIES = "#\n#Mon Nov 30 2026\nName=db\nType=TCP\nAddress=db\\:5432\nProxyType=OnPremise\n"


class DestinationsImport(Case):
    seconds = 2

    def file(self, name, content):
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    def imported(self, *arguments, status=0):
        """(standard output, lines of standard error)"""
        done = subprocess.run([str(part) for part in (Server.binary(), "destinations", *arguments)],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertNotIn(SECRET, done.stderr)
        return done.stdout, done.stderr.splitlines()

    def test_exports_become_one_secret(self):
        export = self.file("export.json", {"subaccount": {"destinations": [SHOP]}, "instance": {"destinations": [ERP]}})
        properties = self.file("db", PROPERTIES)
        output, lines = self.imported("import", export, properties)
        secret = json.loads(output)
        self.assertEqual((secret["apiVersion"], secret["kind"], secret["metadata"]),
                         ("v1", "Secret", {"name": "culvert-destinations"}))
        keys = secret["stringData"]
        self.assertEqual(sorted(keys), ["db", "erp", "shop"])
        self.assertEqual((json.loads(keys["shop"]), json.loads(keys["erp"]), keys["db"]), (SHOP, ERP, PROPERTIES))
        self.assertIn(f"{export}: shop: supported", lines)
        self.assertIn(f"{properties}: db: supported", lines)

    def test_what_is_not_usable_is_reported_and_the_rest_is_written(self):
        export = self.file("export.json", [SHOP, REMOTE_CALL, {**ERP, "Authentication": "SAMLAssertion"}])
        output, lines = self.imported("import", export, self.folder / "missing", status=CONFIGURATION)
        self.assertEqual(list(json.loads(output)["stringData"]), ["shop"])
        for begin in (f"{export}: shop: supported", f"{export}: calls: not usable: Type: RFC is not supported",
                      f"{export}: erp: not usable: Authentication: SAMLAssertion is not supported",
                      f"{self.folder / 'missing'}: not usable: cannot read it: No such file"):
            self.assertTrue(any(line.startswith(begin) for line in lines), (begin, lines))

    def test_nothing_usable_makes_no_secret(self):
        self.assertEqual(self.imported("import", self.file("export.json", [REMOTE_CALL]), status=CONFIGURATION)[0], "")

    def test_a_directory_gets_a_private_file_for_each(self):
        directory = self.folder / "destinations"
        before = os.umask(0)
        try:
            for _ in range(2):  # The second time it replaces the files.
                output, _ = self.imported("import", self.file("e.json", [SHOP, ERP]), "--directory", directory)
        finally:
            os.umask(before)
        self.assertEqual(output, "")
        self.assertEqual(stat.S_IMODE(directory.stat().st_mode), 0o700)
        files = {path.name: json.loads(path.read_text()) for path in directory.iterdir()}
        self.assertEqual(files, {"shop": SHOP, "erp": ERP})
        self.assertEqual({stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}, {0o600})

    def test_a_directory_that_cannot_be_written_is_an_error(self):
        export = self.file("e.json", [SHOP])
        _, lines = self.imported("import", export, "--directory", export, status=TRY_AGAIN)
        self.assertIn("Not a directory", lines[-1])

    def test_without_files_it_says_what_to_write(self):
        for arguments in ((), ("import",), ("export", "x")):
            self.assertIn("write destinations import FILE", self.imported(*arguments, status=USAGE)[1][0])
