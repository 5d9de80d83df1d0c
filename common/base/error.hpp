// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <expected>
#include <string>
#include <utility>

namespace culvert {

/// A fault of a peer, a file or the environment. It is made where the context is known, and logged once.
struct Error {
  /// Stable, dotted, listed in docs/errors.md: "dial.refused".
  std::string code;
  /// For people: what happened, to what, and what to do. Never contains a secret.
  std::string text;
};

template <typename T>
using Result = std::expected<T, Error>;

/// The one way to return an error: `return fail("dial.refused", fmt::format(…));`.
inline std::unexpected<Error> fail(std::string code, std::string text) {
  return std::unexpected(Error{std::move(code), std::move(text)});
}

}  // namespace culvert
