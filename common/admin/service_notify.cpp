// SPDX-License-Identifier: Apache-2.0
#include "common/admin/service_notify.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace culvert {

namespace {

std::string_view variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

}  // namespace

ServiceNotify::ServiceNotify(std::string_view socket_path) {
  sockaddr_un address{};
  if (socket_path.size() < 2 || socket_path.size() >= sizeof address.sun_path) return;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, socket_path.data(), socket_path.size());
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_path.size());
  UniqueFd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (socket && ::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) == 0)
    socket_ = std::move(socket);
}

ServiceNotify ServiceNotify::from_environment() {
  ServiceNotify notify(variable("NOTIFY_SOCKET"));
  const auto interval = number(variable("WATCHDOG_USEC"));
  const auto pid = number(variable("WATCHDOG_PID"));
  const bool is_ours = !pid || *pid == static_cast<std::uint64_t>(::getpid());
  if (interval && *interval > 0 && is_ours) notify.watchdog_interval_ = std::chrono::microseconds(*interval / 2);
  return notify;
}

void ServiceNotify::ready() const {
  send("READY=1");
}

void ServiceNotify::stopping(std::chrono::milliseconds time_max) const {
  send(fmt::format("STOPPING=1\nEXTEND_TIMEOUT_USEC={}", std::chrono::microseconds(time_max).count()));
}

void ServiceNotify::reloading() const {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  send(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", now.tv_sec * 1'000'000 + now.tv_nsec / 1000));
}

void ServiceNotify::status(std::string_view text) const {
  std::string line(text);
  std::ranges::replace(line, '\n', ' ');  // systemd would read a second line as another message.
  send("STATUS=" + line);
}

void ServiceNotify::watchdog() const {
  send("WATCHDOG=1");
}

void ServiceNotify::send(std::string_view message) const {
  if (socket_) (void)::send(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace culvert
