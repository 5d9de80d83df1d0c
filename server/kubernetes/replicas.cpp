// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/replicas.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/core.h>
#include <fmt/ranges.h>

#include "common/net/deadline.hpp"
#include "server/config/route.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {

namespace asio = boost::asio;
namespace json = boost::json;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

constexpr const char* config_map = "culvert-agents";
constexpr auto interval = 1s;
constexpr auto echo_time_max = 10s;  ///< How long our own write may take to come back through the watch.
constexpr auto missing_time_max =
    60s;  ///< How long the key of a replica that the cluster does not name any more stays.

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

}  // namespace

Replicas::Replicas(ApiClient& client, Log& log, const KubernetesSettings& settings, const Lease& lease, Hooks hooks)
    : client_(client),
      log_(log),
      settings_(settings),
      lease_(lease),
      hooks_(std::move(hooks)),
      collection_(fmt::format("/api/v1/namespaces/{}/configmaps", settings.name_space)),
      slices_(client, log, read_endpoint_slice, [this] { gather(); }),
      tables_(client, log, read_table, [this] { read_tables(); }) {}

void Replicas::start(TaskGroup& tasks, const std::string& version) {
  tasks.spawn(keep_table());
  if (settings_.replicas_service.empty()) return;
  tasks.spawn(slices_.run(
      fmt::format("/apis/discovery.k8s.io/{}/namespaces/{}/endpointslices?labelSelector=kubernetes.io/service-name={}",
                  version, settings_.name_space, settings_.replicas_service)));
  tasks.spawn(tables_.run(fmt::format("{}?fieldSelector=metadata.name={}", collection_, config_map)));
}

Replicas::Table Replicas::read_table(const json::object& object) {
  Table table;
  for (const auto& member : object_at(object, "data")) {
    if (member.value().is_string()) table[member.key()] = member.value().get_string();
  }
  return table;
}

const Replicas::Table& Replicas::table() const {
  static const Table none;
  const auto found = tables_.objects().find(fmt::format("{}/{}", settings_.name_space, config_map));
  return found == tables_.objects().end() ? none : found->second;
}

void Replicas::gather() {
  std::map<std::string, std::set<asio::ip::address>> ready;  // Slices may overlap.
  for (const auto& [key, slice] : slices_.objects()) {
    for (const EndpointSlice::Endpoint& each : slice.endpoints) {
      if (each.is_ready && !each.target.empty()) ready[each.target].insert(each.address);
    }
  }
  std::vector<Replica> all;
  all.reserve(ready.size());
  for (const auto& [name, addresses] : ready) all.push_back({name, {addresses.begin(), addresses.end()}});
  if (std::exchange(ready_, all) != all) hooks_.changed();
}

void Replicas::read_tables() {
  theirs_.clear();
  for (const auto& [replica, text] : table()) theirs_[replica] = lines_of(text);
}

bool Replicas::has_agent(const std::string& account, const std::string& location) const {
  const std::string wanted = location_key(account, location);
  if (std::ranges::binary_search(ours_, wanted)) return true;
  return std::ranges::any_of(ready_, [&](const Replica& replica) {
    const auto known = theirs_.find(replica.name);
    return replica.name != settings_.identity && known != theirs_.end() &&
           std::ranges::binary_search(known->second, wanted);
  });
}

asio::awaitable<void> Replicas::keep_table() {
  for (;;) {
    ours_ = hooks_.agents();
    if (!settings_.replicas_service.empty() && tables_.is_synced()) {
      co_await publish(fmt::format("{}", fmt::join(ours_, "\n")));
      if (lease_.is_ours() && slices_.is_synced()) co_await clean_up();
    }
    co_await wait_for(interval);
  }
}

/// Writes our key, unless the ConfigMap has this text already or it was written a moment ago.
asio::awaitable<void> Replicas::publish(std::string mine) {
  const auto known = table().find(settings_.identity);
  const bool is_known = known != table().end() && known->second == mine;
  if (is_known || (mine == written_ && Clock::now() - written_at_ < echo_time_max)) co_return;
  auto done = co_await patch({{settings_.identity, mine}});
  written_ = std::move(mine);
  written_at_ = Clock::now();
  if (!done)
    log_.limited(Log::Level::warn, "kubernetes.agents_failed",
                 {{"object", config_map}, {"code", done.error().code}, {"text", done.error().text}});
}

/// Removes the keys of replicas that do not exist any more. A replica that is not ready keeps its key.
asio::awaitable<void> Replicas::clean_up() {
  std::set<std::string> there{settings_.identity};
  for (const auto& [key, slice] : slices_.objects()) {
    for (const EndpointSlice::Endpoint& each : slice.endpoints) there.insert(each.target);
  }
  json::object gone;
  for (const auto& [replica, text] : table()) {
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

asio::awaitable<Result<void>> Replicas::patch(json::object data) {
  auto answer = co_await client_.call("PATCH", collection_ + "/" + config_map, json::object{{"data", data}},
                                      "application/merge-patch+json");
  if (answer && answer->status == 404) {
    answer = co_await client_.call("POST", collection_,
                                   json::object{{"apiVersion", "v1"},
                                                {"kind", "ConfigMap"},
                                                {"metadata", {{"name", config_map}}},
                                                {"data", std::move(data)}});
  }
  if (!answer) co_return std::unexpected(answer.error());
  if (!answer->is_good()) co_return fail("kubernetes.refused", answer->error_text());
  co_return Result<void>();
}

}  // namespace culvert::server
