// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "common/base/error.hpp"
#include "server/kubernetes/port_pool.hpp"
#include "server/kubernetes/published_service.hpp"
#include "server/kubernetes/status_write.hpp"

// What is to be done about objects of the cluster that become Services: where every replica listens, which port an
// object gets, what becomes of its Service and EndpointSlice, which status to write. Pure: no network, no clock.

namespace culvert::server {

/// What the writer does for one object in the cluster.
struct ServiceWork {
  enum class Kind : std::uint8_t {
    publish,   ///< Make its Service, then its EndpointSlice, as service_of() and slice_of() have them.
    withdraw,  ///< Take the endpoints out of its EndpointSlice: what led somewhere leads nowhere from now on.
  };
  Kind kind = Kind::publish;
  ServiceOwner owner;
  PlannedService planned;
  std::vector<Replica> replicas;
};

/// `Object` is OnPremiseObject or DestinationObject; status_of() of each makes its status.
template <typename Object>
class ServicePolicy {
 public:
  using Objects = std::map<std::string, Object>;
  using HasAgent = std::function<bool(const std::string& account, const std::string& location)>;
  using Time = std::chrono::steady_clock::time_point;
  /// How often what is in order is looked at again, since somebody else may have changed what we made.
  static constexpr std::chrono::seconds look_again{300};
  /// After a failure, and while a name is taken.
  static constexpr std::chrono::seconds retry{10};

  /// The rules of one kind of object.
  struct Rules {
    PortRange ports;
    std::string table;  ///< The table of the file that has the ports.
    std::function<std::map<std::string, PlannedService>(const Objects& objects)> plan;
  };
  explicit ServicePolicy(Rules rules);

  /// From now on these are the objects, by "namespace/name".
  void plan(Objects objects);
  std::size_t objects() const { return objects_.size(); }
  std::vector<std::string> keys() const;

  /// Where every replica listens: at the ports that the objects' statuses have. Nothing: as the last call returned.
  std::optional<std::vector<OnPremisePort>> next_ports();

  // For the writer, one object after the other.
  /// What is to be done for the object; call note_done() with the outcome, then ask again. Nothing: as it was left.
  std::optional<ServiceWork> next_work(const std::string& key, const std::vector<Replica>& replicas, Time now);
  /// An error of code "kubernetes.name_taken" means that an object of that name exists and is not ours.
  void note_done(const std::string& key, const Result<void>& outcome, Time now);
  /// The next write of the object's status, after next_work() returned nothing. `date` in RFC 3339.
  std::optional<StatusWrite> next_status(const std::string& key, const HasAgent& has_agent, Time now,
                                         std::string_view date);
  void note_written(const StatusWrite& write, Time now) { written_.note(write, now); }

 private:
  /// A port that was given out and is not in the object's status yet, as far as the informer knows.
  struct Given {
    std::string uid;
    std::uint16_t port = 0;
  };
  /// What was last done for an object, with which inputs, and when it is looked at again.
  struct Left {
    std::string uid;
    std::int64_t generation = 0;
    PlannedService planned;
    std::vector<Replica> replicas;
    ServiceWork::Kind kind = ServiceWork::Kind::publish;  ///< The last work's.
    bool is_open = false;                                 ///< That work's outcome is not known yet.
    bool is_withdrawn = false;                            ///< A refused object leads nowhere for certain.
    PublishedFacts facts;
    Time again;
  };
  PlannedService with_port(const Object& object, PlannedService planned);
  bool has_status_port(const Object& object, Time now);
  ServiceWork begin(Left& left, ServiceWork::Kind kind, const Object& object);

  const Rules rules_;
  Objects objects_;
  std::map<std::string, PlannedService> planned_;  ///< With the ports that the statuses have.
  std::map<std::string, Given> given_;
  PortPool pool_;
  std::map<std::string, Left> left_;
  std::optional<std::vector<OnPremisePort>> ports_;
  WrittenStatuses written_;
};

}  // namespace culvert::server
