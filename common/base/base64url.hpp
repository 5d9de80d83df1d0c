// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace culvert {

/// Encodes bytes as RFC 4648 5 without padding.
std::string encode_base64url(std::string_view bytes);

/// Decodes RFC 4648 5 as RFC 7515 2 requires it: no padding, no white space, no stray bits behind the last byte, so
/// that a value has one spelling. Nothing for any other text.
std::optional<std::string> decode_base64url(std::string_view text);

}  // namespace culvert
