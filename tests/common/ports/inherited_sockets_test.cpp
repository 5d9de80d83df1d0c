// SPDX-License-Identifier: Apache-2.0
#include "common/ports/inherited_sockets.hpp"

#include <cstdlib>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include "common/ports/client_ports.hpp"
#include "tests/testing/sockets.hpp"
#include "tests/testing/tunnel_pair.hpp"

namespace culvert {
namespace {

using testing::bound_socket;
using testing::loopback;

std::vector<UniqueFd> only(UniqueFd fd) {
  std::vector<UniqueFd> all;
  all.push_back(std::move(fd));
  return all;
}

TEST(InheritedSockets, are_found_by_their_address) {
  UniqueFd fd = bound_socket(loopback(), 8);
  const auto local = local_endpoint_of(fd.get());
  auto inherited = InheritedSockets::of(only(std::move(fd)));
  EXPECT_EQ(inherited.unclaimed(), std::vector{local});
  EXPECT_FALSE(inherited.find(loopback(local.port(), "127.0.0.2")));
  EXPECT_EQ(inherited.unclaimed().size(), 1u);
  const UniqueFd found = inherited.find(local);
  ASSERT_TRUE(found);
  EXPECT_NE(::fcntl(found.get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(::fcntl(found.get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_TRUE(inherited.unclaimed().empty());
}

TEST(InheritedSockets, at_all_addresses_serve_both_families_unless_v6only_is_set) {
  for (const int only_v6 : {0, 1}) {
    UniqueFd fd(::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in6 any{};
    any.sin6_family = AF_INET6;
    ASSERT_EQ(::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, sizeof only_v6), 0);
    ASSERT_EQ(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&any), sizeof any), 0);
    ASSERT_EQ(::listen(fd.get(), 8), 0);
    const std::uint16_t port = local_endpoint_of(fd.get()).port();
    auto inherited = InheritedSockets::of(only(std::move(fd)));
    EXPECT_EQ(static_cast<bool>(inherited.find(loopback(port, "0.0.0.0"))), only_v6 == 0);
    EXPECT_FALSE(inherited.find(loopback(port))) << "more addresses than were asked for";
  }
}

TEST(InheritedSockets, are_empty_if_they_were_meant_for_another_process) {
  ::setenv("LISTEN_PID", "1", 1);
  ::setenv("LISTEN_FDS", "1", 1);
  EXPECT_TRUE(InheritedSockets::from_environment().unclaimed().empty());
  ::setenv("LISTEN_PID", "x", 1);
  EXPECT_TRUE(InheritedSockets::from_environment().unclaimed().empty());
  ::unsetenv("LISTEN_PID");
  ::unsetenv("LISTEN_FDS");
  EXPECT_TRUE(InheritedSockets::from_environment().unclaimed().empty());
}

TEST(InheritedSockets, outlive_the_port_that_listens_on_them) {
  const UniqueFd null(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  Log log(LogSettings{}, null.get());
  DataPlanes planes(1, 1 << 20);
  UniqueFd fd = bound_socket(loopback(), 8);
  const auto local = local_endpoint_of(fd.get());
  auto inherited = InheritedSockets::of(only(std::move(fd)));
  ClientPorts ports(planes, log, &inherited);
  planes.start();
  ClientPort::Settings settings;
  settings.group = "tests";
  settings.serve = [](DataPlane&, const Client&) {};
  settings.port.listen = {"127.0.0.1", local.port()};
  for (int turn = 0; turn < 2; ++turn) {
    auto staged = ports.stage({settings});
    ASSERT_TRUE(staged) << staged.error().text;
    ports.commit(std::move(*staged));
    EXPECT_EQ(ports.status("tests").size(), 1u);
    ports.commit({});
    EXPECT_TRUE(testing::connected_socket(local)) << "waits in the backlog";
  }
  ports.close();
  planes.stop();
}

}  // namespace
}  // namespace culvert
