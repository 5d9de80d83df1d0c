// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/replicas.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/core.h>
#include <fmt/ranges.h>

#include "common/net/deadline.hpp"
#include "server/config/route.hpp"

namespace culvert::server {

namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {

constexpr const char* config_map = "culvert-agents";
constexpr auto interval = 1s;

}  // namespace

Replicas::Replicas(ApiClient& client, Log& log, const KubernetesSettings& settings, const Lease& lease, Hooks hooks)
    : settings_(settings),
      lease_(lease),
      hooks_(std::move(hooks)),
      slices_(client, log, read_endpoint_slice, [this] { gather(); }),
      table_(client, log, settings, config_map, [this] { read_tables(); }) {}

void Replicas::start(TaskGroup& tasks, const std::string& version) {
  tasks.spawn(keep_table());
  if (settings_.replicas_service.empty()) return;
  tasks.spawn(slices_.run(
      fmt::format("/apis/discovery.k8s.io/{}/namespaces/{}/endpointslices?labelSelector=kubernetes.io/service-name={}",
                  version, settings_.name_space, settings_.replicas_service)));
  tasks.spawn(table_.run());
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
  for (const auto& [replica, text] : table_.texts()) theirs_[replica] = lines_of(text);
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

std::set<std::string> Replicas::existing() const {
  std::set<std::string> names;
  for (const auto& [key, slice] : slices_.objects()) {
    for (const EndpointSlice::Endpoint& each : slice.endpoints) names.insert(each.target);
  }
  return names;
}

asio::awaitable<void> Replicas::keep_table() {
  for (;;) {
    ours_ = hooks_.agents();
    if (!settings_.replicas_service.empty() && table_.is_synced()) {
      co_await table_.publish(fmt::format("{}", fmt::join(ours_, "\n")));
      // A replica that is not ready keeps its key.
      if (lease_.is_ours() && slices_.is_synced()) co_await table_.clean_up(existing());
    }
    co_await wait_for(interval);
  }
}

}  // namespace culvert::server
