// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "common/http/head.hpp"

namespace culvert::http {

/// The order of heads and body in one direction of an exchange, as they come from the tunnel (SPEC 5.7): interim
/// responses, the head, its body, and at most one HEAD with trailers, which nothing follows. Each call takes the next
/// part; it returns false if the part is out of place, and then the stream must end.
class HeadOrder {
 public:
  bool take_interim() const { return !has_head(); }
  /// The head of the request or of the final response. Trailers may follow only a body of unknown length.
  bool take_head(const Framing& framing);
  /// A part of the body. That it is not longer than declared is checked by BodyWriter.
  bool take_body() const;
  bool take_trailers();
  bool has_head() const { return position_ != Position::before_head; }

 private:
  enum class Position : std::uint8_t { before_head, in_body, in_body_with_trailers, behind_trailers };
  Position position_ = Position::before_head;
};

}  // namespace culvert::http
