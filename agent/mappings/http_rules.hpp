// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "agent/config/config.hpp"
#include "common/http/head.hpp"
#include "common/http/path.hpp"
#include "protocol/reason.hpp"

namespace culvert::agent {

/// The access control of an HTTP mapping.
struct HttpRules {
  const std::vector<Resource>& resources;
  http::PathRules paths = http::EncodedSlash::refuse;
};

struct HttpRefusal {
  protocol::Reason reason;
  std::string_view hint;  ///< For the log: what to do.
};

/// Checks a request by the resources of its mapping: its path, in the spelling that is sent and in the canonical form,
/// and each method that it asks for, in its line and in fields that override it.
std::optional<HttpRefusal> refusal_of(const HttpRules& rules, const http::RequestHead& head);

/// Whether a resource allows this method on this path ("*" is the whole server). What a field names is checked so too.
bool is_allowed(const HttpRules& rules, std::string_view method, std::string_view path, bool upgrades = false);

/// Removes the fields by which some frameworks replace the path or the host that were checked: X-Original-URL,
/// X-Rewrite-URL and the like. X-Forwarded-* and Forwarded are the server's own.
void erase_rewriting_fields(http::Fields& fields);

}  // namespace culvert::agent
