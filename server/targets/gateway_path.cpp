// SPDX-License-Identifier: Apache-2.0
#include "server/targets/gateway_path.hpp"

#include <algorithm>

#include "common/http/characters.hpp"

namespace culvert::server {

namespace {

/// Removes "/segment" from the front of `path` and returns the segment; nothing if it is missing or empty.
std::optional<std::string_view> take_segment(std::string_view& path) {
  if (!path.starts_with('/')) return std::nullopt;
  const std::size_t end = std::min(path.find('/', 1), path.size());
  const std::string_view segment = path.substr(1, end - 1);
  if (segment.empty()) return std::nullopt;
  path.remove_prefix(end);
  return segment;
}

}  // namespace

std::string normal_name(std::string_view display_name) {
  std::string name;
  for (const char c : display_name) {
    const char letter = http::lower(c);
    if ((letter >= 'a' && letter <= 'z') || http::is_digit(letter)) {
      name += letter;
    } else if (!name.empty() && name.back() != '-') {
      name += '-';
    }
  }
  if (name.ends_with('-')) name.pop_back();
  return name;
}

std::optional<GatewayPath> split_gateway_path(std::string_view path, GatewayPort port) {
  GatewayPath split;
  const auto application = take_segment(path);
  if (!application) return std::nullopt;
  split.application = *application;
  const auto service = take_segment(path);
  if (!service) return std::nullopt;
  split.service = *service;
  if (port == GatewayPort::entries) {
    const auto entry = take_segment(path);
    if (!entry) return std::nullopt;
    split.entry = *entry;
  }
  split.rest = path;
  return split;
}

std::string join_path(std::string_view base, std::string_view rest) {
  if (rest.empty()) return base.empty() ? "/" : std::string(base);
  if (base.ends_with('/')) base.remove_suffix(1);
  std::string path(base);
  if (!rest.starts_with('/')) path += '/';
  return path += rest;
}

std::string join_query(std::string_view of_url, std::string_view of_request, std::string_view added) {
  std::string query;
  for (std::string_view part : {of_url, of_request, added}) {
    if (part.starts_with('?')) part.remove_prefix(1);
    if (part.empty()) continue;
    query += query.empty() ? '?' : '&';
    query += part;
  }
  return query;
}

}  // namespace culvert::server
