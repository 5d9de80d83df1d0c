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

class ListenerEar;
struct ListenerSocket;

/// Whether a source may connect. Called on any worker, so it must be immutable or thread-safe. Empty: everybody may.
using Admits = std::function<bool(const boost::asio::ip::address& source)>;

/// Where a Listener's events go. Each is called on the worker where the event happened, several workers at once; none
/// may throw.
struct ListenerEvents {
  /// A new connection: non-blocking, close-on-exec, without Nagle's delay.
  std::function<void(Worker&, UniqueFd, boost::asio::ip::tcp::endpoint peer)> on_accept;
  /// `admits` said no; the connection is closed already. Optional. The receiver limits the rate of its log lines.
  std::function<void(Worker&, boost::asio::ip::tcp::endpoint peer)> on_refused;
  /// The process ran out of descriptors or memory, `times` since the last call, which is at least a second ago.
  /// Optional.
  std::function<void(Worker&, std::uint64_t times)> on_exhausted;
};

/// One listening TCP socket, shared by all workers: whichever is awake accepts. Where descriptors run out, a worker
/// leaves the connections in the backlog for 100 ms at a time instead of spinning. Owned by one thread, which alone
/// calls it; what runs on the workers lives and dies there. Must end before the workers are destroyed.
class Listener {
 public:
  /// Binds, listens, and starts accepting on each of `workers`. Port 0 takes any free port: see local_endpoint().
  /// `inherited`, where there is one, listens there already. Errors: "listen.in_use", "listen.refused".
  static Result<std::unique_ptr<Listener>> open(const boost::asio::ip::tcp::endpoint& local,
                                                std::span<Worker* const> workers, ListenerEvents events,
                                                const Admits& admits = {}, UniqueFd inherited = {});
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;
  ~Listener() { close(); }

  /// Asks every worker to let go. No event comes from a worker once it ran what was posted to it before this returned;
  /// the port is free when all did. May be called twice.
  void close();
  /// Replaces the list of who may connect. Connections that stand are untouched.
  void set_admits(const Admits& admits);

  boost::asio::ip::tcp::endpoint local_endpoint() const { return local_; }
  /// How often an accept failed for want of descriptors or memory, since the start.
  std::uint64_t exhausted_count() const;

 private:
  Listener(std::shared_ptr<ListenerSocket> socket, std::span<Worker* const> workers, const Admits& admits);

  struct Post {
    Worker* worker;
    std::shared_ptr<ListenerEar> ear;
  };
  std::shared_ptr<ListenerSocket> socket_;
  boost::asio::ip::tcp::endpoint local_;
  std::vector<Post> posts_;
};

}  // namespace culvert
