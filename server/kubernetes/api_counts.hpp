// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace culvert::server {

/// Requests to the API server, by outcome.
struct ApiCounts {
  std::uint64_t good = 0;
  std::uint64_t refused = 0;  ///< The API server answered with an error.
  std::uint64_t failed = 0;   ///< There was no answer.
};

}  // namespace culvert::server
