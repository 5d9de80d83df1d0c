// SPDX-License-Identifier: Apache-2.0
// Does what message_dump.cpp does with @msgpack/msgpack, which knows nothing of our messages: each answer is the whole
// map as "value", or why it was "refused". JSON has neither binary values nor 64-bit integers, so they are {"binary": "00ff"} and
// {"integer": "1"}.
const { readFileSync } = require("node:fs");
const { decode } = require("@msgpack/msgpack");

function inJson(key, value) {
  if (typeof value === "bigint") return { integer: String(value) };
  if (value instanceof Uint8Array) return { binary: Buffer.from(value).toString("hex") };
  return value;
}

function answer(line) {
  const payload = new Uint8Array(Buffer.from(line.split(" ")[1], "hex"));
  try {
    return JSON.stringify({ value: decode(payload, { useBigInt64: true }) }, inJson);
  } catch (error) {
    return JSON.stringify({ refused: error.message });
  }
}

const lines = readFileSync(0, "latin1").split("\n").slice(0, -1);
process.stdout.write(lines.map((line) => answer(line) + "\n").join(""));
