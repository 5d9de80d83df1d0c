// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/status_writer.hpp"

#include <utility>

#include <fmt/core.h>

#include "common/base/utc_time.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {

namespace asio = boost::asio;
namespace json = boost::json;

asio::awaitable<bool> StatusWriter::write(ObjectReference object, std::string path, StatusWrite write) {
  auto answer =
      co_await client_.call("PATCH", path + "/status", json::value(patch_of(write)), "application/merge-patch+json");
  if (!answer || !answer->is_good()) {
    // 409 and 404: it has changed or gone meanwhile, which the informer reports.
    if (!answer || (answer->status != 409 && answer->status != 404))
      log_.limited(Log::Level::warn, "kubernetes.status_failed",
                   {{"object", write.key}, {"text", answer ? answer->error_text() : answer.error().text}});
    co_return false;
  }
  if (auto refusal = new_refusal(write)) co_await warn(std::move(object), std::move(*refusal));
  co_return true;
}

/// Events of objects that belong to the cluster as a whole are in the namespace "default".
asio::awaitable<void> StatusWriter::warn(ObjectReference object, RefusalReason refusal) {
  const std::string where = object.name_space.empty() ? "default" : object.name_space;
  const std::string now = utc_text(wall_clock_now());
  json::object involved{
      {"apiVersion", object.api_version}, {"kind", object.kind}, {"name", object.name}, {"uid", object.uid}};
  if (!object.name_space.empty()) involved["namespace"] = object.name_space;
  auto answer = co_await client_.call("POST", fmt::format("/api/v1/namespaces/{}/events", where),
                                      json::object{{"apiVersion", "v1"},
                                                   {"kind", "Event"},
                                                   {"metadata", {{"generateName", object.name + "."}}},
                                                   {"involvedObject", std::move(involved)},
                                                   {"type", "Warning"},
                                                   {"reason", refusal.reason},
                                                   {"message", refusal.message},
                                                   {"firstTimestamp", now},
                                                   {"lastTimestamp", now},
                                                   {"count", 1},
                                                   {"source", {{"component", "culvert-server"}}}});
  if (!answer || !answer->is_good())
    log_.limited(Log::Level::warn, "kubernetes.event_failed",
                 {{"object", object.name}, {"text", answer ? answer->error_text() : answer.error().text}});
}

}  // namespace culvert::server
