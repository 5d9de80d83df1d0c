// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "common/tunnel/data_planes.hpp"
#include "common/tunnel/tunnel.hpp"

namespace culvert {

/// Every tunnel of the process as `status` shows it. `describe` adds the program's own words, on the tunnel's worker;
/// `done` is called at home.
void gather_tunnels(DataPlanes& planes, std::function<void(const Tunnel&, boost::json::object&)> describe,
                    std::function<void(boost::json::array)> done);

}  // namespace culvert
