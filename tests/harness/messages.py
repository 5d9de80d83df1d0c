# SPDX-License-Identifier: Apache-2.0
"""Messages of protocol/SPEC.md, section 5: valid ones, and mutations of them. Everything random comes from `source`, a
random.Random."""

import struct
import typing

import msgpack


class Key(typing.NamedTuple):
    """One key of a message."""
    value: typing.Callable  # makes a valid value from `source`
    default: object = None  # what its absence means; None: the key is required


def integer(low, high):
    """Small numbers as often as large ones."""
    bits = high.bit_length()
    return lambda source: min(high, max(low, source.choice((low, high, source.getrandbits(source.randint(1, bits))))))


def reason(source):
    """Those of SPEC 10 are below 80."""
    return source.choice((source.randrange(80), source.randrange(2**32)))


def flag(source):
    return source.random() < 0.5


# Without U+FEFF, which @msgpack/msgpack drops at the beginning of a string of more than 200 bytes.
LETTERS = "abcxyz.-/ \0\n\"\\\x7f\x80é\u07ff\u0800€\ud7ff\ue000\ufffe\U00010000😀\U0010ffff"
VISIBLE = "abcxyz.-_!~\"\\"


def text(bytes_max, bytes_min=0, letters=LETTERS):

    def value(source):
        size = size_within(source, bytes_min, bytes_max)
        return "".join(source.choices(letters, k=size)).encode()[:size].decode(errors="ignore").ljust(bytes_min, "x")

    return value


def binary(bytes_max, bytes_min=0):
    return lambda source: source.randbytes(size_within(source, bytes_min, bytes_max))


def texts(count_max, bytes_max, bytes_min=0):
    one = text(bytes_max, bytes_min)
    return lambda source: [one(source) for _ in range(size_within(source, 0, count_max))]


def size_within(source, low, high):
    """Mostly small; sometimes where msgpack needs a longer head, or the maximum."""
    size, = source.choices((source.randint(0, 12), 15, 16, 31, 32, 255, 256, high), (90, 1, 1, 2, 2, 2, 2, 1))
    return min(high, max(low, size))


MESSAGES = {
    "hello": {
        "v_min": Key(integer(0, 1)),
        "v_max": Key(integer(1, 2**32 - 1)),
        "caps": Key(texts(32, 32), []),
        "instance": Key(binary(16, 16)),
        "epoch": Key(integer(0, 2**64 - 1)),
        "slot": Key(integer(0, 255)),
        "replica": Key(text(255), ""),
        "software": Key(text(255), ""),
    },
    "welcome": {
        "v": Key(integer(0, 2**32 - 1)),
        "caps": Key(texts(32, 32), []),
        "instance": Key(binary(16, 16)),
        "replica": Key(text(255), ""),
        "replicas": Key(texts(64, 255, 1), []),
        "software": Key(text(255), ""),
    },
    "open": {
        "kind": Key(integer(0, 255)),
        "name": Key(text(255, 1, VISIBLE)),
        "port": Key(integer(0, 65_535), 0),
        "credit": Key(integer(16_384, 16_777_216)),
        "dial_ms": Key(integer(0, 3_600_000), 10_000),
        "bond": Key(integer(0, 2**31 - 1), 0),
    },
    "reject": {
        "reason": Key(reason),
        "retry": Key(flag, False),
        "text": Key(text(256), ""),
    },
    "goaway": {
        "kind": Key(integer(1, 2)),
        "reason": Key(reason),
        "last": Key(integer(0, 2**31 - 1), 0),
        "delay_ms": Key(integer(0, 3_600_000), 0),
        "text": Key(text(256), ""),
    },
    "head": {
        "kind": Key(integer(1, 4)),
        "method": Key(text(8_192), ""),
        "host": Key(text(255), ""),
        "port": Key(integer(0, 65_535), 0),
        "path": Key(text(8_192), ""),
        "query": Key(text(8_192), ""),
        "query_bytes": Key(binary(8_192), b""),
        "expect": Key(flag, False),
        "te": Key(flag, False),
        "status": Key(integer(0, 599), 0),
        "reason": Key(text(8_192), ""),
        "framing": Key(integer(0, 2), 0),
        "length": Key(integer(0, 2**63 - 1), 0),
        "upgrade": Key(text(8_192), ""),
        "fields": Key(binary(66_560), b""),
    },
    "replicas": {
        "replicas": Key(texts(64, 255, 1), []),
    },
    "join": {
        "token": Key(text(32, 1, "abcXYZ019_-")),
        "secret": Key(binary(32, 32)),
        "software": Key(text(255), ""),
        "request": Key(binary(2_048, 1)),
    },
    "renew": {
        "request": Key(binary(2_048, 1)),
        "certificate": Key(binary(4_096, 1), b""),
        "signature": Key(binary(1_024, 1), b""),
    },
    "issued": {
        "chain": Key(binary(24_576, 1)),
        "authorities": Key(binary(24_576, 1)),
        "lifetime_s": Key(integer(1, 31_622_400)),
    },
    "denied": {
        "reason": Key(reason),
        "retry": Key(flag, False),
        "text": Key(text(256), ""),
    },
}
TOGETHER = ("certificate", "signature")  # neither comes without the other


