# SPDX-License-Identifier: Apache-2.0
"""The decoder of messages against python3-msgpack and npm's @msgpack/msgpack. Both must read what it accepts, with the
same values, no key twice and nothing behind the map. Otherwise two readers see different messages in the same bytes.
For a long run:

    /usr/bin/python3 -B -m tests.e2e.message_decoders_test --cases 1000000 --seed 7
"""

import argparse
import collections
import json
import random
import re
import subprocess
import sys
import typing
import unittest

import msgpack

from tests.harness.back_ends.node import node_packages
from tests.harness.environment import BUILD, ROOT
from tests.harness.messages import MESSAGES, mutated, valid

CASES, SEED = 40_000, 1
BATCH = 10_000  # payloads for one process of each decoder
FAULTS_MAX = 20
OURS = [BUILD / "tests/protocol/message_dump"]
NODE = ["/usr/bin/node", ROOT / "tests/protocol/message_dump.js"]
SPECIFICATION = (ROOT / "protocol/SPEC.md").read_text()
REASONS = {int(number) for number in re.findall(r"^\| (\d+) \| `\w+` \|", SPECIFICATION, re.M)}
INTERNAL = 12  # what a number that is not in the list is taken as


class Payload(typing.NamedTuple):
    """What the decoders are asked about."""
    name: str  # of the message that it should be
    data: bytes
    is_valid: bool  # False: a mutation, which may be valid too


def payloads(source, count):
    names = list(MESSAGES)
    for number in range(count):
        name = source.choice(names)
        message, is_valid = valid(source, name), number % 8 == 0
        yield Payload(name, msgpack.packb(message) if is_valid else mutated(source, message), is_valid)


def answers(program, batch, **keywords):
    """The line that a decoder prints for each payload."""
    lines = "".join(f"{payload.name} {payload.data.hex()}\n" for payload in batch)
    printed = subprocess.run(program, input=lines.encode(), stdout=subprocess.PIPE, timeout=120, check=True, **keywords)
    found = printed.stdout.decode(errors="replace").split("\n")[:-1]
    if len(found) != len(batch):
        raise AssertionError(f"{program}: {len(found)} answers to {len(batch)} payloads")
    return found


def read_by_us(name, line):
    """The message, its binary values as bytes; None if it was refused."""
    message = json.loads(line)
    if message == {"refused": True}:
        return None
    if message.keys() != MESSAGES[name].keys():
        raise AssertionError(f"{name}: message_dump.cpp prints other keys than messages.py has: {message}")
    binary = ("instance", "fields", "query_bytes", "secret", "request", "certificate", "signature", "chain",
              "authorities")
    return message | {key: bytes.fromhex(message[key]) for key in binary if key in message}


def untagged(value):
    """Values that JSON does not have, as message_dump.js prints them."""
    if value.keys() == {"binary"}:
        return bytes.fromhex(value["binary"])
    return int(value["integer"]) if value.keys() == {"integer"} else value


def differences(name, ours, theirs):
    """Compares the keys of the message. The other reader may have more of them, and lack optional ones."""
    if not isinstance(theirs, dict):
        yield f"reads {theirs!r}"
        return
    for key, value in ours.items():
        other = theirs.get(key, MESSAGES[name][key].default)
        if key == "reason" and isinstance(other, int) and other not in REASONS:
            other = INTERNAL
        if type(value) is not type(other) or value != other:
            yield f"reads {key} as {other!r}, and we as {value!r}"


def without_twins(pairs):
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)


def is_allowed(value):
    """Whether SPEC 5.0 allows the types of a value and of all in it."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_allowed(inner) for key, inner in value.items())
    if isinstance(value, list):
        return all(map(is_allowed, value))
    return value is None or isinstance(value, (bool, int, str, bytes))


def faults_by_python(name, data, ours):
    try:
        plain = msgpack.unpackb(data, raw=False, strict_map_key=True)
        value = msgpack.unpackb(data, raw=False, strict_map_key=True, object_pairs_hook=without_twins)
    except ValueError as refusal:  # its texts name neither broken UTF-8 nor trailing bytes
        yield f"refuses it: {refusal!r}"
        return
    yield from differences(name, ours, plain)
    if not is_allowed(value):
        yield f"reads a type that is not allowed: {value!r}"
    elif len(msgpack.packb(value)) != len(data):
        yield f"writes it in another length: {msgpack.packb(value).hex()}"


def faults_by_node(name, line, ours):
    answer = json.loads(line, object_hook=untagged)
    if "refused" in answer:
        yield f"refuses it: {answer['refused']}"
    else:
        yield from differences(name, ours, answer["value"])


def faults_of(batch, counts):
    """Yields (payload, what is wrong with our answer to it)."""
    read = []
    for payload, line in zip(batch, answers(OURS, batch)):
        ours = read_by_us(payload.name, line)
        counts["valid" if payload.is_valid else "mutations"] += 1
        if ours is not None:
            counts["accepted mutations"] += not payload.is_valid
            read.append((payload, ours))
        elif payload.is_valid:
            yield payload, "we refuse it, and it is valid"
    again = [Payload(payload.name, msgpack.packb(ours), True) for payload, ours in read]
    of_node = answers(NODE, [payload for payload, _ in read], env=node_packages())
    for (payload, ours), node, second in zip(read, of_node, answers(OURS, again)):
        name, data, _ = payload
        yield from ((payload, f"python3-msgpack {text}") for text in faults_by_python(name, data, ours))
        yield from ((payload, f"@msgpack/msgpack {text}") for text in faults_by_node(name, node, ours))
        if read_by_us(name, second) != ours:
            yield payload, f"we read {ours!r}, and after writing that again {second}"


def compare(cases, seed):
    """(descriptions of the first faults, counts of what was asked)"""
    source, counts, faults = random.Random(seed), collections.Counter(), []
    for first in range(0, cases, BATCH):
        for payload, text in faults_of(list(payloads(source, min(BATCH, cases - first))), counts):
            faults.append(f"seed {seed}: {payload.name} {payload.data.hex()}: {text}")
        if len(faults) >= FAULTS_MAX:
            break
    return faults[:FAULTS_MAX], counts


class MessageDecoders(unittest.TestCase):
    def test_others_read_what_we_accept(self):
        faults, counts = compare(CASES, SEED)
        self.assertFalse(faults, "\n".join(faults))
        # Otherwise the mutations are too coarse to say much.
        self.assertGreater(counts["accepted mutations"], counts["mutations"] / 8)

    def test_messages_are_those_of_the_specification(self):
        found = {title.lower(): re.findall(r"^\| `(\w+)` \|", section, re.M)
                 for title, section in re.findall(r"^### 5\.\d+ ([A-Z]+)$(.*?)(?=^##)", SPECIFICATION, re.M | re.S)}
        found.pop("pending")  # its payload is no map
        self.assertEqual(found, {name: list(keys) for name, keys in MESSAGES.items()})


def main():
    parser = argparse.ArgumentParser(prog="/usr/bin/python3 -B -m tests.e2e.message_decoders_test")
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args()
    faults, counts = compare(options.cases, options.seed)
    print(*faults, dict(counts), sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
