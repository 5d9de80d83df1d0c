// SPDX-License-Identifier: Apache-2.0
#include "common/http/head_check.hpp"

#include <limits>
#include <string>

#include "common/http/characters.hpp"
#include "common/http/field_names.hpp"
#include "common/http/path.hpp"
#include "common/http/upgrade.hpp"

namespace culvert::http {

namespace {

constexpr Flaw bad_head = &refusals::bad_head;

Flaw flaw_of_fields(const Fields& fields, std::size_t bytes_max, const HeadLimits& limits) {
  if (fields.size() > limits.fields_max) return &refusals::too_many_fields;
  if (fields.bytes() > bytes_max) return &refusals::head_too_long;
  for (const auto& [name, value] : fields) {
    if (name.size() + value.size() > limits.line_bytes_max) return &refusals::line_too_long;
    if (!is_token(name) || !is_field_value(value) || hop_field_of(name) != HopField::none) return bad_head;
  }
  return nullptr;
}

bool is_possible(const Framing& framing) {
  if (framing.kind != Framing::Kind::length) return framing.length == 0;
  return framing.length <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
}

/// Whether `list` is a list "a, b" in the form that HeadFacts makes.
bool is_upgrade_list(std::string_view list, const HeadLimits& limits) {
  if (list.size() > limits.text_bytes_max) return false;
  std::string joined;
  for (std::string_view rest = list; !rest.empty();) {
    const std::string_view protocol = take_element(rest);
    if (!is_upgrade_protocol(protocol) || is_unseen_http(protocol)) return false;
    if (!joined.empty()) joined += ", ";
    joined += protocol;
  }
  return joined == list;
}

bool is_canonical_authority(const Endpoint& authority) {
  const auto host = parse_host(authority.host);
  return host && *host == authority.host && authority.port != 0;
}

}  // namespace

Flaw flaw_of(const RequestHead& head, const HeadLimits& limits) {
  if (!is_token(head.method) || head.method.size() > limits.method_bytes_max || head.method == "CONNECT") {
    return bad_head;
  }
  if (!is_canonical_authority(head.authority)) return &refusals::bad_authority;
  if (target_bytes(head) > limits.target_bytes_max) return &refusals::uri_too_long;
  if (head.path == "*") {
    if (head.method != "OPTIONS" || !head.query.empty()) return &refusals::bad_target;
  } else if (const Flaw flaw = flaw_of_path(head.path, all_kept)) {
    return flaw;
  }
  const bool is_query_good = head.query.empty() || (head.query.front() == '?' && is_query(head.query.substr(1)));
  if (!is_query_good) return &refusals::bad_query;
  if (const Flaw flaw = flaw_of_fields(head.fields, limits.head_bytes_max, limits)) return flaw;
  const bool has_body = head.framing.has_body();
  if (!is_possible(head.framing)) return bad_head;
  if (head.framing.kind != Framing::Kind::none && head.method == "TRACE") return &refusals::body_not_allowed;
  if (head.expect_continue && !has_body) return bad_head;
  if (!head.upgrade.empty() && (has_body || !is_upgrade_list(head.upgrade, limits))) return bad_head;
  return nullptr;
}

Flaw flaw_of(const ResponseHead& head, const Asked& asked, const HeadLimits& limits) {
  if (head.status < 100 || head.status > 599) return bad_head;
  if (head.reason.size() > limits.text_bytes_max || !is_field_value(head.reason)) return bad_head;
  if (const Flaw flaw = flaw_of_fields(head.fields, limits.head_bytes_max, limits)) return flaw;
  if (!is_possible(head.framing)) return bad_head;
  const bool declares_only = asked.is_head || head.status == 304;
  const bool has_nothing = head.status < 200 || head.status == 204;
  if (has_nothing && head.framing.kind != Framing::Kind::none) return &refusals::body_not_allowed;
  if (declares_only && head.framing.kind == Framing::Kind::unknown) return bad_head;
  if (!declares_only && !has_nothing && head.framing.kind == Framing::Kind::none) return bad_head;
  if (head.status == 426) return is_upgrade_list(head.upgrade, limits) ? nullptr : bad_head;
  if (head.status != 101) return head.upgrade.empty() ? nullptr : bad_head;
  for (std::string_view offered = asked.upgrade; !offered.empty();) {
    if (take_element(offered) == head.upgrade) return nullptr;
  }
  return &refusals::unasked_upgrade;
}

Flaw flaw_of_trailers(const Fields& trailers, const HeadLimits& limits) {
  if (const Flaw flaw = flaw_of_fields(trailers, limits.trailer_bytes_max, limits)) return flaw;
  for (const auto& [name, value] : trailers) {
    if (is_forbidden_in_trailers(name)) return bad_head;
  }
  return nullptr;
}

}  // namespace culvert::http
