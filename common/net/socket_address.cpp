// SPDX-License-Identifier: Apache-2.0
#include "common/net/socket_address.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>

#include <boost/asio/ip/address.hpp>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include "common/net/socket_options.hpp"

namespace culvert {

namespace {

// One for the process: sockets are made in too many places to pass it on.
// NOLINTNEXTLINE(cppcoreguidelines-avoid-non-const-global-variables)
std::atomic<int> keep_alive_seconds = 60;

}  // namespace

namespace asio = boost::asio;
using asio::ip::tcp;

tcp::endpoint endpoint_of(const sockaddr_storage& storage, socklen_t size) {
  if (storage.ss_family != AF_INET && storage.ss_family != AF_INET6) return {};
  tcp::endpoint endpoint;
  const std::size_t bytes = std::min<std::size_t>(size, endpoint.capacity());
  std::memcpy(endpoint.data(), &storage, bytes);
  endpoint.resize(bytes);
  const asio::ip::address address = endpoint.address();
  if (!address.is_v6() || !address.to_v6().is_v4_mapped()) return endpoint;
  return {asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()), endpoint.port()};
}

tcp::endpoint local_endpoint_of(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return {};
  return endpoint_of(storage, size);
}

Result<tcp::endpoint> address_to_listen(const Endpoint& endpoint) {
  if (endpoint.host == "localhost") return tcp::endpoint(asio::ip::address_v4::loopback(), endpoint.port);
  boost::system::error_code malformed;
  const auto address = asio::ip::make_address(endpoint.host, malformed);
  if (!malformed) return tcp::endpoint(address, endpoint.port);
  return fail("listen.refused",
              endpoint.host + "  is not an IP address: write an IP address of this machine, or localhost");
}

std::string to_text(const tcp::endpoint& endpoint) {
  const std::string address = endpoint.address().to_string();
  const std::string host = endpoint.address().is_v6() ? "[" + address + "]" : address;
  return host + ":" + std::to_string(endpoint.port());
}

UniqueFd make_tcp_socket(int family) {
  UniqueFd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (fd) set_tcp_options(fd.get());
  return fd;
}

void set_keep_alive_time(std::chrono::seconds time) {
  keep_alive_seconds.store(static_cast<int>(time.count()), std::memory_order_relaxed);
}

void set_tcp_options(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  const int idle = keep_alive_seconds.load(std::memory_order_relaxed);
  if (idle == 0) return;
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, std::min(idle, 10));
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 6);
}

}  // namespace culvert
