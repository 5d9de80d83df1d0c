// SPDX-License-Identifier: Apache-2.0
#include "server/gateway/gateway_table.hpp"

#include <algorithm>

namespace culvert::server {

namespace {

std::unexpected<ProxyError> unknown(std::string_view code, std::string_view text) {
  return std::unexpected(ProxyError{.status = 404,
                                    .code = code,
                                    .type = "destination_not_found",
                                    .text = text,
                                    .hint = "compare the path with the names of applications, services and entries; "
                                            "`culvert-server status` lists them",
                                    .challenge = {}});
}

std::unexpected<ProxyError> ambiguous(std::string_view code, std::string_view text) {
  return std::unexpected(ProxyError{.status = 400,
                                    .code = code,
                                    .type = "http_request_error",
                                    .text = text,
                                    .hint = "rename one of them",
                                    .challenge = {}});
}

}  // namespace

void GatewayTable::add(const std::string& application, std::string_view service, std::string_view entry,
                       std::shared_ptr<const ExternalTarget> target) {
  add(application, service, entry, service, std::move(target));
}

void GatewayTable::add(const std::string& application, std::string_view service, std::string_view entry,
                       std::string_view owner, std::shared_ptr<const ExternalTarget> target) {
  auto [place, is_new] = applications_[application].try_emplace(normal_name(service));
  Service& known = place->second;
  if (is_new) known.owner = owner;
  known.is_ambiguous |= known.owner != owner;
  const std::string name = normal_name(entry);
  const auto same = std::ranges::find(known.entries, name, &Entry::name);
  if (same != known.entries.end())
    same->is_ambiguous = true;
  else
    known.entries.push_back({name, std::move(target)});
}

void GatewayTable::add(std::shared_ptr<const Destination> destination) {
  destinations_[destination->name] = std::move(destination);
}

std::shared_ptr<const Destination> GatewayTable::find_destination(std::string_view name) const {
  const auto found = destinations_.find(name);
  return found == destinations_.end() ? nullptr : found->second;
}

std::expected<std::shared_ptr<const ExternalTarget>, ProxyError> GatewayTable::find(const GatewayPath& path,
                                                                                    GatewayPort port) const {
  const auto application = applications_.find(path.application);
  if (application == applications_.end())
    return unknown("gateway.unknown_application", "there is no application of this name");
  const auto service = application->second.find(path.service);
  if (service == application->second.end())
    return unknown("gateway.unknown_service", "the application has no service of this name");
  if (service->second.is_ambiguous)
    return ambiguous("gateway.ambiguous_service", "two services of the application have this name in a path");
  const auto& entries = service->second.entries;
  const auto entry =
      port == GatewayPort::services ? entries.begin() : std::ranges::find(entries, path.entry, &Entry::name);
  if (entry == entries.end()) return unknown("gateway.unknown_entry", "the service has no entry of this name");
  if (entry->is_ambiguous)
    return ambiguous("gateway.ambiguous_entry", "two entries of the service have this name in a path");
  return entry->target;
}

void GatewayTable::each(const std::function<void(const ExternalTarget&)>& use) const {
  for (const auto& [name, services] : applications_) {
    for (const auto& [service_name, service] : services) {
      for (const Entry& entry : service.entries) use(*entry.target);
    }
  }
  for (const auto& [name, destination] : destinations_) use(*destination->target);
}

}  // namespace culvert::server
