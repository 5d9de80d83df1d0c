// SPDX-License-Identifier: Apache-2.0
#include "common/ports/inherited_sockets.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string_view>
#include <utility>

#include <fcntl.h>
#include <netinet/in.h>
#include <unistd.h>

#include "common/net/socket_address.hpp"

namespace culvert {

namespace {

constexpr int first_descriptor = 3;  // SD_LISTEN_FDS_START
constexpr int descriptors_max = 1024;

int number(const char* name) {
  const char* value = std::getenv(name);
  const std::string_view text = value != nullptr ? value : "";
  int answer = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), answer);
  return error == std::errc() && end == text.data() + text.size() ? answer : 0;
}

int option(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  return ::getsockopt(fd, level, name, &value, &size) == 0 ? value : -1;
}

bool is_listening_tcp(int fd) {
  const int family = option(fd, SOL_SOCKET, SO_DOMAIN);
  return (family == AF_INET || family == AF_INET6) && option(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP &&
         option(fd, SOL_SOCKET, SO_ACCEPTCONN) == 1;
}

bool serves(int fd, const boost::asio::ip::tcp::endpoint& socket, const boost::asio::ip::tcp::endpoint& wanted) {
  if (socket == wanted) return true;
  return socket.port() == wanted.port() && socket.address().is_v6() && socket.address().is_unspecified() &&
         wanted.address().is_unspecified() && option(fd, IPPROTO_IPV6, IPV6_V6ONLY) == 0;
}

}  // namespace

InheritedSockets InheritedSockets::from_environment() {
  InheritedSockets inherited;
  if (number("LISTEN_PID") != ::getpid()) return inherited;
  const int count = std::min(number("LISTEN_FDS"), descriptors_max);
  for (int fd = first_descriptor; fd < first_descriptor + count; ++fd) {
    if (is_listening_tcp(fd)) inherited.add(UniqueFd(fd));
  }
  return inherited;
}

InheritedSockets InheritedSockets::of(std::vector<UniqueFd> sockets) {
  InheritedSockets inherited;
  for (UniqueFd& fd : sockets) inherited.add(std::move(fd));
  return inherited;
}

void InheritedSockets::add(UniqueFd fd) {
  const int flags = ::fcntl(fd.get(), F_GETFL);
  (void)::fcntl(fd.get(), F_SETFL, flags | O_NONBLOCK);
  (void)::fcntl(fd.get(), F_SETFD, FD_CLOEXEC);
  set_tcp_options(fd.get());  // Accepted sockets inherit the options (tcp(7)).
  const auto local = local_endpoint_of(fd.get());
  sockets_.push_back({std::move(fd), local});
}

UniqueFd InheritedSockets::find(const boost::asio::ip::tcp::endpoint& local) {
  for (Socket& socket : sockets_) {
    if (!serves(socket.fd.get(), socket.local, local)) continue;
    socket.claimed = true;
    return UniqueFd(::fcntl(socket.fd.get(), F_DUPFD_CLOEXEC, 0));
  }
  return {};
}

std::vector<boost::asio::ip::tcp::endpoint> InheritedSockets::unclaimed() const {
  std::vector<boost::asio::ip::tcp::endpoint> all;
  for (const Socket& socket : sockets_) {
    if (!socket.claimed) all.push_back(socket.local);
  }
  return all;
}

}  // namespace culvert
