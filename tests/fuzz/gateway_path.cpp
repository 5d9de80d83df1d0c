// SPDX-License-Identifier: Apache-2.0
#include "server/targets/gateway_path.hpp"

#include <algorithm>

#include "protocol/check.hpp"
#include "tests/fuzz/targets.hpp"

namespace culvert::fuzz {

using namespace culvert::server;  // NOLINT(google-build-using-namespace)

namespace {

void check_name(std::string_view display_name) {
  const std::string name = normal_name(display_name);
  check(std::ranges::all_of(name, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'; }),
        "a name has letters, digits and hyphens");
  check(!name.starts_with('-') && !name.ends_with('-') && !name.contains("--"), "and hyphens only between them");
  check(normal_name(name) == name, "it stays as it is");
}

void check_split(std::string_view path, GatewayPort port) {
  const auto split = split_gateway_path(path, port);
  if (!split) return;
  std::string joined = "/" + std::string(split->application) + "/" + std::string(split->service);
  if (port == GatewayPort::entries) joined += "/" + std::string(split->entry);
  joined += split->rest;
  check(joined == path, "nothing is changed");
  for (const std::string_view segment : {split->application, split->service})
    check(!segment.empty() && !segment.contains('/'), "a name is one segment");
  check(split->entry.empty() == (port == GatewayPort::services), "as is the entry");
  check(split->rest.empty() || split->rest.starts_with('/'), "the rest begins with a slash");
}

void check_joined(std::string_view base, std::string_view rest) {
  const std::string path = join_path(base, rest);
  if (rest.empty()) return check(path == (base.empty() ? "/" : base), "a base stays as it is");
  if (base.ends_with('/')) base.remove_suffix(1);
  check(path.starts_with(base) && path.ends_with(rest), "the base is in front and the rest behind it");
  check(path.size() == base.size() + rest.size() + (rest.starts_with('/') ? 0 : 1), "with one slash between them");
}

void check_query(std::string_view one, std::string_view other) {
  const std::string query = join_query(one, other, one);
  check(query.empty() || (query.size() > 1 && query.starts_with('?')), "a query has its question mark");
  check(join_query(query, "", "") == query, "and is a query");
}

}  // namespace

void gateway_path(std::span<const std::byte> input) {
  const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  check_name(text);
  check_split(text, GatewayPort::services);
  check_split(text, GatewayPort::entries);
  const std::size_t end = std::min(text.find('\n'), text.size());
  const std::string_view rest = text.substr(std::min(end + 1, text.size()));
  check_joined(text.substr(0, end), rest);
  check_query(text.substr(0, end), rest);
}

}  // namespace culvert::fuzz
