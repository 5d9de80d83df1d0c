// SPDX-License-Identifier: Apache-2.0
#include "protocol/check.hpp"
#include "protocol/messages.hpp"
#include "tests/fuzz/targets.hpp"

namespace culvert::fuzz {
namespace {

template <typename Decode>
void survives(std::span<const std::byte> input, Decode decode) {
  const auto message = decode(input);
  if (!message) return;
  const auto encoded = encode(*message);  // A Head is a view.
  const auto again = decode(encoded);
  check(again && encode(*again) == encoded, "what was decoded survives its own encoding");
}

}  // namespace

void message_decode(std::span<const std::byte> input) {
  survives(input, protocol::decode_hello);
  survives(input, protocol::decode_welcome);
  survives(input, protocol::decode_open);
  survives(input, protocol::decode_reject);
  survives(input, protocol::decode_goaway);
  survives(input, protocol::decode_replicas);
  survives(input, protocol::decode_head);
}

}  // namespace culvert::fuzz
