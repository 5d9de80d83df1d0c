// SPDX-License-Identifier: Apache-2.0
#include "common/ports/port_clients.hpp"

#include <array>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "common/net/monotonic_time.hpp"
#include "common/tunnel/data_planes.hpp"

namespace culvert {
namespace {

using boost::asio::ip::make_address;
using Refusal = PortClients::Refusal;

constexpr PortClients::Limits limits{.connections_max = 10, .per_source_max = 3};

struct PortClientsTest : ::testing::Test {
  /// Takes a permit and keeps it. Returns why there is none.
  std::optional<Refusal> take(const char* source, PortClients::Limits given = limits) {
    auto permit = PortClients::take(clients, make_address(source), given);
    if (!permit) return permit.error();
    permits.push_back(std::move(*permit));
    return std::nullopt;
  }

  std::shared_ptr<PortClients> clients = std::make_shared<PortClients>(2);
  std::vector<Permit> permits;
};

TEST_F(PortClientsTest, of_one_source_are_so_many_and_not_one_more) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(take("10.0.0.1"), std::nullopt);
  EXPECT_EQ(take("10.0.0.1"), Refusal::source_full);
  EXPECT_EQ(take("::ffff:10.0.0.1"), Refusal::source_full) << "the same source";
  EXPECT_EQ(clients->taken(), 3U) << "one that is refused does not count";
  EXPECT_EQ(take("10.0.0.2"), std::nullopt);
  permits.erase(permits.begin());
  EXPECT_EQ(take("10.0.0.1"), std::nullopt);
  EXPECT_EQ(take("10.0.0.1"), Refusal::source_full);
  permits.clear();
  EXPECT_EQ(clients->taken(), 0U);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(take("10.0.0.1"), std::nullopt);
}

TEST_F(PortClientsTest, of_an_ipv6_network_are_of_one_source) {
  for (const char* source : {"2001:db8::1", "2001:db8::2", "2001:db8::ffff:3"}) EXPECT_EQ(take(source), std::nullopt);
  EXPECT_EQ(take("2001:db8::4"), Refusal::source_full);
  EXPECT_EQ(take("2001:db8:0:1::4"), std::nullopt);
}

TEST_F(PortClientsTest, have_no_limit_per_source_on_loopback_and_where_it_is_0) {
  for (const char* source : {"127.0.0.1", "::1"}) {
    for (int i = 0; i < 4; ++i) EXPECT_EQ(take(source), std::nullopt);
  }
  permits.clear();
  const PortClients::Limits unlimited{.connections_max = 10, .per_source_max = 0};
  for (int i = 0; i < 4; ++i) EXPECT_EQ(take("10.0.0.1", unlimited), std::nullopt);
  EXPECT_EQ(take("10.0.0.1"), Refusal::source_full) << "those count when a reload sets a limit";
}

TEST_F(PortClientsTest, of_all_sources_are_so_many_and_not_one_more) {
  for (int i = 0; i < 10; ++i) EXPECT_EQ(take(("10.0.0." + std::to_string(i)).c_str()), std::nullopt);
  EXPECT_EQ(take("10.0.1.1"), Refusal::full);
  EXPECT_EQ(take("127.0.0.1"), Refusal::full);
}

TEST_F(PortClientsTest, know_which_one_has_waited_longest) {
  class Client final : public ClientConnection {
   public:
    void on_tick(protocol::Time) override {}
    void on_drain() override {}
    void give_way() override {}
  };
  DataPlanes planes(2, 1 << 20);
  std::array<Client, 3> connections;
  WaitsForClient first(clients, planes.plane(1), connections[0]);
  WaitsForClient second(clients, planes.plane(0), connections[1]);
  WaitsForClient third(clients, planes.plane(1), connections[2]);
  const auto next_microsecond = [] {
    for (const auto now = monotonic_now(); monotonic_now() == now;) {
    }
  };
  EXPECT_EQ(clients->worker_of_longest(), std::nullopt);
  for (WaitsForClient* each : {&first, &second, &third}) {
    each->begin();
    next_microsecond();
  }
  first.begin();  // It waits already.
  EXPECT_EQ(clients->worker_of_longest(), 1U);
  EXPECT_EQ(clients->waiting(1).longest(), &connections[0]);
  first.end();
  EXPECT_EQ(clients->worker_of_longest(), 0U);
  EXPECT_EQ(clients->waiting(0).longest(), &connections[1]);
  first.begin();
  second.end();
  EXPECT_EQ(clients->worker_of_longest(), 1U);
  EXPECT_EQ(clients->waiting(1).longest(), &connections[2]) << "the first waits anew";
  EXPECT_EQ(clients->waiting(0).longest(), nullptr);
}

}  // namespace
}  // namespace culvert
