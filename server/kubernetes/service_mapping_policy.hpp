// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "server/kubernetes/service_mapping_object.hpp"
#include "server/kubernetes/status_write.hpp"

// What is to be done about the cluster's ServiceMappings: which target to look up, which table to publish and when,
// which status to write. Pure: no network, no clock.

namespace culvert::server {

/// What an internalAddress was found to lead to.
struct MappingTarget {
  std::uint16_t port = 0;  ///< 0: not known; the address names the port.
  /// Where EndpointSlices are followed, and have the endpoints. nullopt: the address is to be dialled.
  std::optional<std::vector<Endpoint>> endpoints;
  bool is_resolved = false;
  std::string why_not;  ///< It is not resolved: for people.
};

class ServiceMappingPolicy {
 public:
  using Objects = std::map<std::string, ServiceMappingObject>;
  using HasAgent = std::function<bool(const std::string& account, const std::string& location)>;
  using Time = std::chrono::steady_clock::time_point;
  /// How long the first table waits for targets that are being looked up.
  static constexpr std::chrono::seconds first_table_time_max{2};

  /// `settings` outlive it.
  explicit ServiceMappingPolicy(const KubernetesSettings& settings) : settings_(settings) {}

  /// From now on these are the objects. Targets of new ones are to be looked up.
  void plan(const Objects& objects);

  // ---- targets, each by its internalAddress as written

  struct Lookup {
    std::string text;
    InternalAddress address;
  };
  /// The target to look up next; each call returns another one.
  std::optional<Lookup> next_lookup();
  bool has_lookup() const { return !to_look_up_.empty(); }
  /// All targets are to be looked up again.
  void look_up_all();
  /// The same for the targets that name this Service, "namespace/name".
  void look_up_service(const std::string& service);
  /// What a lookup has found; `is_complete` if it was made when everything had come from the cluster. True: the table
  /// may be another one now.
  bool take_target(const std::string& text, MappingTarget found, bool is_complete);

  // ---- the table

  enum class TableStep : std::uint8_t {
    wait,        ///< Nothing is to be published before the next change.
    look_again,  ///< The first table lacks targets that are being looked up: ask again soon.
    publish,     ///< table() is another one than before.
  };
  /// `is_complete`: all objects, and where they are followed all EndpointSlices, have come once.
  TableStep next_table(bool is_complete, Time now);
  bool has_table() const { return table_.has_value(); }
  /// The table as last published. Only if has_table().
  const std::vector<ServiceMapping>& table() const { return *table_; }  // NOLINT(bugprone-unchecked-optional-access)

  // ---- the status

  std::vector<std::string> keys() const;
  /// The next write for `object`, as the informer has it now. Nothing: its status is right, or depends on what is not
  /// known yet. `date` in RFC 3339.
  std::optional<StatusWrite> next_status(const ServiceMappingObject& object, const HasAgent& has_agent, Time now,
                                         std::string_view date);
  void note_written(const StatusWrite& write, Time now) { written_.note(write, now); }

 private:
  struct Planned {
    PlannedMapping mapping;
    std::string address;  ///< The object's internalAddress.
  };
  struct Target {
    MappingTarget found;
    bool is_known = false;  ///< Looked up when everything had come from the cluster.
  };
  /// Inputs for which the stored status is already correct, so that thousands of objects at rest cost nothing.
  struct Settled {
    std::string version;
    std::string reason;
    std::string message;
    MappingFacts facts;
    friend bool operator==(const Settled&, const Settled&) = default;
  };
  void queue(const std::string& text);
  bool lacks_targets() const;
  std::vector<ServiceMapping> make_table() const;
  std::optional<MappingFacts> facts_of(const ServiceMappingObject& object, const PlannedMapping& planned,
                                       const HasAgent& has_agent) const;

  const KubernetesSettings& settings_;
  std::map<std::string, Planned> planned_;                  ///< By the object's name.
  std::map<std::string, Target> targets_;                   ///< By internalAddress.
  std::map<std::string, std::set<std::string>> addresses_;  ///< By Service: the internalAddresses that name it.
  std::deque<std::string> to_look_up_;
  std::set<std::string> queued_;  ///< What to_look_up_ has.
  std::optional<Time> patient_until_;
  std::optional<std::vector<ServiceMapping>> table_;
  std::map<std::string, Settled> settled_;
  WrittenStatuses written_;
};

}  // namespace culvert::server
