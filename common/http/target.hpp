// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "common/http/head.hpp"
#include "common/http/refusal.hpp"

namespace culvert::http {

/// The role in which a request is parsed.
enum class Role : std::uint8_t {
  origin,  ///< The server that the request names: origin-form, and "*" with OPTIONS (RFC 9112 3.2).
  proxy,   ///< The proxy port: absolute-form with http://, and CONNECT.
};

/// Parses the target into authority, path and query of `head`, whose method must be set. In origin-form the authority
/// comes from the Host field later. Encoded slashes are kept: the mapping decides whether they are allowed.
Flaw parse_target(std::string_view target, Role role, RequestHead& head);

}  // namespace culvert::http
