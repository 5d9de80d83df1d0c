// SPDX-License-Identifier: Apache-2.0
#include "common/http/field_names.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "common/http/characters.hpp"

namespace culvert::http {

namespace {

struct Known {
  std::string_view name;
  HopField field;
};
constexpr auto hop_fields = std::to_array<Known>({
    {"te", HopField::te},
    {"host", HopField::host},
    {"expect", HopField::expect},
    {"upgrade", HopField::upgrade},
    {"connection", HopField::connection},
    {"keep-alive", HopField::keep_alive},
    {"content-length", HopField::content_length},
    {"http2-settings", HopField::dropped},
    {"proxy-connection", HopField::dropped},
    {"transfer-encoding", HopField::transfer_encoding},
    {"proxy-authenticate", HopField::dropped},
    {"proxy-authorization", HopField::proxy_authorization},
    {"proxy-authentication-info", HopField::dropped},
});

constexpr auto own_names = std::to_array<std::string_view>({"forwarded", "x-real-ip"});
constexpr auto own_prefixes = std::to_array<std::string_view>({"x-forwarded-", "sap-connectivity-", "sap-cp-"});

constexpr auto forwarded_names =
    std::to_array<std::string_view>({"forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-port",
                                     "x-forwarded-prefix", "x-forwarded-proto"});

constexpr auto trailer_names = std::to_array<std::string_view>({
    "age",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expires",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "location",
    "max-forwards",
    "pragma",
    "range",
    "retry-after",
    "set-cookie",
    "trailer",
    "vary",
    "via",
    "warning",
    "www-authenticate",
});

/// Lengths of the hop-by-hop names, one bit each, so that most fields need no comparison.
constexpr std::uint32_t hop_lengths = [] {
  std::uint32_t lengths = 0;
  for (const Known& known : hop_fields) lengths |= 1u << known.name.size();
  return lengths;
}();

/// Without regard to case, but spelt with "-" only.
bool is_forwarded_name(std::string_view name) {
  return std::ranges::any_of(forwarded_names,
                             [name](std::string_view other) { return is_equal_ignoring_case(name, other); });
}

}  // namespace

HopField hop_field_of(std::string_view name) {
  if (name.size() >= 32 || (hop_lengths >> name.size() & 1) == 0) return HopField::none;
  for (const Known& known : hop_fields) {
    if (known.name.size() != name.size() || !is_alike(name, known.name)) continue;
    return is_equal_ignoring_case(name, known.name) ? known.field : HopField::dropped;
  }
  return HopField::none;
}

bool is_own_field(std::string_view name) {
  return std::ranges::any_of(own_names, [name](std::string_view own) { return is_alike(name, own); }) ||
         std::ranges::any_of(own_prefixes, [name](std::string_view own) {
           return name.size() >= own.size() && is_alike(name.substr(0, own.size()), own);
         });
}

void append_via(Fields& fields, Version received) {
  append_member(fields, "Via", received == Version::http_1_0 ? "1.0 culvert" : "1.1 culvert");
}

void append_member(Fields& fields, std::string_view name, std::string_view member) {
  for (std::size_t i = fields.size(); i-- > 0;) {
    if (!is_equal_ignoring_case(fields[i].name, name)) continue;
    std::string members(fields[i].value);
    if (!members.empty()) members += ", ";
    return fields.replace(i, members += member);
  }
  fields.add(name, member);
}

void erase_own_fields(Fields& fields, Forwarded forwarded) {
  fields.erase_if([forwarded](std::string_view name) {
    return is_own_field(name) && (forwarded == Forwarded::erase || !is_forwarded_name(name));
  });
}

bool is_forbidden_in_trailers(std::string_view name) {
  return hop_field_of(name) != HopField::none || is_own_field(name) ||
         std::ranges::any_of(trailer_names, [name](std::string_view other) { return is_alike(name, other); });
}

}  // namespace culvert::http
