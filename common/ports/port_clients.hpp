// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include <boost/asio/ip/address.hpp>

#include "common/base/guarded.hpp"
#include "common/base/permit.hpp"
#include "common/tunnel/data_plane.hpp"

namespace culvert {

/// The clients of one port, on one worker, that are to send something before anything goes on: the next request, or the
/// rest of a head. On this worker, unless a function says otherwise.
class WaitingClients {
 public:
  struct Entry {
    ClientConnection* client;
    protocol::Time since;
  };
  using Place = std::list<Entry>::iterator;

  /// Adds a client that waits since now. It must be removed before it ends.
  Place add(ClientConnection& client, protocol::Time now);
  void remove(Place place);
  /// Returns the client that has waited longest; nullptr if none waits.
  ClientConnection* longest() const { return entries_.empty() ? nullptr : entries_.front().client; }
  /// Returns since when it has; nothing if none waits. From any thread, and then a moment old.
  std::optional<protocol::Time> longest_since() const;

 private:
  void publish();

  std::list<Entry> entries_;  ///< The longest first.
  std::atomic<protocol::Time::rep> longest_since_us_{none};
  static constexpr protocol::Time::rep none = -1;
};

/// All connections to one client port: how many there are, in all and of each source, and which of them wait for their
/// client. Shared by the port and its connections, on all workers.
class PortClients {
 public:
  explicit PortClients(std::size_t workers) : waiting_(workers) {}

  struct Limits {
    std::uint32_t connections_max = 0;
    std::uint32_t per_source_max = 0;  ///< 0: no limit.
  };
  enum class Refusal : std::uint8_t { full, source_full };
  /// Returns a permit for one more connection from `source`. An IPv6 source counts as its /64. Loopback has no limit of
  /// its own, since it stands for all programs of this machine, and for a proxy in front. From any thread.
  static std::expected<Permit, Refusal> take(const std::shared_ptr<PortClients>& clients,
                                             const boost::asio::ip::address& source, const Limits& limits);
  std::uint32_t taken() const { return connections_->taken(); }

  WaitingClients& waiting(std::size_t worker) { return waiting_[worker]; }
  /// Returns the worker whose client has waited longest. From any thread.
  std::optional<std::size_t> worker_of_longest() const;

 private:
  std::shared_ptr<Quota> connections_ = std::make_shared<Quota>();
  Guarded<std::map<boost::asio::ip::address, std::uint32_t>> sources_;
  std::vector<WaitingClients> waiting_;
};

/// Held by a client's connection: whether it waits for its client. While it does, it may have to give way to another
/// client of the port. On one worker.
class WaitsForClient {
 public:
  /// `clients` may be nullptr: the connection never gives way.
  WaitsForClient(std::shared_ptr<PortClients> clients, DataPlane& plane, ClientConnection& client)
      : clients_(std::move(clients)), plane_(plane), client_(client) {}
  WaitsForClient(const WaitsForClient&) = delete;
  WaitsForClient& operator=(const WaitsForClient&) = delete;
  ~WaitsForClient() { end(); }

  /// It waits since now. Does nothing if it waits already.
  void begin();
  void end();
  const std::shared_ptr<PortClients>& clients() const { return clients_; }

 private:
  std::shared_ptr<PortClients> clients_;
  DataPlane& plane_;
  ClientConnection& client_;
  std::optional<WaitingClients::Place> place_;
};

}  // namespace culvert
