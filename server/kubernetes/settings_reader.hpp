// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "common/config/toml_table.hpp"
#include "server/config.hpp"

namespace culvert::server {

/// Table [kubernetes] of the configuration. What is not written comes from the pod: its environment and
/// /var/run/secrets/kubernetes.io/serviceaccount.
std::optional<KubernetesSettings> read_kubernetes(const TomlTable& root);

}  // namespace culvert::server
