// SPDX-License-Identifier: Apache-2.0
#include "common/upstream/back_end_exchange.hpp"

#include <array>
#include <atomic>
#include <string>
#include <vector>

#include <fcntl.h>
#include <gtest/gtest.h>

#include "common/net/monotonic_time.hpp"
#include "common/net/socket_address.hpp"
#include "common/tunnel/data_planes.hpp"
#include "tests/testing/sockets.hpp"
#include "tests/testing/tunnel_pair.hpp"

namespace culvert {
namespace {

using protocol::Reason;

/// Exchanges with one target; the test is their client.
class BackEndExchangeTest : public ::testing::Test {
 protected:
  BackEndExchangeTest()
      : planes(1, 1 << 20),
        dialer(worker(), planes.plane(0).counters().dials, log),
        pool(std::make_shared<BackEndPool>(worker())) {
    planes.start();
  }
  ~BackEndExchangeTest() override {
    testing::on(planes.plane(0), [this](DataPlane&) {
      clients.clear();
      pool->clear();
      dialer.request_stop();
    });
    EXPECT_TRUE(testing::eventually(
        planes, [this](DataPlane& plane) { return dialer.size() == 0 && plane.counters().dials.value() == 0; }));
    planes.stop();
  }
  Worker& worker() { return *planes.workers().front(); }

  /// Records the calls, and pulls the body as it arrives.
  class Client final : public BackEndExchange::Client {
   public:
    std::unique_ptr<BackEndExchange> exchange;
    testing::Mailbox<protocol::Reject> failed;
    testing::Mailbox<std::string> bodies;
    std::atomic<bool> is_connected = false;

   private:
    void on_connected() override { is_connected = true; }
    void on_response(http::ResponseHead head) override { status_ = head.status; }
    void on_body_readable() override {
      std::array<std::byte, 1024> room;
      for (;;) {
        const auto pulled = exchange->pull(room);
        body_.append(reinterpret_cast<const char*>(room.data()), pulled.bytes);
        if (pulled.state == BackEndExchange::BodyState::blocked) return;
        if (pulled.state == BackEndExchange::BodyState::more) continue;
        exchange->end();
        return bodies.put(std::to_string(status_) + " " + body_);
      }
    }
    void on_taken(std::size_t) override {}
    void on_failed(const protocol::Reject& why) override { failed.put(why); }
    int status_ = 0;
    std::string body_;
  };

  Client& get(const StreamTarget& target) {
    auto made = std::make_unique<Client>();
    Client& client = *made;
    auto where = std::make_shared<const BackEndTarget>(
        BackEndTarget{target, "key", std::chrono::seconds(5), std::chrono::seconds(5)});
    testing::on(planes.plane(0), [&](DataPlane&) {
      clients.push_back(std::move(made));
      client.exchange =
          std::make_unique<BackEndExchange>(BackEndContext{dialer, pool, log}, where, link, limits, client);
      http::RequestHead head;
      head.method = "GET";
      head.path = "/";
      head.authority = {"erp", 80};
      client.exchange->begin(std::move(head));
      client.exchange->finish({});
    });
    return client;
  }

  UniqueFd null{::open("/dev/null", O_WRONLY | O_CLOEXEC)};
  Log log{LogSettings{}, null.get()};
  DataPlanes planes;
  TargetDialer dialer;
  std::shared_ptr<BackEndPool> pool;
  LinkQuota link;
  LinkLimits limits;
  std::vector<std::unique_ptr<Client>> clients;
};

TEST_F(BackEndExchangeTest, dials_no_more_at_once_than_the_peer_may_and_the_others_wait_for_their_turn) {
  limits.dials_max = 1;
  const testing::SilentPort silent(testing::loopback());
  const UniqueFd listening = testing::bound_socket(testing::loopback(), 8);
  StreamTarget quiet;
  quiet.endpoint = {"127.0.0.1", silent.endpoint().port()};
  quiet.name = "quiet:80";
  StreamTarget answering = quiet;
  answering.endpoint.port = local_endpoint_of(listening.get()).port();
  Client& first = get(quiet);
  Client& second = get(answering);
  Client& third = get(answering);
  testing::on(planes.plane(0), [&](DataPlane& plane) { EXPECT_EQ(plane.counters().dials.value(), 1); });
  EXPECT_FALSE(second.is_connected);
  testing::on(planes.plane(0), [&](DataPlane&) { first.exchange->break_off(); });
  EXPECT_TRUE(testing::eventually(planes, [&](DataPlane&) { return second.is_connected && third.is_connected; }));
  EXPECT_EQ(second.failed.size(), 0U);
}

TEST_F(BackEndExchangeTest, that_waits_for_its_turn_in_vain_is_overloaded) {
  limits.dials_max = 1;
  const testing::SilentPort silent(testing::loopback());
  StreamTarget quiet;
  quiet.endpoint = {"127.0.0.1", silent.endpoint().port()};
  quiet.name = "quiet:80";
  (void)get(quiet);
  Client& second = get(quiet);
  testing::on(planes.plane(0), [&](DataPlane&) {
    second.exchange->on_tick(monotonic_now() + quiet.connect_time_max + std::chrono::seconds(1));
  });
  const auto why = second.failed.take();
  ASSERT_TRUE(why);
  EXPECT_EQ(why->reason, Reason::overloaded);
  EXPECT_TRUE(why->retryable);
}

TEST_F(BackEndExchangeTest, reuses_an_idle_connection_and_sends_the_request_again_if_that_has_ended) {
  const UniqueFd listening = testing::bound_socket(testing::loopback(), 8);
  StreamTarget target;
  target.endpoint = {"127.0.0.1", local_endpoint_of(listening.get()).port()};
  target.name = "erp:80";
  const auto answer = [](const UniqueFd& connection, std::string_view body) {
    EXPECT_TRUE(testing::receive(connection.get(), 3) == "GET");
    testing::send_all(connection.get(), "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + std::string(body));
  };
  const auto accept = [&] { return UniqueFd(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC)); };
  Client& first = get(target);
  UniqueFd connection = accept();
  answer(connection, "a");
  EXPECT_EQ(first.bodies.take(), "200 a");
  (void)get(target);
  // Reads the rest of the first request, then the second one, and closes the connection without an answer.
  std::string seen;
  while (!seen.contains("GET")) seen += testing::receive(connection.get(), 1);
  connection.close();
  const UniqueFd anew = accept();
  answer(anew, "b");
  EXPECT_EQ(clients.back()->bodies.take(), "200 b");
}

}  // namespace
}  // namespace culvert