def valid(source, name):
    """A message as a dict, with optional keys or without, its keys in any order."""
    message = [(key, field.value(source)) for key, field in MESSAGES[name].items()
               if field.default is None or source.random() < 0.6]
    if sum(key in TOGETHER for key, _ in message) == 1:
        message = [pair for pair in message if pair[0] not in TOGETHER]
    if source.random() < 0.3:
        source.shuffle(message)
    return dict(message)


# ---- mutations


class Wire(bytes):
    """Bytes that are msgpack already, or pretend to be. Any other value in a message is a value of Python."""


def written(value):
    return value if isinstance(value, Wire) else msgpack.packb(value)


INTEGERS = [(0xcc, ">B"), (0xcd, ">H"), (0xce, ">I"), (0xcf, ">Q"), (0xd0, ">b"), (0xd1, ">h"), (0xd2, ">i"),
            (0xd3, ">q")]


def forms(value):
    """All ways to write a value. Only the head of an array differs, not its elements."""
    if isinstance(value, bool):
        return [written(value)]
    if isinstance(value, int):
        found = [written(value)]
        for lead, layout in INTEGERS:
            try:
                found.append(bytes([lead]) + struct.pack(layout, value))
            except struct.error:
                pass  # it does not fit
        return found
    if isinstance(value, str):
        content = value.encode()
        return [head + content for head in heads(len(content), (0xa0, 32), (0xd9, 1), (0xda, 2), (0xdb, 4))]
    if isinstance(value, bytes):
        return [head + value for head in heads(len(value), (0, 0), (0xc4, 1), (0xc5, 2), (0xc6, 4))]
    content = b"".join(map(written, value))
    return [head + content for head in heads(len(value), (0x90, 16), (0xdc, 2), (0xdd, 4))]


def heads(size, short, *long):
    """All heads for a size. `short`: the first byte, and the sizes that fit into it; `long`: the first byte, and how
    many bytes of size follow it."""
    first, sizes = short
    found = [bytes([first + size])] if size < sizes else []
    return found + [bytes([lead]) + size.to_bytes(width, "big") for lead, width in long if size < 256**width]


NUMBERS = [0, 1, -1, 12, 31, 127, 128, -32, -33, -128, -129, 255, 256, 599, 600, 32_767, 32_768, -32_768, -32_769,
           65_535, 65_536, 3_600_000, 3_600_001, 16_777_216, 16_777_217, 2**31 - 1, 2**31, -2**31, -2**31 - 1,
           2**32 - 1, 2**32, 2**63 - 1, 2**63, -2**63, 2**64 - 1]
# nil, booleans, floats with NaN and infinities, the byte that is nothing, ext types, an ext type that is a time.
ODD_VALUES = [b"\xc0", b"\xc2", b"\xc3", b"\xca\x3f\x80\0\0", b"\xca\x7f\xc0\0\0", b"\xca\xff\x80\0\0",
              b"\xcb\x3f\xf0\0\0\0\0\0\0", b"\xcb\x7f\xf8\0\0\0\0\0\0", b"\xcb\x80\0\0\0\0\0\0\0", b"\xc1",
              b"\xd4\x01\0", b"\xd8\x01" + bytes(16), b"\xc7\x00\x05", b"\xc7\x01\x05x", b"\xd6\xff\0\0\0\1",
              b"\xc8\0\1\5x", b"\xc9\0\0\0\1\5x"]
# Counts and sizes that nothing follows.
BOMBS = [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdc\xff\xff", b"\xde\xff\xff", b"\xdb\xff\xff\xff\xff",
         b"\xda\xff\xff", b"\xd9\xff", b"\xc6\xff\xff\xff\xff", b"\xc5\xff\xff", b"\xc9\xff\xff\xff\xff\1", b"\x9f",
         b"\x8f", b"\xbf"]
BROKEN_UTF8 = [b"\x80", b"\xff", b"\xc0\x80", b"\xc1\xbf", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xed\xbf\xbf",
               b"\xf0\x80\x80\x80", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xc3", b"\xe2\x82",
               b"\xf0\x9f\x98", b"\xc3(", b"\xc3a"]
# Without "__proto__", which @msgpack/msgpack refuses.
UNKNOWN_KEYS = ["later", "x", "Kind", "kind\0", "", "v_min ", "caps", "text", "reason", "port", "retry", "name"]


