// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "protocol/reason.hpp"

namespace culvert::protocol {

/// Why the tunnel must end: the peer broke a rule of SPEC.md, or it is dead. Session turns it into GOAWAY(final).
struct Fault {
  Reason reason = Reason::protocol;
  std::string_view text;  ///< A string literal, for the logs of both sides.
};

}  // namespace culvert::protocol
