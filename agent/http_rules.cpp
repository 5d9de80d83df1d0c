// SPDX-License-Identifier: Apache-2.0
#include "agent/http_rules.hpp"

#include <algorithm>
#include <utility>

namespace culvert::agent {

using protocol::Reason;

namespace {

bool covers(const Resource& resource, std::string_view path) {
  if (path == resource.path) return true;
  if (!resource.sub_paths || !path.starts_with(resource.path)) return false;
  return resource.path.ends_with('/') || path[resource.path.size()] == '/';
}

}  // namespace

std::expected<std::string, Reason> allowed_path(const std::vector<Resource>& resources, const http::RequestHead& head,
                                                http::EncodedSlash slash) {
  const bool is_asterisk = head.path == "*";
  // "*" asks of the whole server.
  std::string path(is_asterisk ? "/" : "");
  if (!is_asterisk && http::append_canonical_path(path, head.path, slash))
    return std::unexpected(Reason::ambiguous_path);
  const bool is_allowed = std::ranges::any_of(resources, [&](const Resource& resource) {
    return resource.enabled && covers(resource, path) && (head.upgrade.empty() || resource.upgrade) &&
           (resource.methods.empty() || std::ranges::find(resource.methods, head.method) != resource.methods.end());
  });
  if (!is_allowed) return std::unexpected(Reason::not_exposed);
  return is_asterisk ? "*" : std::move(path);
}

}  // namespace culvert::agent
