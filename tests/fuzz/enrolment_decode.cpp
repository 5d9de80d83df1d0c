// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "protocol/check.hpp"
#include "protocol/enrolment.hpp"
#include "tests/fuzz/targets.hpp"

namespace culvert::fuzz {
namespace {

using Answer = std::expected<std::optional<protocol::Enrolled>, protocol::Reason>;

template <typename Decode>
void survives(std::span<const std::byte> input, Decode decode) {
  const auto message = decode(input);
  if (!message) return;
  const auto again = decode(encode(*message));
  check(again && *again == *message, "what was decoded survives its own encoding");
}

Answer read(std::span<const std::byte> input, std::size_t slice) {
  protocol::AnswerReader reader;
  while (!input.empty()) {
    const auto piece = input.first(std::min(slice, input.size()));
    input = input.subspan(piece.size());
    Answer answer = reader.feed(piece);
    if (!answer || *answer) return answer;
  }
  return std::nullopt;
}

}  // namespace

void enrolment_decode(std::span<const std::byte> input) {
  survives(input, protocol::decode_join);
  survives(input, protocol::decode_renew);
  survives(input, protocol::decode_issued);
  survives(input, protocol::decode_denied);
  const Answer whole = read(input, SIZE_MAX);
  check(read(input, 1) == whole, "an answer does not depend on slices of 1");
  check(read(input, 13) == whole, "an answer does not depend on slices of 13");
  if (!whole || !*whole) return;
  protocol::AnswerReader reader;
  const Answer again = reader.feed(protocol::answer_frame(**whole));
  check(again == whole, "an answer that was accepted can be sent on");
}

}  // namespace culvert::fuzz
