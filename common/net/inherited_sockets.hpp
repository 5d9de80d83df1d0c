// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include <boost/asio/ip/tcp.hpp>

#include "common/net/unique_fd.hpp"

namespace culvert {

/// Listening TCP sockets that systemd opened for us (sd_listen_fds(3), by hand: it is two numbers in the environment).
/// It keeps them while we restart, so connections wait in their backlog, and it may open ports that we may not. Kept
/// until the end, since a port that a reload closes may come back by another. On one thread at a time.
class InheritedSockets {
 public:
  InheritedSockets() = default;
  /// Reads $LISTEN_PID and $LISTEN_FDS. What is no listening TCP socket is left alone.
  static InheritedSockets from_environment();
  /// Of these sockets, which it takes over.
  static InheritedSockets of(std::vector<UniqueFd> sockets);

  /// A copy of the one that listens at `local`, whose close leaves the socket listening; else none. A socket at all
  /// IPv6 addresses is one at all IPv4 addresses too, unless it was told otherwise.
  UniqueFd find(const boost::asio::ip::tcp::endpoint& local);
  /// Where sockets listen that nobody has asked for: whoever connects there waits for ever.
  std::vector<boost::asio::ip::tcp::endpoint> unclaimed() const;

 private:
  struct Socket {
    UniqueFd fd;
    boost::asio::ip::tcp::endpoint local;
    bool claimed = false;
  };
  void add(UniqueFd fd);

  std::vector<Socket> sockets_;
};

}  // namespace culvert
