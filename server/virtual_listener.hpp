// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "common/tunnel/local_port.hpp"
#include "server/config.hpp"

namespace culvert::server {

/// The local port that leads to the listener's virtual host. `name` is for logs.
LocalPort::Settings port_of(const VirtualListener& listener, std::string name);

}  // namespace culvert::server
