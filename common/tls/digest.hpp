// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace culvert {

using Sha256 = std::array<std::byte, 32>;

/// The digest of `text`. Throws std::bad_alloc only.
Sha256 sha256(std::string_view text);

}  // namespace culvert
