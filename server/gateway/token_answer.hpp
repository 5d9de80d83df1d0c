// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "common/base/error.hpp"

// What is sent to the token service of OAuth 2.0 and what it answers (RFC 6749). Pure.

namespace culvert::server {

inline constexpr std::size_t token_answer_bytes_max = std::size_t{64} << 10;
inline constexpr std::size_t access_token_bytes_max = std::size_t{16} << 10;
/// For an answer without expires_in.
inline constexpr std::chrono::seconds access_token_lifetime_default = std::chrono::minutes(5);
/// A longer expires_in is not believed.
inline constexpr std::chrono::seconds access_token_lifetime_max = std::chrono::days(1);

/// An access token for "Authorization: Bearer". Its text is a secret.
struct AccessToken {
  std::string text;
  std::chrono::seconds lifetime{};  ///< From the answer on; zero for a token that is not to be kept.
};

/// Reads the answer of a token service with its status (RFC 6749 5.1, 5.2). The error's code is "gateway.token_failed";
/// its text has the status and the answer's `error` word, and nothing else of the body.
Result<AccessToken> read_token_answer(int status, std::string_view body);

/// Encodes as application/x-www-form-urlencoded does, for a value in a form, and for the client's name and password in
/// "Authorization: Basic" (RFC 6749 2.3.1 and appendix B).
std::string form_encoded(std::string_view text);

struct FormField {
  std::string_view name;
  std::string_view value;
};
/// A form such as "grant_type=client_credentials&scope=a+b". Fields without a value are left out. The text may contain
/// secrets.
std::string client_form(std::span<const FormField> fields);

}  // namespace culvert::server
