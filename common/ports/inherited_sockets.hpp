// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <vector>

#include <boost/asio/ip/tcp.hpp>

#include "common/net/unique_fd.hpp"

namespace culvert {

/// Listening TCP sockets that systemd opened for us (as sd_listen_fds(3), without the library: it is two numbers in the
/// environment). systemd keeps them during a restart, so connections wait in their backlog, and it may open ports that
/// we may not. Kept until the end, since a later reload may use a port again. Used by one thread at a time.
class InheritedSockets {
 public:
  InheritedSockets() = default;
  /// Reads $LISTEN_PID and $LISTEN_FDS. Ignores descriptors that are not listening TCP sockets.
  static InheritedSockets from_environment();
  /// Makes an object that owns these sockets.
  static InheritedSockets of(std::vector<UniqueFd> sockets);

  /// Returns a duplicate of the socket that listens at `local`, or an empty one. Closing it leaves the socket
  /// listening. A socket at all IPv6 addresses also serves all IPv4 addresses, unless IPV6_V6ONLY is set.
  UniqueFd find(const boost::asio::ip::tcp::endpoint& local);
  /// Returns the addresses of sockets that no port uses: clients that connect there wait forever.
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
