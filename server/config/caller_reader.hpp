// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "common/config/settings_reader.hpp"
#include "common/config/toml_table.hpp"
#include "server/config/config.hpp"

namespace culvert::server {

/// Read the tables [http_proxy] and [socks5_proxy]: the ports, and how their callers are known. Each adds its port to
/// `listeners`.
std::optional<HttpProxySettings> read_http_proxy(const TomlTable& root, std::vector<PlacedListener>& listeners);
std::optional<Socks5ProxySettings> read_socks5_proxy(const TomlTable& root, std::vector<PlacedListener>& listeners);

/// Reads who may call the gateway: keys issuer and trust of its table.
struct GatewayCallers {
  CallerSettings settings;
  bool are_guarded = false;  ///< ListenRules::is_guarded
};
GatewayCallers read_gateway_callers(const TomlTable& table);

}  // namespace culvert::server
