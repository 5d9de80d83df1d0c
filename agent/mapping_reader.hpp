// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "agent/config.hpp"
#include "common/config/toml_reader.hpp"

namespace culvert::agent {

/// One [[system_mapping]], all but its server.
SystemMapping read_system_mapping(const TomlTable& table);

}  // namespace culvert::agent
