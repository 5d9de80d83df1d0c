// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "common/tunnel/data_planes.hpp"
#include "common/tunnel/tunnel.hpp"

namespace culvert {

/// Gathers every tunnel of the process for `status`. `describe` is called on the tunnel's worker to add the program's
/// own fields; `done` is called at home.
void gather_tunnels(DataPlanes& planes, std::function<void(const Tunnel&, boost::json::object&)> describe,
                    std::function<void(boost::json::array)> done);

}  // namespace culvert
