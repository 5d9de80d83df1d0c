// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace culvert::server {

/// Key of an account's location in the directory of tunnels and in the replicas' tables of agents. An empty location is
/// the default one.
inline std::string location_key(const std::string& account, const std::string& location) {
  return account + "/" + location;
}

/// The account and location whose agents get a connection or a request.
struct Route {
  std::string account;
  std::string location;  ///< Empty: the default location.

  std::string key() const { return location_key(account, location); }
  friend bool operator==(const Route&, const Route&) = default;
};

}  // namespace culvert::server
