// SPDX-License-Identifier: Apache-2.0
#include "common/tunnel/tunnel_statuses.hpp"

#include <chrono>
#include <memory>
#include <utility>
#include <vector>

namespace culvert {
namespace {

boost::json::object object_of(const TunnelStatus& status) {
  const auto age = std::chrono::steady_clock::now() - status.since;
  boost::json::object object{
      {"id", status.id},
      {"state", status.state},
      {"peer", status.peer},
      {"streams", status.streams},
      {"bytes_in", status.bytes_in},
      {"bytes_out", status.bytes_out},
      {"age_s", std::chrono::duration_cast<std::chrono::seconds>(age).count()},
  };
  if (status.round_trip) object["round_trip_us"] = status.round_trip->count();
  return object;
}

}  // namespace

void gather_tunnels(DataPlanes& planes, std::function<void(const Tunnel&, boost::json::object&)> describe,
                    std::function<void(boost::json::array)> done) {
  // One array per worker, so that none waits for another.
  auto parts = std::make_shared<std::vector<boost::json::array>>(planes.size());
  planes.on_each(
      [parts, describe = std::move(describe)](DataPlane& plane) {
        for (const auto& [id, tunnel] : plane.tunnels()) {
          boost::json::object object = object_of(tunnel->status());
          describe(*tunnel, object);
          (*parts)[plane.worker().index()].push_back(std::move(object));
        }
      },
      [parts, done = std::move(done)] {
        boost::json::array all;
        for (boost::json::array& part : *parts) {
          for (boost::json::value& tunnel : part) all.push_back(std::move(tunnel));
        }
        done(std::move(all));
      });
}

}  // namespace culvert
