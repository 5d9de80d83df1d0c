// SPDX-License-Identifier: Apache-2.0
#include "common/config/proxy_reader.hpp"

#include <algorithm>
#include <string_view>

#include <fmt/core.h>

#include "common/config/settings_reader.hpp"
#include "common/net/allow_list.hpp"

namespace culvert {

namespace {

/// http://host:port, and nothing else.
Result<Endpoint> parse_proxy(std::string_view text) {
  if (text.contains('@')) {
    return fail("config.malformed", "no user name or password here; put them into proxy_user and proxy_password_file");
  }
  constexpr std::string_view scheme = "http://";
  if (!text.starts_with(scheme)) {
    return fail("config.malformed",
                fmt::format("\"{}\": only plain HTTP to the proxy is supported; write http://host:port", text));
  }
  text.remove_prefix(scheme.size());
  if (text.ends_with('/')) text.remove_suffix(1);
  return parse_endpoint(text);
}

/// A host, ".suffix", an IP address or a network.
Result<std::string> parse_no_proxy(std::string_view text) {
  if (text.contains('/')) {
    auto added = AllowList().add(text);
    if (!added) return std::unexpected(added.error());
    return std::string(text);
  }
  const bool is_suffix = text.starts_with('.');
  auto host = parse_host(is_suffix ? text.substr(1) : text);
  if (host && is_suffix) host->insert(0, 1, '.');
  return host;
}

/// Basic authentication separates user and password by a colon (RFC 7617 2).
Result<std::string> parse_proxy_user(std::string_view text) {
  const bool fits =
      !text.empty() && std::ranges::all_of(text, [](unsigned char c) { return c >= ' ' && c != 127 && c != ':'; });
  if (!fits) return fail("config.malformed", "must be a user name without colons and control characters");
  return std::string(text);
}

}  // namespace

std::optional<ProxySettings> read_proxy(const TomlTable& table) {
  const auto needs = [&](std::string_view key, std::string_view other) {
    if (table.has(key) && !table.has(other)) table.fault(key, fmt::format("has no meaning without {}; add it", other));
  };
  needs("proxy_user", "proxy");
  needs("proxy_password_file", "proxy_user");
  needs("proxy_user", "proxy_password_file");
  needs("no_proxy", "proxy");

  ProxySettings proxy;
  const auto address = table.parsed("proxy", parse_proxy);
  proxy.user = table.parsed("proxy_user", parse_proxy_user).value_or("");
  proxy.password_file = read_secret_path(table, "proxy_password_file");
  proxy.no_proxy = table.parsed_list("no_proxy", parse_no_proxy).value_or(std::vector<std::string>());
  if (!address) return std::nullopt;
  proxy.address = *address;
  return proxy;
}

}  // namespace culvert
