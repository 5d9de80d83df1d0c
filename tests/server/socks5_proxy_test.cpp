// SPDX-License-Identifier: Apache-2.0
#include "server/socks5_proxy.hpp"

#include <atomic>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "common/tunnel/relay.hpp"
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

/// A proxy before the opener's end of real tunnels, which are those of account acme, location plant-1.
class Socks5Door : public ::testing::Test {
 protected:
  explicit Socks5Door(TunnelPair::Options options = {.workers = 2, .tunnels = 2})
      : pair(options), directory(pair.agent) {
    for (std::size_t i = 0; i < pair.agent.size(); ++i) {
      testing::on(pair.agent.plane(i), [&](DataPlane& plane) {
        for (const auto& [id, tunnel] : plane.tunnels()) directory.add("acme/plant-1", {id, i, tunnel->load()});
      });
    }
    EXPECT_TRUE(testing::eventually(pair.agent, [&](DataPlane&) { return directory.count("acme/plant-1") == 2; }));
    Socks5ProxySettings settings;
    settings.port.listen.port = 0;
    const auto check = [this](std::string_view jwt, const std::string& location, std::size_t) {
      tokens.put(std::string(jwt));
      using Route = std::expected<ProxyRoute, std::string>;
      return jwt.ends_with("good") ? Route({"acme", location}) : Route(std::unexpected("expired"));
    };
    auto opened = Socks5Proxy::open(pair.agent, directory, log, {settings, check});
    EXPECT_TRUE(opened) << opened.error().text;
    proxy = std::move(*opened);
  }
  ~Socks5Door() override {
    proxy.reset();
    EXPECT_TRUE(testing::eventually(pair.agent, [](DataPlane& plane) { return plane.ends() == 0; }));
  }
  UniqueFd connect() const { return testing::connected_socket(proxy->local_endpoint()); }
  /// The first stream is held without an answer; what comes after is dialled.
  void hold_first() {
    pair.server_side.opened = [this](Tunnel& tunnel, protocol::StreamId stream, const protocol::Open&) {
      if (holds.exchange(true)) return pair.dial(tunnel, stream);
      held.put({&tunnel.plane(), Relay::accept(tunnel, stream, {}).id()});
    };
  }
  void refuse_held(const protocol::Reject& reject) {
    const auto stream = held.take();
    if (!stream) FAIL() << "no stream came";
    const EndId id = stream->second;
    testing::on(*stream->first, [&](DataPlane& plane) { static_cast<Relay*>(plane.find_end(id))->give_up(reject); });
  }

  TunnelPair pair;
  TunnelDirectory directory;
  Log log{{}, 2};
  Mailbox<std::string> tokens;
  std::atomic<bool> holds = false;
  Mailbox<std::pair<DataPlane*, EndId>> held;
  std::unique_ptr<Socks5Proxy> proxy;
};

TEST_F(Socks5Door, leads_a_token_and_its_location_to_their_agents) {
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

TEST_F(Socks5Door, turns_a_bad_token_and_a_bad_location_away) {
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
      << "nobody is at the default location";
}

TEST_F(Socks5Door, tries_another_tunnel_before_it_answers) {
  hold_first();
  const UniqueFd client = connect();
  send_all(client.get(), login("good", "cGxhbnQtMQ==") + request);
  refuse_held({Reason::overloaded, true, "not here"});
  const UniqueFd target = pair.accept();
  ASSERT_TRUE(target);
  EXPECT_EQ(receive(client.get(), 14), "\5\x80\1\0\5\0"s + zeros);
}

TEST_F(Socks5Door, says_unreachable_for_refused_after_a_token) {
  hold_first();
  const UniqueFd client = connect();
  send_all(client.get(), login("good", "cGxhbnQtMQ==") + request);
  refuse_held({Reason::target_refused, false, "nobody listens"});
  const auto received = testing::receive_to_end(client.get());
  EXPECT_EQ(received.bytes, "\5\x80\1\0\5\4"s + zeros);
  EXPECT_EQ(received.end, End::clean);
}

TEST_F(Socks5Door, answers_when_the_tunnel_is_lost) {
  hold_first();
  UniqueFd client = connect();
  send_all(client.get(), login("good", "cGxhbnQtMQ==") + request);
  auto stream = held.take();
  ASSERT_TRUE(stream);
  pair.cut(0);
  pair.cut(1);
  EXPECT_EQ(testing::receive_to_end(client.get()).bytes, "\5\x80\1\0\5\1"s + zeros);
}

TEST_F(Socks5Door, gives_the_stream_up_when_the_client_has_gone) {
  hold_first();
  UniqueFd client = connect();
  send_all(client.get(), login("good", "cGxhbnQtMQ==") + request);
  ASSERT_TRUE(held.take());
  testing::reset(client);
  EXPECT_TRUE(testing::eventually(pair.server, [](DataPlane& plane) { return plane.ends() == 0; }));
}

}  // namespace
}  // namespace culvert::server
