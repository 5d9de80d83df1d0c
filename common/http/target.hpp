// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "common/http/head.hpp"
#include "common/http/refusal.hpp"

namespace culvert::http {

/// As what a request is read.
enum class Role : std::uint8_t {
  origin,  ///< As the server that it names: origin-form, and "*" with OPTIONS (RFC 9112 3.2).
  proxy,   ///< At the proxy port: absolute-form with http://, and CONNECT.
};

/// Reads the target into authority, path and query of `head`, whose method is set. In origin-form the authority is left
/// for the Host field. Encoded slashes are kept: whether they may be there only the mapping knows.
Flaw parse_target(std::string_view target, Role role, RequestHead& head);

}  // namespace culvert::http
