// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace culvert {

using Sha256 = std::array<std::byte, 32>;

/// The digest of `text`. Throws std::bad_alloc only.
Sha256 sha256(std::string_view text);

/// Compares digests in constant time, so that the time tells nothing about a stored secret.
bool are_equal(const Sha256& one, const Sha256& other);

}  // namespace culvert
