// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/http/head.hpp"
#include "common/http/path.hpp"

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

/// Whether a request may go on to a mapping's back end; one that nothing allows may not. `head.path` is canonical, and
/// exactly that path is sent on.
bool is_allowed(const std::vector<Resource>& resources, const http::RequestHead& head, http::EncodedSlash slash);

}  // namespace culvert::agent
