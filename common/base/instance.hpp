// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <random>

#include "protocol/messages.hpp"

namespace culvert {

/// 128 random bits that identify this process.
inline protocol::InstanceId random_instance() {
  std::random_device source;
  protocol::InstanceId id;
  for (std::byte& byte : id) byte = static_cast<std::byte>(source());
  return id;
}

}  // namespace culvert
