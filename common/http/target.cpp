// SPDX-License-Identifier: Apache-2.0
#include "common/http/target.hpp"

#include <utility>

#include "common/http/characters.hpp"
#include "common/http/path.hpp"

namespace culvert::http {

namespace {

bool takes_scheme(std::string_view& text, std::string_view scheme) {
  if (!is_equal_ignoring_case(text.substr(0, scheme.size()), scheme)) return false;
  text.remove_prefix(scheme.size());
  return true;
}

Flaw parse_path_and_query(std::string_view text, RequestHead& head) {
  const std::size_t mark = text.find('?');
  if (mark != text.npos) {
    if (!is_query(text.substr(mark + 1))) return &refusals::bad_query;
    head.query = text.substr(mark);
  }
  head.path = text.substr(0, mark);
  return flaw_of_path(head.path, all_kept);
}

Flaw parse_absolute_form(std::string_view target, RequestHead& head) {
  if (takes_scheme(target, "https://")) return &refusals::https_target;
  if (!takes_scheme(target, "http://")) return &refusals::bad_target;
  const std::size_t end = target.find_first_of("/?");
  auto authority = parse_authority(target.substr(0, end), default_port(Scheme::http));
  if (!authority) return authority.error();
  head.authority = std::move(*authority);
  if (end != target.npos && target[end] == '/') return parse_path_and_query(target.substr(end), head);
  // RFC 9112 3.2.4: OPTIONS without path and query concerns the whole server.
  head.path = head.method == "OPTIONS" && end == target.npos ? "*" : "/";
  if (end == target.npos) return nullptr;
  if (!is_query(target.substr(end + 1))) return &refusals::bad_query;
  head.query = target.substr(end);
  return nullptr;
}

}  // namespace

Flaw parse_target(std::string_view target, Role role, RequestHead& head) {
  head.authority = {};
  head.path.clear();
  head.query.clear();
  if (head.method == "CONNECT") {
    if (role == Role::origin) return &refusals::connect_not_here;
    auto authority = parse_authority(target, std::nullopt);
    if (!authority) return authority.error();
    head.authority = std::move(*authority);
    return nullptr;
  }
  if (role == Role::proxy) return parse_absolute_form(target, head);
  if (target.starts_with('/')) return parse_path_and_query(target, head);
  if (target != "*" || head.method != "OPTIONS") return parse_absolute_form(target, head);
  head.path = "*";
  return nullptr;
}

}  // namespace culvert::http
