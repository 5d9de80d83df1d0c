// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/replica_table.hpp"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "server/kubernetes/object.hpp"

namespace culvert::server {

namespace asio = boost::asio;
namespace json = boost::json;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

constexpr auto echo_time_max = 10s;  ///< How long our own write may take to come back through the watch.
constexpr auto missing_time_max =
    60s;  ///< How long the key of a replica that the cluster does not name any more stays.

ReplicaTable::Texts read_texts(const json::object& object) {
  ReplicaTable::Texts texts;
  for (const auto& member : object_at(object, "data")) {
    if (member.value().is_string()) texts[member.key()] = member.value().get_string();
  }
  return texts;
}

}  // namespace

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    lines.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  std::ranges::sort(lines);
  return lines;
}

ReplicaTable::ReplicaTable(ApiClient& client, Log& log, const KubernetesSettings& settings, std::string config_map,
                           std::function<void()> changed)
    : client_(client),
      log_(log),
      settings_(settings),
      config_map_(std::move(config_map)),
      collection_(fmt::format("/api/v1/namespaces/{}/configmaps", settings.name_space)),
      texts_(client, log, read_texts, std::move(changed)) {}

asio::awaitable<void> ReplicaTable::run() {
  return texts_.run(fmt::format("{}?fieldSelector=metadata.name={}", collection_, config_map_));
}

const ReplicaTable::Texts& ReplicaTable::texts() const {
  static const Texts none;
  const auto found = texts_.objects().find(fmt::format("{}/{}", settings_.name_space, config_map_));
  return found == texts_.objects().end() ? none : found->second;
}

asio::awaitable<void> ReplicaTable::publish(std::string mine) {
  const auto known = texts().find(settings_.identity);
  const bool is_known = known != texts().end() && known->second == mine;
  if (is_known || (mine == written_ && Clock::now() - written_at_ < echo_time_max)) co_return;
  auto done = co_await patch({{settings_.identity, mine}});
  written_ = std::move(mine);
  written_at_ = Clock::now();
  if (!done)
    log_.limited(Log::Level::warn, "kubernetes.agents_failed",
                 {{"object", config_map_}, {"code", done.error().code}, {"text", done.error().text}});
}

asio::awaitable<void> ReplicaTable::clean_up(std::set<std::string> there) {
  there.insert(settings_.identity);
  json::object gone;
  for (const auto& [replica, text] : texts()) {
    if (there.contains(replica)) {
      missing_since_.erase(replica);
    } else if (Clock::now() - missing_since_.try_emplace(replica, Clock::now()).first->second > missing_time_max) {
      gone[replica] = nullptr;
    }
  }
  if (gone.empty()) co_return;
  for (const auto& member : gone) missing_since_.erase(member.key());
  (void)co_await patch(std::move(gone));
}

asio::awaitable<Result<void>> ReplicaTable::patch(json::object data) {
  const std::string path = collection_ + "/" + config_map_;
  const json::object patch{{"data", data}};
  auto answer = co_await client_.call("PATCH", path, patch, "application/merge-patch+json");
  if (answer && answer->status == 404) {
    answer = co_await client_.call("POST", collection_,
                                   json::object{{"apiVersion", "v1"},
                                                {"kind", "ConfigMap"},
                                                {"metadata", {{"name", config_map_}}},
                                                {"data", std::move(data)}});
    // Another replica was faster.
    if (answer && answer->status == 409)
      answer = co_await client_.call("PATCH", path, patch, "application/merge-patch+json");
  }
  if (!answer) co_return std::unexpected(answer.error());
  if (!answer->is_good()) co_return fail("kubernetes.refused", answer->error_text());
  co_return Result<void>();
}

}  // namespace culvert::server
