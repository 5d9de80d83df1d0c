// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "server/proxy/socks5_client.hpp"
#include "tests/testing/held_stream.hpp"
#include "tests/testing/sockets.hpp"
#include "tests/testing/tunnel_pair.hpp"

namespace culvert::server {
namespace {

using namespace std::string_literals;
using protocol::Reason;
using testing::End;
using testing::Mailbox;
using testing::receive;
using testing::send_all;
using testing::TunnelPair;

const std::string request = "\5\1\0\3\3erp\1\273"s;
const std::string zeros = "\0\1\0\0\0\0\0\0"s;

std::string login(const std::string& jwt, const std::string& base64_location) {
  const std::string length{0, 0, static_cast<char>(jwt.size() >> 8), static_cast<char>(jwt.size() & 0xff)};
  return "\5\1\x80\1"s + length + jwt + static_cast<char>(base64_location.size()) + base64_location;
}

/// A proxy on the opener's side of real tunnels, which belong to account acme, location plant-1.
class Socks5ProxyTest : public ::testing::Test {
 protected:
  explicit Socks5ProxyTest(TunnelPair::Options options = {.workers = 2, .tunnels = 2})
      : pair(options), directory(pair.agent) {
    for (std::size_t i = 0; i < pair.agent.size(); ++i) {
      testing::on(pair.agent.plane(i), [&](DataPlane& plane) {
        for (const auto& [id, tunnel] : plane.tunnels()) directory.add("acme/plant-1", {id, i, tunnel->load()});
      });
    }
    EXPECT_TRUE(testing::eventually(pair.agent, [&](DataPlane&) { return directory.count("acme/plant-1") == 2; }));
    auto rules = std::make_shared<Socks5Rules>();
    rules->methods.token = true;
    rules->ask = [this](Worker&, const CallerQuestion& question, CallerAnswer answer) {
      const std::string_view jwt = std::get<SignedToken>(question.credentials).text;
      tokens.put(std::string(jwt));
      if (!jwt.ends_with("good")) return answer(std::unexpected(&token_refusals::expired));
      answer(Caller{{"acme", question.location}, nullptr});
    };
    auto http = http_proxy(directory, log);
    auto context = std::make_shared<Socks5Context>(directory, log, std::move(http));
    context->rules.publish(std::move(rules));
    settings.port.listen = {"127.0.0.1", 0};
    settings.port.connections_max = 100;
    settings.name = "socks5_proxy";
    settings.serve = serve_socks5(std::move(context));
    auto opened = ClientPort::open(pair.agent, log, settings);
    EXPECT_TRUE(opened) << opened.error().text;
    proxy = std::move(*opened);
    proxy->start();
  }
  ~Socks5ProxyTest() override {
    proxy.reset();
    EXPECT_TRUE(testing::eventually(pair.agent, [](DataPlane& plane) { return plane.is_idle(); }));
  }
  UniqueFd connect() const { return testing::connected_socket(proxy->local_endpoint()); }
  /// Holds the first stream without an answer; later ones are dialled.
  void hold_first() {
    pair.server_side.opened = [this](Tunnel& tunnel, Stream stream, const protocol::Open&) {
      if (holds.exchange(true)) return pair.dial(tunnel, std::move(stream));
      held.put(std::make_shared<testing::HeldStream>(tunnel.plane(), std::move(stream)));
    };
  }
  /// Lets every worker handle the events that have come.
  void pass_turns() {
    for (int round = 0; round < 3; ++round) {
      for (std::size_t i = 0; i < pair.agent.size(); ++i) testing::on(pair.agent.plane(i), [](DataPlane&) {});
    }
  }
  bool negotiates_with_one() {
    return testing::eventually(pair.agent, [this](DataPlane&) {
      std::int64_t clients = 0;
      for (std::size_t i = 0; i < pair.agent.size(); ++i) clients += pair.agent.plane(i).counters().clients.value();
      return clients == 1;
    });
  }
  void refuse_held(const protocol::Reject& reject) {
    const auto stream = held.take();
    if (!stream) FAIL() << "no stream was opened";
    (*stream)->refuse(reject);
  }

