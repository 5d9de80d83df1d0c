// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/http/head.hpp"
#include "common/http/head_limits.hpp"
#include "common/http/refusal.hpp"
#include "protocol/messages.hpp"

// Conversion of heads to and from messages in the tunnel (SPEC 5.7). A head that is read is checked by the rules of the
// parsers (head_check.hpp): a flaw ends the stream. A flaw of nullptr means that the message itself is malformed: the
// peer broke the protocol.

namespace culvert::http {

/// In the form that the peer reads. HeadForm::older is what releases without the capability `heads` sent and checked
/// (SPEC 5.7): the path in canonical form, a query of printable ASCII, no body of length 0, no Trailer. A path and
/// query that are longer than 8 KiB in this form are left out: the peer then refuses this request, and nothing else.
std::vector<std::byte> to_message(const RequestHead& head, protocol::HeadForm form = protocol::HeadForm::current);
/// An interim or a final response, depending on the status. An older peer reads at most 8 interim ones per exchange.
std::vector<std::byte> to_message(const ResponseHead& head, protocol::HeadForm form = protocol::HeadForm::current);
std::vector<std::byte> to_message(const Fields& trailers);

std::expected<RequestHead, Flaw> read_request(std::span<const std::byte> message,
                                              const HeadLimits& limits = tunnel_head_limits);

/// Says for the client what happened, before the stream is reset. Other characters than printable ones of ASCII become
/// question marks, and a long text is cut. Not for an older peer.
std::vector<std::byte> to_failure(std::string_view text);

/// What the acceptor of a request sends. One of the last three is set.
struct Answer {
  enum class Kind : std::uint8_t { head, trailers, failure };
  Kind kind = Kind::head;
  ResponseHead head;
  Fields trailers;
  std::string failure;
};
std::expected<Answer, Flaw> read_answer(std::span<const std::byte> message, const Asked& asked,
                                        const HeadLimits& limits = tunnel_head_limits);
std::expected<Fields, Flaw> read_trailers(std::span<const std::byte> message,
                                          const HeadLimits& limits = tunnel_head_limits);

}  // namespace culvert::http
