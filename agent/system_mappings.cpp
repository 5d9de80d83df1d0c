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
    if (!settings.enabled) continue;
    Mapping mapping{settings, std::nullopt,
                    settings.addresses.empty() ? nullptr : std::make_shared<const AllowList>(settings.addresses),
                    std::make_shared<Quota>(), std::make_shared<const std::vector<Resource>>(settings.resources)};
    if (has_tls(settings.protocol)) {
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

std::size_t SystemMappings::succeed(const SystemMappings& older) {
  std::size_t withdrawn = 0;
  for (const Mapping& old : older.mappings_) {
    const auto same = std::ranges::find_if(mappings_, [&old](const Mapping& mapping) {
      return old.settings.server == mapping.settings.server &&
             old.settings.virtual_host == mapping.settings.virtual_host;
    });
    if (same != mappings_.end()) {
      same->connections = old.connections;
    } else {
      withdrawn += old.connections->taken();
      old.connections->withdraw();
    }
  }
  return withdrawn;
}

const SystemMappings::Mapping* SystemMappings::find_mapping(std::string_view server, std::string_view host,
                                                            std::uint16_t port) const {
  for (const Mapping& mapping : mappings_) {
    const SystemMapping& settings = mapping.settings;
    if (settings.server == server && settings.virtual_host.ports.contains(port) &&
        equal_names(settings.virtual_host.host, host))
      return &mapping;
  }
  return nullptr;
}

StreamTarget SystemMappings::target_of(const Mapping& mapping, std::uint16_t port) {
  const SystemMapping& settings = mapping.settings;
  const auto internal_port =
      static_cast<std::uint16_t>(settings.internal_host.ports.low + (port - settings.virtual_host.ports.low));
  StreamTarget target{.endpoint = {settings.internal_host.host, internal_port},
                      .name = fmt::format("{}:{}", settings.virtual_host.host, port),
                      .connect_time_max = std::chrono::milliseconds(settings.connect_timeout_ms),
                      .tls = std::nullopt,
                      .addresses = mapping.addresses,
                      .mapping_place = nullptr};
  if (mapping.tls) {
    target.tls = StreamTarget::Tls{*mapping.tls, settings.backend_server_name.empty() ? settings.internal_host.host
                                                                                      : settings.backend_server_name};
  }
  return target;
}

std::vector<SystemMappings::Entry> SystemMappings::entries() const {
  std::vector<Entry> all;
  all.reserve(mappings_.size());
  for (const Mapping& mapping : mappings_)
    all.push_back(
        {mapping.settings, mapping.connections->taken(), target_of(mapping, mapping.settings.virtual_host.ports.low)});
  return all;
}

std::expected<StreamTarget, SystemMappings::Refusal> SystemMappings::find(std::string_view server,
                                                                          std::string_view host,
                                                                          std::uint16_t port) const {
  const Mapping* mapping = find_mapping(server, host, port);
  if (mapping == nullptr) return std::unexpected(Refusal::not_exposed);
  if (is_http(mapping->settings.protocol)) return std::unexpected(Refusal::speaks_http);
  auto place = Quota::take(mapping->connections, mapping->settings.connections_max);
  if (!place) return std::unexpected(Refusal::full);
  StreamTarget target = target_of(*mapping, port);
  target.mapping_place = std::move(place);
  return target;
}

std::expected<HttpTarget, SystemMappings::Refusal> SystemMappings::find_http(std::string_view server,
                                                                             std::string_view host,
                                                                             std::uint16_t port) const {
  const Mapping* mapping = find_mapping(server, host, port);
  if (mapping == nullptr || !is_http(mapping->settings.protocol)) return std::unexpected(Refusal::not_exposed);
  const SystemMapping& settings = mapping->settings;
  StreamTarget target = target_of(*mapping, port);
  // Connections of a mapping that a reload changed are not taken for those of its successor: the rules are another
  // value.
  std::string key = fmt::format("{} {} {}", static_cast<const void*>(mapping->resources.get()), target.name,
                                to_string(target.endpoint));
  return HttpTarget{.target = std::move(target),
                    .key = std::move(key),
                    .scheme = settings.protocol == MappingProtocol::https ? http::Scheme::https : http::Scheme::http,
                    .host_header = settings.host_header,
                    .slash = settings.encoded_slash,
                    .resources = mapping->resources,
                    .first_byte_time_max = settings.first_byte_timeout,
                    .idle_time_max = settings.idle_timeout,
                    .connections = mapping->connections,
                    .connections_max = settings.connections_max,
                    .place = nullptr};
}

}  // namespace culvert::agent