def odd_value(source, depth=0):
    """A value that is right for few keys, or for none, or is not msgpack. Those inside others are mostly simple, so
    that a fault is often the only one."""
    if depth > 0 and source.random() < 0.7:
        return source.choice((0, "a", None, True, b"", []))
    what = source.randrange(8 if depth < 3 else 5)
    if what == 0:
        return Wire(source.choice(forms(source.choice(NUMBERS))))
    if what == 1:
        return Wire(source.choice(ODD_VALUES))
    if what == 2:
        return broken_string(source)
    if what == 3:
        return Wire(source.choice(forms(source.choice(("", "a", "é", "x" * 31, "x" * 32, b"", b"\0", b"x" * 16)))))
    if what == 4:
        # 15 fit below the outermost map.
        levels, opening = source.choice((1, 2, 14, 15, 16, 100)), source.choice((b"\x91", b"\x81\xa1k", b"\xdc\0\1"))
        return Wire(opening * levels + source.choice((b"\x90", b"\x80", b"\xc0", b"\xa1a")))
    if what == 5:
        return Wire(source.choice(BOMBS))
    if what == 6:
        return Wire(source.choice(forms([odd_value(source, depth + 1) for _ in range(source.randrange(4))])))
    return map_of(source, [(source.choice(("a", "b", "c")), odd_value(source, depth + 1))
                           for _ in range(source.randrange(4))])


def broken_string(source):
    content = source.choice(BROKEN_UTF8)
    content = source.choice((content, b"a" + content, content + b"a"))
    return Wire(bytes([0xa0 + len(content)]) + content)


def map_of(source, pairs):
    """Rarely with a head that is too long, or with a count that is wrong."""
    count = max(0, len(pairs) + source.choices((0, -1, 1), (40, 1, 1))[0])
    all_heads = heads(count, (0x80, 16), (0xde, 2), (0xdf, 4))
    head = source.choice(all_heads) if source.random() < 0.05 else all_heads[0]
    return Wire(head + b"".join(written(part) for pair in pairs for part in pair))


# Mutations of the pairs, in place. There is at least one pair.


def add_pair(source, pairs):
    pairs.insert(source.randint(0, len(pairs)), (source.choice(UNKNOWN_KEYS), odd_value(source)))


def repeat_key(source, pairs):
    key, value = source.choice(pairs)
    if source.random() < 0.3 and isinstance(key, str):
        key = Wire(source.choice(forms(key)))
    pairs.insert(source.randint(0, len(pairs)), (key, source.choice((value, source.choice(pairs)[1]))))


def remove_pair(source, pairs):
    if len(pairs) > 1:
        del pairs[source.randrange(len(pairs))]


def change_value(source, pairs):
    at = source.randrange(len(pairs))
    pairs[at] = (pairs[at][0], odd_value(source))


def change_number(source, pairs):
    numbers = [at for at, (_, value) in enumerate(pairs) if isinstance(value, int)]
    if numbers:
        at = source.choice(numbers)
        pairs[at] = (pairs[at][0], source.choice(NUMBERS))


def rewrite_value(source, pairs):
    at = source.randrange(len(pairs))
    key, value = pairs[at]
    if not isinstance(value, Wire):
        pairs[at] = (key, Wire(source.choice(forms(value))))


def change_key(source, pairs):
    at = source.randrange(len(pairs))
    key, value = pairs[at]
    if isinstance(key, str):
        keys = [*forms(key), written(key.encode()), written(key + "\0"), written(key.upper()), broken_string(source),
                odd_value(source)]
        pairs[at] = (Wire(source.choice(keys)), value)


def swap_values(source, pairs):
    first, second = source.randrange(len(pairs)), source.randrange(len(pairs))
    (key, value), (other_key, other_value) = pairs[first], pairs[second]
    pairs[first], pairs[second] = (key, other_value), (other_key, value)


def reorder(source, pairs):
    source.shuffle(pairs)


OF_PAIRS = [add_pair, add_pair, repeat_key, remove_pair, change_value, change_number, rewrite_value, change_key,
            swap_values, reorder]


def mutated_bytes(source, wire):
    at = source.randrange(len(wire) + 1)
    end = min(len(wire), at + source.choice((1, 1, 2, 4, 16)))
    what = source.randrange(8)
    if what == 0 and at < len(wire):
        return wire[:at] + bytes([wire[at] ^ (1 << source.randrange(8))]) + wire[at + 1:]
    if what == 1:
        # All first bytes of msgpack but the short ones are here.
        return wire[:at] + bytes([source.randrange(0xc0, 0xe0)]) + wire[at + 1:]
    if what == 2:
        return wire[:at] + source.randbytes(end - at) + wire[end:]
    if what == 3:
        return wire[:at] + source.choice((source.randbytes(1), *ODD_VALUES, *BOMBS)) + wire[at:]
    if what == 4:
        return wire[:at] + wire[end:]
    if what == 5:
        return wire[:end] + wire[at:]
    if what == 6:
        return wire[:at]
    return wire + source.choice((b"\0", b"\x80", b"\xc0", b"\xc1", source.randbytes(1), wire))


def mutated(source, message):
    """The payload of a valid message after some mutations. Many of them leave it valid."""
    pairs = list(message.items()) or [("x", 0)]
    for _ in range(source.choice((0, 1, 1, 2, 3))):
        source.choice(OF_PAIRS)(source, pairs)
    wire = bytes(map_of(source, pairs))
    for _ in range(source.choice((0, 0, 0, 1, 2))):
        wire = mutated_bytes(source, wire)
    return wire
