// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include <boost/asio/ip/tcp.hpp>
#include <sys/resource.h>
#include <sys/socket.h>

#include "common/net/socket_address.hpp"
#include "common/net/unique_fd.hpp"

namespace culvert::testing {

inline boost::asio::ip::tcp::endpoint loopback(std::uint16_t port = 0, const char* address = "127.0.0.1") {
  return {boost::asio::ip::make_address(address), port};
}

/// A bound blocking socket, which listens when `backlog` is not negative.
inline UniqueFd bound_socket(const boost::asio::ip::tcp::endpoint& local, int backlog) {
  UniqueFd fd(::socket(local.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::bind(fd.get(), local.data(), static_cast<socklen_t>(local.size())) != 0) throw std::runtime_error("bind");
  if (backlog >= 0 && ::listen(fd.get(), backlog) != 0) throw std::runtime_error("listen");
  return fd;
}

/// Connects and waits for the connection; empty, with errno set, when it fails.
inline UniqueFd connected_socket(const boost::asio::ip::tcp::endpoint& remote) {
  UniqueFd fd(::socket(remote.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(fd.get(), remote.data(), static_cast<socklen_t>(remote.size())) != 0) fd.close();
  return fd;
}

/// A port on `address` that does not answer at all: its backlog is full, so the kernel drops each further SYN.
class SilentPort {
 public:
  explicit SilentPort(const boost::asio::ip::tcp::endpoint& local) : listening_(bound_socket(local, 0)) {
    const auto remote = endpoint();
    for (int i = 0; i < 4; ++i) {
      fill_.push_back(make_tcp_socket(remote.protocol().family()));
      (void)::connect(fill_.back().get(), remote.data(), static_cast<socklen_t>(remote.size()));
    }
  }
  boost::asio::ip::tcp::endpoint endpoint() const { return local_endpoint_of(listening_.get()); }

 private:
  UniqueFd listening_;
  std::vector<UniqueFd> fill_;
};

/// A port that refuses connections while this lives: bound, not listening.
class ClosedPort {
 public:
  explicit ClosedPort(const boost::asio::ip::tcp::endpoint& local = loopback()) : bound_(bound_socket(local, -1)) {}
  std::uint16_t port() const { return local_endpoint_of(bound_.get()).port(); }

 private:
  UniqueFd bound_;
};

inline std::size_t open_descriptors() {
  const std::filesystem::directory_iterator entries("/proc/self/fd");
  return static_cast<std::size_t>(std::distance(begin(entries), end(entries)));
}

/// Limits this process to about `more` further descriptors while this lives.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(unsigned more) {
    ::getrlimit(RLIMIT_NOFILE, &before_);
    const UniqueFd next(::socket(AF_UNIX, SOCK_STREAM, 0));
    rlimit low = before_;
    low.rlim_cur = static_cast<rlim_t>(next.get()) + more;
    ::setrlimit(RLIMIT_NOFILE, &low);
  }
  DescriptorLimit(const DescriptorLimit&) = delete;
  DescriptorLimit& operator=(const DescriptorLimit&) = delete;
  ~DescriptorLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }

 private:
  rlimit before_{};
};

}  // namespace culvert::testing
