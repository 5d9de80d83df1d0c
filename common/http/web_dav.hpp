// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "common/http/authority.hpp"
#include "common/http/fields.hpp"

// The fields by which a WebDAV request names further resources, which the back end reads or writes (RFC 4918):
// Destination (10.3) and the tags of If (10.4).

namespace culvert::http {

enum class DavField : std::uint8_t { destination, if_tag };

inline bool has_dav_urls(const Fields& fields) {
  return fields.find("Destination") || fields.find("If");
}
/// Replaces each URL in these fields by what `map` returns for it. Returns false, with fields half replaced, if a field
/// breaks the grammar, there are two Destinations, or `map` returns nullopt.
using MapDavUrl = std::function<std::optional<std::string>(DavField field, std::string_view url)>;
[[nodiscard]] bool map_dav_urls(Fields& fields, const MapDavUrl& map);

/// The part of `url` behind its host, from the slash on, if the host is `authority`, or if there is none; else nullopt.
std::optional<std::string_view> behind_host(std::string_view url, const Endpoint& authority);

}  // namespace culvert::http
