# SPDX-License-Identifier: Apache-2.0
"""The admin socket: already in use, next to a broken configuration, and changed by a reload."""

import pathlib
import signal

from tests.harness.case import Case
from tests.harness.culvert_program import TRY_AGAIN, USAGE
from tests.harness.pair import Pair


class AdminSocket(Case):
    seconds = 15

    def test_a_socket_on_which_another_program_answers_is_reported_in_one_line(self):
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
            broken.write_text(broken.read_text().replace(".crt", ".none").replace(".key",
                                                                                  ".none").replace(".pem", ".none"))
            self.assertNotEqual(program.ask("--check")[0], 0)
            self.assertEqual(program.status()["program"], f"culvert-{program.kind}")

    def test_an_unknown_log_level_is_a_usage_error(self):
        server = Pair(self).server.start().wait_until_ready()
        self.assertEqual(server.ask("log-level", "loud")[0], USAGE)
        self.assertEqual(server.ask("log-level"), (0, "info\n"))

    def test_a_reload_that_moves_the_socket_logs_that_a_restart_is_needed(self):
        server = Pair(self).server.start().wait_until_ready()
        server.tables["admin"] = {"socket": str(self.folder / "elsewhere.sock")}
        server.write()
        server.send(signal.SIGHUP)
        server.wait_for_output("warn reload.restart_needed")
