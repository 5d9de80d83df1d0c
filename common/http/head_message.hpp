// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <expected>
#include <span>
#include <vector>

#include "common/http/head.hpp"
#include "common/http/head_limits.hpp"
#include "common/http/refusal.hpp"

// Heads on their way through the tunnel (SPEC 5.7). What is read is checked by the rules of the parsers
// (head_check.hpp): a flaw ends the stream. nullptr as the flaw: the message itself is malformed, and the peer broke
// the protocol.

namespace culvert::http {

std::vector<std::byte> to_message(const RequestHead& head);
/// Interim or final, as its status says.
std::vector<std::byte> to_message(const ResponseHead& head);
std::vector<std::byte> to_message(const Fields& trailers);

std::expected<RequestHead, Flaw> read_request(std::span<const std::byte> message,
                                              const HeadLimits& limits = tunnel_head_limits);

/// What the acceptor of a request sends: one of the two, by `is_trailers`.
struct Answer {
  bool is_trailers = false;
  ResponseHead head;
  Fields trailers;
};
std::expected<Answer, Flaw> read_answer(std::span<const std::byte> message, const Asked& asked,
                                        const HeadLimits& limits = tunnel_head_limits);
std::expected<Fields, Flaw> read_trailers(std::span<const std::byte> message,
                                          const HeadLimits& limits = tunnel_head_limits);

}  // namespace culvert::http
