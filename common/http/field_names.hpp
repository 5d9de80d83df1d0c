// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "common/http/fields.hpp"
#include "common/http/head.hpp"

// Field names with a meaning for Culvert. Where a field is only removed, names are compared by is_alike(), so that
// "Transfer_Encoding" is removed too; where a field has an effect, only the spelling with hyphens counts.

namespace culvert::http {

/// Fields about one connection or its framing, and Host, which is part of the target. They are never in Fields of a
/// head: its members hold their content (RFC 9110 7.6.1, threats B17).
enum class HopField : std::uint8_t {
  none,  ///< Any other name: the field is forwarded.
  host,
  content_length,
  transfer_encoding,
  connection,
  upgrade,
  te,
  expect,
  proxy_authorization,
  keep_alive,
  /// Only removed: Proxy-Connection, Proxy-Authenticate, HTTP2-Settings and the like, and every
  /// name that is alike but not equal to one of the above.
  dropped,
};
HopField hop_field_of(std::string_view name);

/// Fields that only Culvert may send to a back end: Forwarded, X-Forwarded-*, X-Real-IP (docs/threat-model.md, B16),
/// and fields that are for Culvert alone: SAP-Connectivity-* and SAP-CP-*.
bool is_own_field(std::string_view name);
/// Appends us to Via, behind those who passed the message on before: `received` is the version that it came with (RFC
/// 9110 7.6.3).
void append_via(Fields& fields, Version received);

/// Appends a member to the last field of this name, a list, or adds the field.
void append_member(Fields& fields, std::string_view name, std::string_view member);

/// Whether a request keeps what it says about the way before it: Forwarded, X-Forwarded-For, -Host, -Port, -Prefix and
/// -Proto.
enum class Forwarded : std::uint8_t { erase, keep };
/// Removes is_own_field() fields. Read those that you need before.
void erase_own_fields(Fields& fields, Forwarded forwarded = Forwarded::erase);

/// Fields that must not be in trailers, since they would come too late or be mistaken for a header field (RFC 9110
/// 6.5.1): framing, routing, authentication, description of the content, and is_own_field().
bool is_forbidden_in_trailers(std::string_view name);

}  // namespace culvert::http