  TunnelPair pair;
  TunnelDirectory directory;
  Log log{{}, 2};
  Mailbox<std::string> tokens;
  std::atomic<bool> holds = false;
  Mailbox<std::shared_ptr<testing::HeldStream>> held;
  ClientPort::Settings settings;
  std::unique_ptr<ClientPort> proxy;
};

TEST_F(Socks5ProxyTest, leads_a_token_and_its_location_to_their_agents) {
  const std::string jwt = std::string(4092, 'j') + "good";
  for (int i = 0; i < 8; ++i) {
    const UniqueFd client = connect();
    send_all(client.get(), login(jwt, "cGxhbnQtMQ==") + request + "early");
    const UniqueFd target = pair.accept();
    ASSERT_TRUE(target);
    EXPECT_EQ(receive(client.get(), 14), "\5\x80\1\0\5\0"s + zeros);
    EXPECT_EQ(receive(target.get(), 5), "early");
    send_all(target.get(), "late");
    EXPECT_EQ(receive(client.get(), 4), "late");
    EXPECT_EQ(tokens.take(), jwt);
  }
}

TEST_F(Socks5ProxyTest, when_the_port_is_full_the_client_that_has_waited_longest_gives_way) {
  settings.port.connections_max = 2;
  proxy->change(settings);
  const std::string good = login("good", "cGxhbnQtMQ==");
  const UniqueFd client = connect();
  send_all(client.get(), good + request);
  const UniqueFd target = pair.accept();
  EXPECT_EQ(receive(client.get(), 14), "\5\x80\1\0\5\0"s + zeros);
  UniqueFd waiting = connect();
  for (const std::string& begun : {""s, good.substr(0, 3), good}) {
    ASSERT_TRUE(negotiates_with_one());
    if (!begun.empty()) send_all(waiting.get(), begun);
    if (begun == good) receive(waiting.get(), 4);
    pass_turns();  // While its bytes are read, it does not wait.
    UniqueFd next = connect();
    EXPECT_NE(testing::receive_to_end(waiting.get()).end, testing::End::still_open) << begun;
    waiting = std::move(next);
  }
  ASSERT_TRUE(negotiates_with_one());
  send_all(waiting.get(), good + request);
  const UniqueFd other_target = pair.accept();
  EXPECT_EQ(receive(waiting.get(), 14), "\5\x80\1\0\5\0"s + zeros);
  const UniqueFd beyond = connect();
  EXPECT_EQ(testing::receive_to_end(beyond.get()).end, testing::End::reset) << "both others are relayed";
  send_all(target.get(), "late");
  EXPECT_EQ(receive(client.get(), 4), "late");
}

TEST_F(Socks5ProxyTest, refuses_a_bad_token_and_a_bad_location) {
  UniqueFd client = connect();
  send_all(client.get(), login("bad", "") + request);
  EXPECT_EQ(testing::receive_to_end(client.get()).bytes, "\5\x80\1\1"s);
  client = connect();
  send_all(client.get(), login("good", "Li4=") + request);
  EXPECT_EQ(testing::receive_to_end(client.get()).bytes, "\5\x80\1\1"s) << ".. is no location";
  EXPECT_EQ(tokens.take(), "bad");
  EXPECT_EQ(tokens.size(), 0u);
  client = connect();
  send_all(client.get(), login("good", "") + request);
  EXPECT_EQ(testing::receive_to_end(client.get()).bytes, "\5\x80\1\0\5\3"s + zeros)
      << "the default location has no agent";
}

TEST_F(Socks5ProxyTest, tries_another_tunnel_before_it_answers) {
  hold_first();
  const UniqueFd client = connect();
  send_all(client.get(), login("good", "cGxhbnQtMQ==") + request);
  refuse_held({Reason::overloaded, true, "not here"});
  const UniqueFd target = pair.accept();
  ASSERT_TRUE(target);
  EXPECT_EQ(receive(client.get(), 14), "\5\x80\1\0\5\0"s + zeros);
}

TEST_F(Socks5ProxyTest, replies_unreachable_for_refused_after_a_token) {
  hold_first();
  const UniqueFd client = connect();
  send_all(client.get(), login("good", "cGxhbnQtMQ==") + request);
  refuse_held({Reason::target_refused, false, "connection refused"});
  const auto received = testing::receive_to_end(client.get());
  EXPECT_EQ(received.bytes, "\5\x80\1\0\5\4"s + zeros);
  EXPECT_EQ(received.end, End::clean);
}

TEST_F(Socks5ProxyTest, answers_when_the_tunnel_is_lost) {
  hold_first();
  UniqueFd client = connect();
  send_all(client.get(), login("good", "cGxhbnQtMQ==") + request);
  auto stream = held.take();
  ASSERT_TRUE(stream);
  pair.cut(0);
  pair.cut(1);
  EXPECT_EQ(testing::receive_to_end(client.get()).bytes, "\5\x80\1\0\5\1"s + zeros);
}

TEST_F(Socks5ProxyTest, drops_the_stream_when_the_client_has_closed) {
  hold_first();
  UniqueFd client = connect();
  send_all(client.get(), login("good", "cGxhbnQtMQ==") + request);
  ASSERT_TRUE(held.take());
  testing::reset(client);
  EXPECT_TRUE(testing::eventually(pair.server, [](DataPlane& plane) { return plane.is_idle(); }));
}

}  // namespace
}  // namespace culvert::server
