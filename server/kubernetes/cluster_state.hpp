// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "server/config/config.hpp"
#include "server/config/on_premise_port.hpp"
#include "server/enrolment/agent_store.hpp"
#include "server/kubernetes/api_counts.hpp"
#include "server/targets/destination_definition.hpp"
#include "server/targets/target_description.hpp"

namespace culvert::server {

/// A cluster in numbers, for metrics.
struct ClusterNumbers {
  bool is_synced = false;
  bool is_writer = false;
  std::size_t replicas = 0;
  std::size_t service_mappings = 0;
  std::size_t on_premise_services = 0;
  std::size_t agents = 0;
  std::size_t applications = 0;
  std::size_t destinations = 0;
  ApiCounts requests;
};

/// What a cluster says, for the rest of the server.
struct ClusterState {
  std::vector<ServiceMapping> mappings;
  std::vector<OnPremisePort> ports;
  std::vector<std::string> replicas;  ///< The names of those that are ready.
  /// The cluster's Agents; nullptr: without enrolment, or they are not known yet.
  std::shared_ptr<const EnrolledAgents> agents;
  /// Targets of the gateway; nullptr: without a gateway, or they are not known yet.
  std::shared_ptr<const std::vector<NamedTarget>> targets;
  std::vector<OnPremisePort> destination_ports;
  /// Definitions for the gateway; nullptr: Destinations are not followed, or the Secret has not been read yet.
  std::shared_ptr<const DestinationTexts> destinations;
  ClusterNumbers numbers;
};
enum class ClusterPart : std::uint8_t { mappings, ports, replicas, agents, targets, destinations, numbers };

}  // namespace culvert::server
