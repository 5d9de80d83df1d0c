// SPDX-License-Identifier: Apache-2.0
#include "common/ports/client_ports.hpp"

#include <atomic>

#include <fcntl.h>
#include <gtest/gtest.h>

#include "tests/testing/sockets.hpp"
#include "tests/testing/tunnel_pair.hpp"

namespace culvert {
namespace {

struct ClientPortsTest : ::testing::Test {
  ClientPortsTest()
      : null(::open("/dev/null", O_WRONLY | O_CLOEXEC)),
        log(LogSettings{}, null.get()),
        planes(1, 1 << 20),
        ports(planes, log) {
    planes.start();
  }
  ~ClientPortsTest() override {
    ports.close();
    planes.stop();
  }
  static std::uint16_t free_port() { return testing::ClosedPort().port(); }
  static ClientPort::Settings settings(std::uint16_t port, std::string name) {
    ClientPort::Settings made;
    made.port.listen = {"127.0.0.1", port};
    made.name = std::move(name);
    made.group = "tests";
    made.serve = [](DataPlane&, const Client&) {};
    return made;
  }
  static bool answers(std::uint16_t port) {
    return static_cast<bool>(testing::connected_socket(testing::loopback(port)));
  }
  /// A port is free once every worker has stopped accepting.
  bool is_closed(std::uint16_t port) {
    return testing::eventually(planes, [port](DataPlane&) { return !answers(port); });
  }

  UniqueFd null;
  Log log;
  DataPlanes planes;
  ClientPorts ports;
};

TEST_F(ClientPortsTest, open_on_commit_and_close_when_they_are_removed) {
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

TEST_F(ClientPortsTest, a_port_serves_nobody_before_the_commit) {
  const std::uint16_t port = free_port();
  std::atomic<int> served = 0;
  auto wanted = settings(port, "one");
  wanted.serve = [&served](DataPlane&, const Client&) { ++served; };
  auto staged = ports.stage({wanted});
  ASSERT_TRUE(staged);
  const UniqueFd waiting = testing::connected_socket(testing::loopback(port));
  ASSERT_TRUE(waiting);
  testing::on(planes.plane(0), [](DataPlane&) {});
  EXPECT_EQ(served, 0) << "it waits in the backlog";
  ports.commit(std::move(*staged));
  EXPECT_TRUE(testing::eventually(planes, [&served](DataPlane&) { return served == 1; }));
}

TEST_F(ClientPortsTest, one_that_cannot_be_opened_undoes_the_others) {
  const testing::ClosedPort taken;
  const std::uint16_t free = free_port();
  const auto staged = ports.stage({settings(free, "good"), settings(taken.port(), "bad")});
  ASSERT_FALSE(staged);
  EXPECT_EQ(staged.error().code, "listen.in_use");
  EXPECT_TRUE(staged.error().text.starts_with("bad: "));
  EXPECT_TRUE(is_closed(free));
  EXPECT_TRUE(ports.status("tests").empty());
}

TEST_F(ClientPortsTest, one_moves_between_addresses_of_a_port_in_one_step) {
  const std::uint16_t port = free_port();
  std::string served;
  for (const char* host : {"0.0.0.0", "127.0.0.1", "::", "127.0.0.1", "0.0.0.0", "::1", "0.0.0.0"}) {
    auto wanted = settings(port, host);
    wanted.port.listen.host = host;
    ASSERT_TRUE(wanted.port.allow_from.add("127.0.0.0/8"));
    wanted.serve = [&served, host](DataPlane&, const Client&) { served = host; };
    auto staged = ports.stage({wanted});
    ASSERT_TRUE(staged) << host << ": " << staged.error().text;
    ports.commit(std::move(*staged));
    EXPECT_EQ(ports.size(), 1U);
    if (std::string_view(host) == "::1") continue;
    // The listener before it is closed in one of the next turns.
    EXPECT_TRUE(testing::eventually(planes, [&](DataPlane&) { return answers(port) && served == host; })) << host;
    EXPECT_FALSE(ClientPort::open(planes, log, wanted)) << "no other program may have it";
  }
}

TEST_F(ClientPortsTest, one_that_moves_stays_where_it_is_if_another_one_cannot_be_opened) {
  const std::uint16_t port = free_port();
  auto wide = settings(port, "wide");
  wide.port.listen.host = "0.0.0.0";
  ASSERT_TRUE(wide.port.allow_from.add("127.0.0.0/8"));
  auto first = ports.stage({wide});
  ASSERT_TRUE(first);
  ports.commit(std::move(*first));
  const testing::ClosedPort taken;
  EXPECT_FALSE(ports.stage({settings(port, "narrow"), settings(taken.port(), "bad")}));
  // A client that meets the staged listener while it is closed is reset.
  EXPECT_TRUE(testing::eventually(planes, [port](DataPlane&) { return answers(port); }));
  EXPECT_FALSE(ClientPort::open(planes, log, settings(port, "another"))) << "no other program may have it";
}

TEST_F(ClientPortsTest, one_whose_address_stays_takes_its_new_settings) {
  const std::uint16_t port = free_port();
  auto first = ports.stage({settings(port, "old")});
  ASSERT_TRUE(first);
  ports.commit(std::move(*first));
  auto second = ports.stage({settings(port, "new")});
  ASSERT_TRUE(second);
  ports.commit(std::move(*second));
  const auto status = ports.status("tests");
  ASSERT_EQ(status.size(), 1U);
  EXPECT_EQ(status.front().at("name"), "new");
  EXPECT_TRUE(answers(port));
}

TEST_F(ClientPortsTest, changed_one_by_one_a_port_that_cannot_be_opened_does_not_affect_the_others) {
  auto taken = std::make_unique<testing::ClosedPort>();
  const std::uint16_t bad = taken->port();
  const std::uint16_t good = free_port();
  std::vector<std::string> failed;
  const auto note = [&failed](const std::string& name, const Error& error) { failed.push_back(name + error.code); };
  ports.change_each({settings(bad, "bad"), settings(good, "good")}, note);
  EXPECT_TRUE(answers(good));
  EXPECT_EQ(failed, std::vector<std::string>{"badlisten.in_use"});
  taken.reset();
  ports.change_each({settings(bad, "bad"), settings(good, "good")}, note);
  EXPECT_TRUE(answers(bad)) << "tried again by the next change";
  EXPECT_EQ(failed.size(), 1U);
  ports.change_each({settings(bad, "bad")}, note);
  EXPECT_TRUE(is_closed(good));
  EXPECT_EQ(ports.status("others").size(), 0U);
}

TEST_F(ClientPortsTest, a_name_is_not_an_address_to_listen_on) {
  auto wrong = settings(1, "wrong");
  wrong.port.listen.host = "erp.example";
  const auto staged = ports.stage({wrong});
  ASSERT_FALSE(staged);
  EXPECT_EQ(staged.error().code, "listen.refused");
}

}  // namespace
}  // namespace culvert
