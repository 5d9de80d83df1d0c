// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace culvert::server {

/// What the directory of tunnels, and the replicas' tables of agents, call an account's location; "" is the default
/// one.
inline std::string location_key(const std::string& account, const std::string& location) {
  return account + "/" + location;
}

}  // namespace culvert::server
