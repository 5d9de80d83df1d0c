// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/status_writer.hpp"

#include <utility>

#include <fmt/core.h>

#include "server/kubernetes/conditions.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {

namespace asio = boost::asio;
namespace json = boost::json;
using namespace std::chrono_literals;

namespace {

constexpr auto echo_time_max = 10s;  ///< In which the informer tells what we wrote ourselves.

}  // namespace

json::object StatusWriter::known(const std::string& key, const json::object& seen) {
  const auto ours = written_.find(key);
  if (ours == written_.end()) return seen;
  if (seen != ours->second.status && std::chrono::steady_clock::now() - ours->second.at <= echo_time_max)
    return ours->second.status;
  written_.erase(ours);
  return seen;
}

asio::awaitable<void> StatusWriter::write(ObjectReference about, std::string path, std::string version,
                                          json::object before, json::object status) {
  json::object patch = status;
  // What is not there any more must be said to be gone.
  for (const auto& member : before) {
    if (!patch.contains(member.key())) patch[member.key()] = nullptr;
  }
  auto answer =
      co_await client_.call("PATCH", path + "/status",
                            json::object{{"metadata", {{"resourceVersion", version}}}, {"status", std::move(patch)}},
                            "application/merge-patch+json");
  if (!answer || !answer->is_good()) {
    // 409 and 404: it has changed or gone meanwhile, and the informer will tell.
    if (!answer || (answer->status != 409 && answer->status != 404))
      log_.limited(Log::Level::warn, "kubernetes.status_failed",
                   {{"object", about.key()}, {"text", answer ? answer->complaint() : answer.error().text}});
    co_return;
  }
  const json::object& accepted = condition_in(status, "Accepted");
  const std::string reason = text_at(accepted, "reason");
  const std::string message = text_at(accepted, "message");
  const bool is_refused = text_at(accepted, "status") == "False";
  written_[about.key()] = {std::move(status), std::chrono::steady_clock::now()};
  if (is_refused && reason != text_at(condition_in(before, "Accepted"), "reason"))
    co_await warn(about, reason, message);
}

/// An Event of type Warning; of an object of the cluster it stands in the namespace "default".
asio::awaitable<void> StatusWriter::warn(const ObjectReference& about, std::string reason, std::string message) {
  const std::string where = about.name_space.empty() ? "default" : about.name_space;
  const std::string now = kubernetes_time();
  json::object involved{
      {"apiVersion", about.api_version}, {"kind", about.kind}, {"name", about.name}, {"uid", about.uid}};
  if (!about.name_space.empty()) involved["namespace"] = about.name_space;
  auto answer = co_await client_.call("POST", fmt::format("/api/v1/namespaces/{}/events", where),
                                      json::object{{"apiVersion", "v1"},
                                                   {"kind", "Event"},
                                                   {"metadata", {{"generateName", about.name + "."}}},
                                                   {"involvedObject", std::move(involved)},
                                                   {"type", "Warning"},
                                                   {"reason", reason},
                                                   {"message", message},
                                                   {"firstTimestamp", now},
                                                   {"lastTimestamp", now},
                                                   {"count", 1},
                                                   {"source", {{"component", "culvert-server"}}}});
  if (!answer || !answer->is_good())
    log_.limited(Log::Level::warn, "kubernetes.event_failed",
                 {{"object", about.name}, {"text", answer ? answer->complaint() : answer.error().text}});
}

void StatusWriter::keep_only(const std::function<bool(const std::string& key)>& is_there) {
  std::erase_if(written_, [&](const auto& entry) { return !is_there(entry.first); });
}

}  // namespace culvert::server
