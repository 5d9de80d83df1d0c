# SPDX-License-Identifier: Apache-2.0
"""The admin socket as an administrator meets it: in use, beside a broken configuration, and changed by a reload."""

import pathlib
import signal

from culvert import Case, Pair

USAGE, TRY_AGAIN = 64, 75


class AdminSocket(Case):
    seconds = 15

    def test_one_that_another_program_answers_on_is_a_plain_line(self):
        pair = Pair(self)
        pair.server.start().wait_until_ready()
        pair.agent.tables["admin"] = pair.server.tables["admin"]
        pair.agent.start()
        self.assertEqual(pair.agent.exit_status(), TRY_AGAIN, pair.agent.output())
        self.assertIn("another program answers on the admin socket", pair.agent.output())

    def test_status_needs_neither_certificates_nor_keys(self):
        pair = Pair(self)
        for program in (pair.server.start().wait_until_ready(), pair.agent.start().wait_until_ready()):
            broken = pathlib.Path(program.config)
            broken.write_text(broken.read_text().replace(".crt", ".none").replace(".key", ".none").replace(".pem", ".none"))
            self.assertNotEqual(program.ask("--check")[0], 0)
            self.assertEqual(program.status()["program"], f"culvert-{program.kind}")

    def test_a_wrong_level_is_wrong_use(self):
        server = Pair(self).server.start().wait_until_ready()
        self.assertEqual(server.ask("log-level", "loud")[0], USAGE)
        self.assertEqual(server.ask("log-level"), (0, "info\n"))

    def test_a_reload_that_moves_it_says_that_it_waits_for_a_restart(self):
        server = Pair(self).server.start().wait_until_ready()
        server.tables["admin"] = {"socket": str(self.folder / "elsewhere.sock")}
        server.write()
        server.send(signal.SIGHUP)
        server.wait_for_output("warn reload.restart_needed")
