// SPDX-License-Identifier: Apache-2.0
#include "common/admin/service_notify.hpp"

#include <array>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace culvert {
namespace {

using namespace std::chrono_literals;

/// systemd's end of the socket.
class Supervisor {
 public:
  explicit Supervisor(std::string path)
      : path_(std::move(path)), socket_(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, path_.data(), path_.size());
    if (path_.front() == '@') address.sun_path[0] = '\0';
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path_.size());
    EXPECT_EQ(::bind(socket_.get(), reinterpret_cast<const sockaddr*>(&address), size), 0);
  }
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;
  ~Supervisor() { ::unlink(path_.c_str()); }

  std::string heard() {
    std::array<char, 512> bytes;
    const ssize_t size = ::recv(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    return size < 0 ? "nothing" : std::string(bytes.data(), static_cast<std::size_t>(size));
  }

 private:
  std::string path_;
  UniqueFd socket_;
};

std::string unique_name(const char* before) {
  return before + std::string("culvert-notify-") + std::to_string(::getpid());
}

TEST(ServiceNotify, says_each_state_as_systemd_wants_to_hear_it) {
  Supervisor supervisor(unique_name("@"));
  const ServiceNotify notify(unique_name("@"));
  notify.ready();
  EXPECT_EQ(supervisor.heard(), "READY=1");
  notify.status("2 tunnels\nREADY=0");
  EXPECT_EQ(supervisor.heard(), "STATUS=2 tunnels READY=0");
  notify.watchdog();
  EXPECT_EQ(supervisor.heard(), "WATCHDOG=1");
  notify.stopping(20s);
  EXPECT_EQ(supervisor.heard(), "STOPPING=1\nEXTEND_TIMEOUT_USEC=20000000");
}

TEST(ServiceNotify, says_since_when_it_reloads) {
  Supervisor supervisor(unique_name("@"));
  const ServiceNotify notify(unique_name("@"));
  notify.reloading();
  const std::string heard = supervisor.heard();
  const std::string start = "RELOADING=1\nMONOTONIC_USEC=";
  ASSERT_TRUE(heard.starts_with(start)) << heard;
  EXPECT_GT(std::stoll(heard.substr(start.size())), 0);
}

TEST(ServiceNotify, finds_its_supervisor_and_watchdog_in_the_environment) {
  Supervisor supervisor(unique_name("/tmp/"));
  ::setenv("NOTIFY_SOCKET", unique_name("/tmp/").c_str(), 1);
  ::setenv("WATCHDOG_USEC", "10000000", 1);
  ::setenv("WATCHDOG_PID", std::to_string(::getpid()).c_str(), 1);
  const auto notify = ServiceNotify::from_environment();
  notify.ready();
  EXPECT_EQ(supervisor.heard(), "READY=1");
  EXPECT_EQ(notify.watchdog_interval(), 5s);
  ::setenv("WATCHDOG_PID", "1", 1);
  EXPECT_EQ(ServiceNotify::from_environment().watchdog_interval(), std::nullopt);
  for (const char* name : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) ::unsetenv(name);
}

TEST(ServiceNotify, does_nothing_without_a_supervisor) {
  ServiceNotify::from_environment().ready();
  ServiceNotify("").stopping(1s);
  ServiceNotify("/nowhere/at/all").watchdog();
  ServiceNotify(std::string(300, 'x')).ready();
}

}  // namespace
}  // namespace culvert
