// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "common/config/toml_table.hpp"
#include "common/net/endpoint.hpp"

namespace culvert {

/// Keys proxy_… of a table: an HTTP CONNECT proxy between this program and the internet.
struct ProxySettings {
  Endpoint address;                     ///< proxy = "http://host:port"
  std::string user;                     ///< proxy_user; empty: no authentication
  std::filesystem::path password_file;  ///< proxy_password_file; read at each dial, so that it may rotate
  std::vector<std::string> no_proxy;    ///< hosts, suffixes (".corp") and networks that are dialled directly
  friend bool operator==(const ProxySettings&, const ProxySettings&) = default;
};

/// Keys proxy, proxy_user, proxy_password_file and no_proxy.
std::optional<ProxySettings> read_proxy(const TomlTable& table);

}  // namespace culvert
