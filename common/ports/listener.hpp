// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include <boost/asio/ip/tcp.hpp>

#include "common/base/error.hpp"
#include "common/net/unique_fd.hpp"
#include "common/net/worker.hpp"

namespace culvert {

class WorkerAcceptor;
struct ListenerSocket;

/// Returns whether a source may connect. Called on any worker, so it must be immutable or thread-safe. Empty: all may.
using Admits = std::function<bool(const boost::asio::ip::address& source)>;

/// Callbacks of a Listener. Each is called on the worker where the event happened, on several workers at once; none may
/// throw.
struct ListenerEvents {
  /// A new connection: non-blocking, close-on-exec, without Nagle's delay.
  std::function<void(Worker&, UniqueFd, boost::asio::ip::tcp::endpoint peer)> on_accept;
  /// `admits` refused the source; the connection is closed already. Optional. The receiver must limit its log lines.
  std::function<void(Worker&, boost::asio::ip::tcp::endpoint peer)> on_refused;
  /// The process ran out of descriptors or memory, `times` times since the last call, which was at least a second ago.
  /// Optional.
  std::function<void(Worker&, std::uint64_t times)> on_exhausted;
};

/// One listening TCP socket, shared by all workers: any worker that is awake accepts. When descriptors run out, a
/// worker leaves connections in the backlog for 100 ms at a time instead of spinning. Only the thread that owns it may
/// call it. Must be destroyed before the workers.
class Listener {
 public:
  /// Binds and listens; connections wait in the backlog until start(). With port 0 the kernel chooses: see
  /// local_endpoint(). `inherited`, if given, listens at the address already. The address may overlap with those of
  /// `leaving`, which the caller is going to close: a port moves from 0.0.0.0 to 127.0.0.1 without a gap. Errors:
  /// "listen.in_use", "listen.refused".
  static Result<std::unique_ptr<Listener>> open(const boost::asio::ip::tcp::endpoint& local,
                                                std::span<Worker* const> workers, ListenerEvents events,
                                                const Admits& admits = {}, UniqueFd inherited = {},
                                                std::span<const Listener* const> leaving = {});
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener() { close(); }

  /// Starts accepting, on each of the workers. Once.
  void start();
  /// Asks every worker to stop accepting. A worker makes no callback once it ran what was posted to it before this
  /// returned; the port is free once all did. May be called twice.
  void close();
  /// Replaces `admits`. Open connections are not changed.
  void set_admits(const Admits& admits);

  boost::asio::ip::tcp::endpoint local_endpoint() const { return local_; }
  /// Returns how often an accept failed since the start because descriptors or memory ran out.
  std::uint64_t exhausted_count() const;

 private:
  Listener(std::shared_ptr<ListenerSocket> socket, std::span<Worker* const> workers, const Admits& admits);

  struct OnWorker {
    Worker* worker;
    std::shared_ptr<WorkerAcceptor> acceptor;
  };
  void set_shares_port(bool shares) const;

  std::shared_ptr<ListenerSocket> socket_;
  boost::asio::ip::tcp::endpoint local_;
  std::vector<OnWorker> acceptors_;
};

}  // namespace culvert
