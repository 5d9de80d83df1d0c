// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <source_location>

namespace culvert {

[[noreturn]] void check_failed(const char* claim, std::source_location where);

/// A claim about our own code, checked in release builds too: prints `claim` and aborts if it does not hold.
/// Never use it for what a peer or the environment can cause: that is a Reason or an Error.
inline void check(bool holds, const char* claim, std::source_location where = std::source_location::current()) {
  if (!holds) [[unlikely]]
    check_failed(claim, where);
}

}  // namespace culvert
