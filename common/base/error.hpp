// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <expected>
#include <string>
#include <utility>

namespace culvert {

/// What a peer, a file or the world did wrong, told once, where the context is known.
struct Error {
  /// Stable, dotted, listed in docs/errors.md: "dial.refused".
  std::string code;
  /// For a person: which one, what was expected, what to do. Never a secret.
  std::string text;
};

template <typename T>
using Result = std::expected<T, Error>;

/// The one way to return an error: `return fail("dial.refused", fmt::format(…));`.
inline std::unexpected<Error> fail(std::string code, std::string text) {
  return std::unexpected(Error{std::move(code), std::move(text)});
}

}  // namespace culvert
