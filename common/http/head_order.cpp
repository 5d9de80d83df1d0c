// SPDX-License-Identifier: Apache-2.0
#include "common/http/head_order.hpp"

namespace culvert::http {

bool HeadOrder::take_head(const Framing& framing) {
  if (position_ != Position::before_head) return false;
  const bool may_have_trailers = framing.kind == Framing::Kind::unknown;
  position_ = may_have_trailers ? Position::in_body_with_trailers : Position::in_body;
  return true;
}

bool HeadOrder::take_body() const {
  return position_ == Position::in_body || position_ == Position::in_body_with_trailers;
}

bool HeadOrder::take_trailers() {
  if (position_ != Position::in_body_with_trailers) return false;
  position_ = Position::behind_trailers;
  return true;
}

}  // namespace culvert::http
