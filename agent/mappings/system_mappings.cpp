// SPDX-License-Identifier: Apache-2.0
#include "agent/mappings/system_mappings.hpp"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

namespace culvert::agent {

Result<SystemMappings> SystemMappings::load(const std::vector<SystemMapping>& mappings,
                                            const http::HeadLimits& head_limits) {
  SystemMappings loaded;
  loaded.head_limits_ = head_limits;
  for (const SystemMapping& settings : mappings) {
    if (!settings.enabled) continue;
    Mapping mapping{settings,
                    std::nullopt,
                    settings.addresses.empty()
                        ? nullptr
                        : std::make_shared<const AddressRule>(AddressRule{.networks = settings.addresses}),
                    std::make_shared<Quota>(),
                    std::make_shared<const std::vector<Resource>>(settings.resources),
                    nullptr};
    if (has_tls(settings.protocol)) {
      auto context = TlsContext::for_backend({.ca = settings.backend_ca,
                                              .client_certificate = settings.client_certificate,
                                              .client_key = settings.client_key,
                                              .minimum = settings.tls_minimum,
                                              .allows_legacy = settings.tls_legacy});
      if (!context)
        return fail(context.error().code,
                    fmt::format("system_mapping {}: {}", to_string(settings.virtual_host), context.error().text));
      mapping.tls = std::move(*context);
    }
    loaded.prepare(mapping);
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
      prepare(*same);
    } else {
      withdrawn += old.connections->taken();
      old.connections->withdraw();
    }
  }
  return withdrawn;
}

const SystemMappings::Mapping* SystemMappings::find_mapping(std::string_view server, std::string_view host,
                                                            std::uint16_t port) const {
  const auto canonical = parse_host(host);  // An older server sends other spellings of an address.
  if (!canonical) return nullptr;
  for (const Mapping& mapping : mappings_) {
    const SystemMapping& settings = mapping.settings;
    if (settings.server == server && settings.virtual_host.ports.contains(port) &&
        settings.virtual_host.host == *canonical)
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
                      .connections = mapping.connections,
                      .connections_max = settings.connections_max};
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

std::expected<StreamTarget, SystemMappings::Miss> SystemMappings::find(std::string_view server, std::string_view host,
                                                                       std::uint16_t port,
                                                                       protocol::Open::Kind kind) const {
  const Mapping* mapping = find_mapping(server, host, port);
  if (mapping == nullptr) return std::unexpected(Miss::not_exposed);
  const MappingProtocol protocol = mapping->settings.protocol;
  if (kind_of(protocol) != kind) return std::unexpected(is_http(protocol) ? Miss::speaks_http : Miss::not_exposed);
  return target_of(*mapping, port);
}

std::expected<std::shared_ptr<const HttpTarget>, SystemMappings::Miss> SystemMappings::find_http(
    std::string_view server, std::string_view host, std::uint16_t port) const {
  const Mapping* mapping = find_mapping(server, host, port);
  if (mapping == nullptr || !is_http(mapping->settings.protocol)) return std::unexpected(Miss::not_exposed);
  return port == mapping->settings.virtual_host.ports.low ? mapping->http : http_target_of(*mapping, port);
}

void SystemMappings::prepare(Mapping& mapping) const {
  if (is_http(mapping.settings.protocol))
    mapping.http = http_target_of(mapping, mapping.settings.virtual_host.ports.low);
}

std::shared_ptr<const HttpTarget> SystemMappings::http_target_of(const Mapping& mapping, std::uint16_t port) const {
  const SystemMapping& settings = mapping.settings;
  StreamTarget target = target_of(mapping, port);
  // The key contains the address of the rules, so that connections of a mapping that a reload changed are not reused by
  // its successor.
  std::string key = fmt::format("{} {} {}", static_cast<const void*>(mapping.resources.get()), target.name,
                                to_string(target.endpoint));
  return std::make_shared<const HttpTarget>(
      HttpTarget{.back_end = {.target = std::move(target),
                              .key = std::move(key),
                              .first_byte_time_max = settings.first_byte_timeout,
                              .idle_time_max = settings.idle_timeout,
                              .upgrade_idle_time_max = settings.upgrade_idle_timeout,
                              .head_limits = head_limits_},
                 .scheme = settings.protocol == MappingProtocol::https ? http::Scheme::https : http::Scheme::http,
                 .host_header = settings.host_header,
                 .paths = {settings.encoded_slash, settings.encoded_backslash},
                 .strips_secure = settings.protocol == MappingProtocol::https && settings.strips_secure,
                 .resources = mapping.resources});
}

}  // namespace culvert::agent
