// SPDX-License-Identifier: Apache-2.0
#include "common/tunnel/local_ports.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "tests/testing/sockets.hpp"
#include "tests/testing/tunnel_pair.hpp"

namespace culvert {
namespace {

struct LocalPortsTest : ::testing::Test {
  LocalPortsTest()
      : null(::open("/dev/null", O_WRONLY | O_CLOEXEC)),
        log(LogSettings{}, null.get()),
        planes(1, 1 << 20),
        directory(planes),
        ports(planes, directory, log) {
    planes.start();
  }
  ~LocalPortsTest() override {
    ports.close();
    planes.stop();
  }
  static std::uint16_t free_port() { return testing::ClosedPort().port(); }
  static LocalPort::Settings settings(std::uint16_t port, std::string name) {
    LocalPort::Settings made;
    made.port.listen = {"127.0.0.1", port};
    made.name = std::move(name);
    return made;
  }
  static bool answers(std::uint16_t port) {
    return static_cast<bool>(testing::connected_socket(testing::loopback(port)));
  }
  /// A port is free once every worker has let go of it.
  bool is_closed(std::uint16_t port) {
    return testing::eventually(planes, [port](DataPlane&) { return !answers(port); });
  }

  UniqueFd null;
  Log log;
  DataPlanes planes;
  TunnelDirectory directory;
  LocalPorts ports;
};

TEST_F(LocalPortsTest, open_on_commit_and_close_when_they_are_gone) {
  const std::uint16_t one = free_port();
  const std::uint16_t two = free_port();
  auto first = ports.stage({settings(one, "one")});
  ASSERT_TRUE(first);
  ports.commit(std::move(*first));
  EXPECT_TRUE(answers(one));
  auto second = ports.stage({settings(two, "two")});
  ASSERT_TRUE(second);
  EXPECT_TRUE(answers(one)) << "nothing changes before the commit";
  ports.commit(std::move(*second));
  EXPECT_TRUE(answers(two));
  EXPECT_TRUE(is_closed(one));
}

TEST_F(LocalPortsTest, one_that_cannot_be_had_undoes_the_others) {
  const testing::ClosedPort taken;
  const std::uint16_t free = free_port();
  const auto staged = ports.stage({settings(free, "good"), settings(taken.port(), "bad")});
  ASSERT_FALSE(staged);
  EXPECT_EQ(staged.error().code, "listen.in_use");
  EXPECT_TRUE(staged.error().text.starts_with("bad: "));
  EXPECT_TRUE(is_closed(free));
  EXPECT_TRUE(ports.status().empty());
}

TEST_F(LocalPortsTest, one_whose_address_stays_takes_its_new_settings) {
  const std::uint16_t port = free_port();
  auto first = ports.stage({settings(port, "old")});
  ASSERT_TRUE(first);
  ports.commit(std::move(*first));
  auto second = ports.stage({settings(port, "new")});
  ASSERT_TRUE(second);
  ports.commit(std::move(*second));
  const auto status = ports.status();
  ASSERT_EQ(status.size(), 1U);
  EXPECT_EQ(status.front().name, "new");
  EXPECT_TRUE(answers(port));
}

TEST_F(LocalPortsTest, a_name_is_no_address_to_listen_on) {
  auto wrong = settings(1, "wrong");
  wrong.port.listen.host = "erp.example";
  const auto staged = ports.stage({wrong});
  ASSERT_FALSE(staged);
  EXPECT_EQ(staged.error().code, "listen.refused");
}

}  // namespace
}  // namespace culvert
