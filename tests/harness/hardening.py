# SPDX-License-Identifier: Apache-2.0
"""The hardening against exploits that a released program must have."""

import re
import subprocess


def missing_hardening(program):
    """The names of the measures that `program` lacks."""
    def output(*command):
        return subprocess.run([*command, program], check=True, capture_output=True, text=True).stdout

    facts = output("readelf", "--wide", "--file-header", "--dynamic", "--segments", "--notes")
    symbols = output("readelf", "--wide", "--dyn-syms")
    has = {
        "PIE": re.search(r"Type:\s+DYN \(Position-Independent Executable", facts),
        "BIND_NOW": re.search(r"FLAGS.*BIND_NOW", facts),
        "RELRO": "GNU_RELRO" in facts,
        "a stack that cannot be executed": re.search(r"GNU_STACK .* RW ", facts),
        "-fstack-protector": "__stack_chk_fail" in symbols,
        "_FORTIFY_SOURCE": re.search(r"__\w+_chk@", symbols),
        "-fcf-protection": output("objdump", "--disassemble").count("endbr64") > 1000,
        "stripped": "no symbols" in subprocess.run(["nm", program], check=True, capture_output=True, text=True).stderr,
    }
    return [name for name, present in has.items() if not present]
