// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <vector>

#include "common/config/settings_reader.hpp"
#include "common/config/toml_table.hpp"
#include "server/config/config.hpp"

namespace culvert::server {

/// Reads table [kubernetes]. Missing keys get their values from the pod: its environment and
/// /var/run/secrets/kubernetes.io/serviceaccount.
std::optional<KubernetesSettings> read_kubernetes(const TomlTable& root);
/// Reads an IP address to listen at with a range of ports.
Result<EndpointRange> parse_ports_to_listen(std::string_view text);
/// Checks key destination_ports of [gateway] against the rest of the file. `others` are the program's other listeners.
void check_destination_ports(const TomlTable& root, const Config& config, const std::vector<PlacedListener>& others);
/// Reads table [on_premise_services]. `others` are the program's other listeners.
std::optional<OnPremiseSettings> read_on_premise_services(const TomlTable& root,
                                                          const std::optional<KubernetesSettings>& kubernetes,
                                                          const std::vector<PlacedListener>& others);

}  // namespace culvert::server
