// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <span>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

// What the load needs of sockets, on loopback. Whatever fails throws std::system_error.
namespace culvert::bench {

constexpr time_t receive_seconds_max = 20;  // of a blocking socket: what hangs longer is an error

[[noreturn]] inline void fail_by_errno(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

/// Owns a file descriptor.
class Descriptor {
 public:
  Descriptor(int number, const char* what) : number_(number) {
    if (number < 0) fail_by_errno(what);
  }
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  int number() const { return number_; }

 private:
  int number_;
};

/// Level-triggered by default. Each event carries the `key` of its socket.
class Poller {
 public:
  void add(int socket, std::uint32_t events, std::uint64_t key) { control(EPOLL_CTL_ADD, socket, events, key); }
  void modify(int socket, std::uint32_t events, std::uint64_t key) { control(EPOLL_CTL_MOD, socket, events, key); }
  void remove(int socket) { control(EPOLL_CTL_DEL, socket, 0, 0); }
  std::span<const epoll_event> wait(int milliseconds_max) {
    const int count = ::epoll_wait(epoll_.number(), events_.data(), static_cast<int>(events_.size()), milliseconds_max);
    if (count < 0 && errno != EINTR) fail_by_errno("epoll_wait");
    return std::span(events_).first(static_cast<std::size_t>(std::max(count, 0)));
  }

 private:
  void control(int operation, int socket, std::uint32_t events, std::uint64_t key) {
    epoll_event event{.events = events, .data = {.u64 = key}};
    if (::epoll_ctl(epoll_.number(), operation, socket, &event) != 0) fail_by_errno("epoll_ctl");
  }
  Descriptor epoll_{::epoll_create1(EPOLL_CLOEXEC), "epoll_create1"};
  std::array<epoll_event, 256> events_{};
};

inline sockaddr_in loopback(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

inline void set_option(int socket, int level, int name, int value) {
  if (::setsockopt(socket, level, name, &value, sizeof value) != 0) fail_by_errno("setsockopt");
}

/// `flags`: SOCK_NONBLOCK or 0.
inline Descriptor dial(std::uint16_t port, int flags) {
  Descriptor socket(::socket(AF_INET, SOCK_STREAM | flags, 0), "socket");
  set_option(socket.number(), IPPROTO_TCP, TCP_NODELAY, 1);
  const timeval limit{.tv_sec = receive_seconds_max, .tv_usec = 0};
  ::setsockopt(socket.number(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  const sockaddr_in address = loopback(port);
  if (::connect(socket.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 &&
      errno != EINPROGRESS) {
    fail_by_errno("connect");
  }
  return socket;
}

inline void set_nonblocking(int socket) {
  if (::fcntl(socket, F_SETFL, O_NONBLOCK) != 0) fail_by_errno("fcntl");
}

/// Buffer for bytes that are read and ignored, and for bytes to send.
inline std::span<char> chunk() {
  static std::vector<char> bytes(256UL * 1024);
  return bytes;
}

/// Sends as much as the socket accepts now. Returns how many bytes that was; 0 if none.
inline std::size_t send_some(int socket, std::span<const char> bytes) {
  const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (sent < 0 && errno != EAGAIN) fail_by_errno("send");
  return static_cast<std::size_t>(std::max<ssize_t>(sent, 0));
}

}  // namespace culvert::bench
