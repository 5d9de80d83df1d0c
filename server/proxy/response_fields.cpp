// SPDX-License-Identifier: Apache-2.0
#include "server/proxy/response_fields.hpp"

#include <ctime>
#include <string>
#include <string_view>

#include <fmt/chrono.h>

#include "common/http/characters.hpp"
#include "common/http/connection_login.hpp"
#include "common/http/field_names.hpp"

namespace culvert::server {

namespace {

/// Whether a member of Proxy-Status has one of our names, as a token or as a string.
bool is_ours(std::string_view member) {
  std::string_view name = http::without_spaces_around(member.substr(0, member.find(';')));
  if (name.size() >= 2 && name.starts_with('"') && name.ends_with('"')) name = name.substr(1, name.size() - 2);
  return http::is_equal_ignoring_case(name, "culvert-server") || http::is_equal_ignoring_case(name, "culvert-agent");
}

/// The members of the list that are not ours.
std::string others_of(std::string_view list) {
  std::string others;
  while (!list.empty()) {
    const std::string_view member = http::take_element_with_strings(list);
    if (member.empty() || is_ours(member)) continue;
    if (!others.empty()) others += ", ";
    others += member;
  }
  return others;
}

/// The agent has appended us already, with the version that the back end speaks; an older one has not.
void add_via(http::Fields& fields) {
  for (const auto& [name, value] : fields) {
    if (http::is_equal_ignoring_case(name, "Via") && value.ends_with(" culvert")) return;
  }
  http::append_via(fields, http::Version::http_1_1);
}

void append_to_proxy_status(http::Fields& fields) {
  std::string members;
  for (const auto& [name, value] : fields) {
    if (!http::is_equal_ignoring_case(name, "Proxy-Status")) continue;
    const std::string others = others_of(value);
    if (!others.empty()) members += others + ", ";
  }
  fields.set("Proxy-Status", members + "culvert-server");
}

}  // namespace

std::string_view date_now() {
  thread_local std::time_t of = 0;
  thread_local std::string text;
  const std::time_t now = std::time(nullptr);
  if (now != of) {
    of = now;
    text = fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT", fmt::gmtime(now));
  }
  return text;
}

void set_own_fields(http::ResponseHead& head) {
  http::Fields& fields = head.fields;
  add_via(fields);
  if (!fields.find("Date")) fields.add("Date", date_now());
  fields.erase("X-Request-Id");
  if (fields.find("Proxy-Status")) append_to_proxy_status(fields);
  // RFC 4559 6: the client may begin such a login only if the proxy keeps its connection apart.
  if (head.status == 401 && http::asks_for_connection_login(fields))
    fields.set("Proxy-Support", "Session-Based-Authentication");
}

}  // namespace culvert::server
