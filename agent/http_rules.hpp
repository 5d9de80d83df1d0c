// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "common/http/head.hpp"
#include "common/http/path.hpp"
#include "protocol/reason.hpp"

namespace culvert::agent {

/// One [[system_mapping.resource]]: what of an HTTP mapping may be asked for (contracts 5).
struct Resource {
  std::string path;       ///< Canonical; begins with a slash.
  bool sub_paths = true;  ///< Whole segments below it, too: /accounting never lets /accounting-secret through.
  std::vector<std::string> methods;  ///< Empty: all.
  bool enabled = true;
  bool upgrade = false;  ///< WebSocket and the like.
  friend bool operator==(const Resource&, const Resource&) = default;
};

/// The path with which a request may go on to a mapping's back end: the canonical form of `head.path` ("*" stays), the
/// one that was matched. Otherwise why it may not: Reason::ambiguous_path, or Reason::not_exposed where nothing allows
/// it.
std::expected<std::string, protocol::Reason> allowed_path(const std::vector<Resource>& resources,
                                                          const http::RequestHead& head, http::EncodedSlash slash);

}  // namespace culvert::agent
