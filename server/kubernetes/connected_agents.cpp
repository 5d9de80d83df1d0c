// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/connected_agents.hpp"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "common/net/deadline.hpp"

namespace culvert::server {

namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {

constexpr auto interval = 1s;
constexpr std::size_t software_bytes_max = 64;

std::string without_blanks(std::string_view text) {
  std::string safe(text.substr(0, software_bytes_max));
  std::ranges::replace_if(safe, [](char c) { return c <= ' ' || c > '~'; }, '_');
  return safe.empty() ? "-" : safe;
}

}  // namespace

std::string line_of(const ConnectedAgent& agent) {
  return fmt::format("{} {} {}", agent.key, without_blanks(agent.serial), without_blanks(agent.software));
}

void add_lines(AgentConnections& connections, const std::string& replica, std::string_view text) {
  for (const std::string& line : lines_of(text)) {
    const std::size_t first = line.find(' ');
    const std::size_t second = line.find(' ', std::min(first, line.size()) + 1);
    if (first == 0 || second == line.npos) continue;
    auto& all = connections[line.substr(0, first)];
    // One per replica: an agent of two processes has two lines.
    if (!all.empty() && all.back().replica == replica) continue;
    all.push_back({replica, line.substr(first + 1, second - first - 1), line.substr(second + 1)});
  }
}

ConnectedAgents::ConnectedAgents(ApiClient& client, Log& log, const KubernetesSettings& settings, const Lease& lease,
                                 const Replicas& replicas, Ours ours)
    : settings_(settings),
      lease_(lease),
      replicas_(replicas),
      ours_(std::move(ours)),
      table_(client, log, settings, "culvert-connected-agents", [] {}) {}

void ConnectedAgents::start(TaskGroup& tasks) {
  tasks.spawn(keep());
  if (!settings_.replicas_service.empty()) tasks.spawn(table_.run());
}

asio::awaitable<void> ConnectedAgents::keep() {
  for (;;) {
    std::vector<std::string> lines;
    for (const ConnectedAgent& each : ours_ ? ours_() : std::vector<ConnectedAgent>()) lines.push_back(line_of(each));
    std::ranges::sort(lines);
    std::string mine;
    for (const std::string& line : lines) mine += line + "\n";

    std::map<std::string, std::string> texts{{settings_.identity, mine}};  // In the order of the replicas' names.
    for (const Replica& replica : replicas_.ready()) {
      const auto found = table_.texts().find(replica.name);
      if (found != table_.texts().end()) texts.insert(*found);
    }
    connections_.clear();
    for (const auto& [replica, text] : texts) add_lines(connections_, replica, text);

    if (!settings_.replicas_service.empty() && table_.is_synced()) {
      co_await table_.publish(std::move(mine));
      if (lease_.is_ours() && replicas_.is_synced()) co_await table_.clean_up(replicas_.existing());
    }
    co_await wait_for(interval);
  }
}

}  // namespace culvert::server
