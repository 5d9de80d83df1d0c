// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/address.hpp>
#include <boost/asio/steady_timer.hpp>

#include "common/admin/log.hpp"
#include "common/base/counter.hpp"
#include "common/base/permit.hpp"
#include "common/net/dialer.hpp"
#include "common/net/poller.hpp"
#include "common/net/task_group.hpp"
#include "common/net/worker.hpp"
#include "common/tls/data_socket.hpp"
#include "common/upstream/churn_guard.hpp"
#include "common/upstream/stream_target.hpp"
#include "protocol/messages.hpp"

namespace culvert {

/// Dials the target, with TLS if it has that, within its connect_time_max. Errors: those of Dialer::dial() and
/// tls_connect().
boost::asio::awaitable<Result<DataSocket>> reach(Dialer& dialer, const StreamTarget& target);

/// Returns the refusal for the opener if a target cannot be reached: a reason of SPEC 10, without internal host names.
protocol::Reject reject_of(const Error& error);

/// Held by a stream to a target until it ends. The destructor reports the end to the churn guard.
class Admission {
 public:
  Admission() = default;
  Admission(Permit stream, SharePermit descriptor, std::shared_ptr<ChurnGuard> guard);
  Admission(Admission&&) = default;
  Admission& operator=(Admission&&) = default;
  ~Admission();

  /// Reports that the opener reset the stream.
  void note_reset();

 private:
  void note_end(bool reset_by_opener);
  Permit stream_;
  SharePermit descriptor_;
  std::shared_ptr<ChurnGuard> guard_;
  protocol::Time began_{0};
};

/// A connection to a target. The receiver must watch the socket, with watch().
struct Dialed {
  DataSocket socket;
  Permit connection;               ///< Permit of the target's connections; nullptr: they are not counted.
  Pollable* watched_by = nullptr;  ///< The dial, if the poller watches the socket for it already.

  /// From now on `pollable` gets the socket's events. Returns false if the kernel's limit of watched sockets is
  /// reached.
  [[nodiscard]] bool watch(Poller& poller, Pollable& pollable) const;
};

/// A connection to a target that is being made. The destructor aborts it; its permits are free soon after. On one
/// worker.
class Dial {
 public:
  virtual ~Dial() = default;
  /// Call it about once per second: checks the deadline.
  virtual void on_tick(protocol::Time now) = 0;
};

/// Dials all targets of one worker, for TCP and for HTTP. Limits the streams and dials of each link and the connections
/// of each mapping, and refuses streams to a target for a moment if they are opened and reset in a loop (threats A8).
class TargetDialer {
 public:
  /// `dials` is the gauge of current dials. All arguments must outlive it.
  TargetDialer(Worker& worker, Gauge& dials, Log& log);

  /// Admits one more stream of the peer to this target. A stream beyond `limits` of its link, or beyond its account's
  /// share of the descriptors, is refused as overloaded, retryable.
  std::expected<Admission, protocol::Reject> admit(const StreamTarget& target, const LinkQuota& link,
                                                   const LinkLimits& limits);

  /// Called once with the connection or the refusal for the opener, unless the Dial is destroyed before. A failure is
  /// logged already. If it is called before dial() returns, dial() returns nullptr.
  using Done = std::move_only_function<void(std::expected<Dialed, protocol::Reject>)>;
  /// What to do with a dial beyond limits.dials_max.
  enum class WhenFull : std::uint8_t {
    refuse,  ///< Refuse it as overloaded, retryable.
    wait,    ///< Wait for one of the others. For bursts of requests, which share connections.
  };
  /// Connects to the target within its connect_time_max.
  std::unique_ptr<Dial> dial(const StreamTarget& target, const LinkQuota& link, const LinkLimits& limits,
                             WhenFull when_full, Done done);

  /// Stops all dials. Call it on the worker, and wait until size() is 0 before the object is destroyed.
  void request_stop() { dials_.request_stop(); }
  std::size_t size() const { return dials_.size(); }

 private:
  class DirectDial;
  struct CoroutineState;
  class CoroutineDial;
  class WaitingDial;
  struct Held;

  std::unique_ptr<Dial> begin(const StreamTarget& target, Permit permit, Done done);
  void note_dial_over();
  void begin_waiting();
  void poll_waiting();
  boost::asio::awaitable<void> connect(std::shared_ptr<CoroutineState> waiting);
  protocol::Reject failure(const StreamTarget& target, const Error& error);

  Worker& worker_;
  Gauge& gauge_;
  Log& log_;
  Dialer dialer_;
  /// Keyed by target name; bounded by the configuration.
  std::unordered_map<std::string, std::shared_ptr<ChurnGuard>> churn_;
  std::list<WaitingDial*> waiting_;
  bool is_beginning_ = false;
  bool is_polling_ = false;
  boost::asio::steady_timer poll_;
  TaskGroup dials_;
};

}  // namespace culvert
