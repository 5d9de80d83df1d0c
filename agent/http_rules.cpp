// SPDX-License-Identifier: Apache-2.0
#include "agent/http_rules.hpp"

#include <algorithm>

namespace culvert::agent {

namespace {

bool covers(const Resource& resource, std::string_view path) {
  if (path == resource.path) return true;
  if (!resource.sub_paths || !path.starts_with(resource.path)) return false;
  return resource.path.ends_with('/') || path[resource.path.size()] == '/';
}

}  // namespace

bool is_allowed(const std::vector<Resource>& resources, const http::RequestHead& head, http::EncodedSlash slash) {
  if (slash == http::EncodedSlash::refuse && head.path.contains("%2F")) return false;
  // "*" asks of the whole server.
  const std::string_view path = head.path == "*" ? std::string_view("/") : std::string_view(head.path);
  return std::ranges::any_of(resources, [&](const Resource& resource) {
    return resource.enabled && covers(resource, path) && (head.upgrade.empty() || resource.upgrade) &&
           (resource.methods.empty() || std::ranges::find(resource.methods, head.method) != resource.methods.end());
  });
}

}  // namespace culvert::agent
