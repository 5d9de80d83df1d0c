// SPDX-License-Identifier: Apache-2.0
#include "agent/system_mappings.hpp"

#include <algorithm>
#include <cctype>
#include <utility>

#include <fmt/core.h>

namespace culvert::agent {
namespace {

bool equal_names(std::string_view left, std::string_view right) {
  return std::ranges::equal(left, right,
                            [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); });
}

}  // namespace

Result<SystemMappings> SystemMappings::load(const std::vector<SystemMapping>& mappings) {
  SystemMappings loaded;
  for (const SystemMapping& settings : mappings) {
    Mapping mapping{settings, std::nullopt, std::make_shared<Quota>()};
    if (settings.protocol == MappingProtocol::tcps) {
      auto context = TlsContext::for_backend({settings.backend_ca, settings.client_certificate, settings.client_key});
      if (!context)
        return fail(context.error().code,
                    fmt::format("system_mapping {}: {}", to_string(settings.virtual_host), context.error().text));
      mapping.tls = std::move(*context);
    }
    loaded.mappings_.push_back(std::move(mapping));
  }
  return loaded;
}

void SystemMappings::inherit_counts(const SystemMappings& older) {
  for (Mapping& mapping : mappings_) {
    const auto same = std::ranges::find_if(older.mappings_, [&mapping](const Mapping& other) {
      return other.settings.server == mapping.settings.server &&
             other.settings.virtual_host == mapping.settings.virtual_host;
    });
    if (same != older.mappings_.end()) mapping.connections = same->connections;
  }
}

std::expected<StreamTarget, SystemMappings::Refusal> SystemMappings::find(std::string_view server,
                                                                          std::string_view host,
                                                                          std::uint16_t port) const {
  for (const Mapping& mapping : mappings_) {
    const SystemMapping& settings = mapping.settings;
    if (settings.server != server || !settings.virtual_host.ports.contains(port) ||
        !equal_names(settings.virtual_host.host, host))
      continue;
    auto place = Quota::take(mapping.connections, settings.connections_max);
    if (!place) return std::unexpected(Refusal::full);
    const auto internal_port =
        static_cast<std::uint16_t>(settings.internal_host.ports.low + (port - settings.virtual_host.ports.low));
    StreamTarget target{.endpoint = {settings.internal_host.host, internal_port},
                        .name = fmt::format("{}:{}", settings.virtual_host.host, port),
                        .connect_time_max = std::chrono::milliseconds(settings.connect_timeout_ms),
                        .tls = std::nullopt,
                        .mapping_place = std::move(place)};
    if (mapping.tls) {
      target.tls = StreamTarget::Tls{*mapping.tls, settings.backend_server_name.empty() ? settings.internal_host.host
                                                                                        : settings.backend_server_name};
    }
    return target;
  }
  return std::unexpected(Refusal::not_exposed);
}

}  // namespace culvert::agent
