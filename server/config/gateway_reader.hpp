// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "common/config/settings_reader.hpp"
#include "common/config/toml_table.hpp"
#include "server/config/config.hpp"

namespace culvert::server {

/// Reads the table [gateway] and the tables [[application]]. Adds its ports to `listeners`.
std::optional<GatewaySettings> read_gateway(const TomlTable& root, std::vector<PlacedListener>& listeners);

}  // namespace culvert::server
