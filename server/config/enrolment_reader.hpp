// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>

#include "common/config/toml_table.hpp"
#include "server/config/config.hpp"

namespace culvert::server {

/// Reads table [enrolment]. Notes what does not fit the other tables: a cluster's issuer without a cluster, several
/// replicas that would need one.
std::optional<EnrolmentSettings> read_enrolment(const TomlTable& root, const TunnelSettings& tunnel,
                                                const std::optional<KubernetesSettings>& kubernetes);

}  // namespace culvert::server
