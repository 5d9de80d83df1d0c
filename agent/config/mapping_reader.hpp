// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "agent/config/config.hpp"
#include "common/config/toml_reader.hpp"

namespace culvert::agent {

/// Reads one [[system_mapping]], except its key `server`.
SystemMapping read_system_mapping(const TomlTable& table);

}  // namespace culvert::agent
