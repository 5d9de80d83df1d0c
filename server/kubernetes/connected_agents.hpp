// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "server/kubernetes/agent_policy.hpp"
#include "server/kubernetes/replica_table.hpp"
#include "server/kubernetes/replicas.hpp"

namespace culvert::server {

/// An agent with a tunnel in this process.
struct ConnectedAgent {
  std::string key;       ///< key_of() its identity.
  std::string serial;    ///< Of the certificate that its newest tunnel has proved.
  std::string software;  ///< As its HELLO names it.
  friend auto operator<=>(const ConnectedAgent&, const ConnectedAgent&) = default;
};

/// One line of a replica's text: key, serial and software, without what a peer could make a line or a blank with.
std::string line_of(const ConnectedAgent& agent);
/// Adds the agents of a replica's text. A line that cannot be read is left out.
void add_lines(AgentConnections& connections, const std::string& replica, std::string_view text);

/// The agents that are connected to the server, over all replicas. In the ConfigMap `culvert-connected-agents` every
/// replica keeps one line for each. Without a headless Service this process is the only replica. At home.
class ConnectedAgents {
 public:
  using Ours = std::function<std::vector<ConnectedAgent>()>;  ///< This process's.

  /// Everything outlives it.
  ConnectedAgents(ApiClient& client, Log& log, const KubernetesSettings& settings, const Lease& lease,
                  const Replicas& replicas, Ours ours);

  void start(TaskGroup& tasks);
  bool is_synced() const { return settings_.replicas_service.empty() || table_.is_synced(); }
  /// At this process, and at every replica that is ready.
  const AgentConnections& connections() const { return connections_; }

 private:
  boost::asio::awaitable<void> keep();

  const KubernetesSettings& settings_;
  const Lease& lease_;
  const Replicas& replicas_;
  const Ours ours_;
  ReplicaTable table_;
  AgentConnections connections_;
};

}  // namespace culvert::server
