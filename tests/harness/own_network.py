# SPDX-License-Identifier: Apache-2.0
"""A network with nothing but loopback, for tests in which a defect would dial somebody's private network."""

import ctypes

from tests.harness.commands import run

CLONE_NEWNET = 0x40000000


def enter_own_network():
    """This process and those that it starts have such a network from now on. Call it in setUpClass, as root, before any
    thread is started: each test class has a process of its own."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    run("ip", "link", "set", "lo", "up")
