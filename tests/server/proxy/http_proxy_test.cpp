// SPDX-License-Identifier: Apache-2.0
#include "server/proxy/http_proxy.hpp"

#include <future>
#include <string>
#include <utility>

#include <fcntl.h>
#include <gtest/gtest.h>

#include "common/net/monotonic_time.hpp"
#include "tests/testing/held_stream.hpp"
#include "tests/testing/sockets.hpp"
#include "tests/testing/tunnel_pair.hpp"

namespace culvert::server {
namespace {

using namespace std::chrono_literals;
using protocol::Reason;
using testing::End;
using testing::eventually;
using testing::Mailbox;
using testing::send_all;
using testing::TunnelPair;

const std::string get = "GET http://erp/ HTTP/1.1\r\nHost: erp\r\n\r\n";

/// A proxy on the opener's side of real tunnels, which belong to account acme, default location. Streams stay
/// unanswered unless a test answers them.
class HttpProxyTest : public ::testing::Test {
 protected:
  HttpProxyTest() : directory(pair.agent) {
    for (std::size_t i = 0; i < pair.agent.size(); ++i) {
      testing::on(pair.agent.plane(i), [&](DataPlane& plane) {
        for (const auto& [id, tunnel] : plane.tunnels()) directory.add("acme/", {id, i, tunnel->load()});
      });
    }
    EXPECT_TRUE(eventually(pair.agent, [&](DataPlane&) { return directory.count("acme/") == 2; }));
    pair.server_side.opened = [this](Tunnel& tunnel, Stream stream, const protocol::Open& open) {
      kinds.put(open.kind);
      held.put(std::make_shared<testing::HeldStream>(tunnel.plane(), std::move(stream)));
    };
    ask = [](Worker&, const CallerQuestion&, CallerAnswer answer) { answer(Caller{{"acme", ""}, nullptr}); };
    auto rules = std::make_shared<HttpPortRules>();
    rules->ask = [this](Worker& worker, const CallerQuestion& question, CallerAnswer answer) {
      ask(worker, question, std::move(answer));
    };
    auto context = http_proxy(directory, log);
    context->rules.publish(std::move(rules));
    settings.port.listen = {"127.0.0.1", 0};
    settings.port.connections_max = 100;
    settings.name = "http_proxy";
    settings.serve = serve_http(std::move(context));
    auto opened = ClientPort::open(pair.agent, log, settings);
    EXPECT_TRUE(opened) << opened.error().text;
    proxy = std::move(*opened);
    proxy->start();
  }
  ~HttpProxyTest() override {
    proxy.reset();
    EXPECT_TRUE(eventually(pair.agent, [](DataPlane& plane) { return plane.is_idle(); }));
  }
  UniqueFd connect() const { return testing::connected_socket(proxy->local_endpoint()); }
  void limit_connections(std::uint32_t connections_max) {
    settings.port.connections_max = connections_max;
    proxy->change(settings);
  }
  /// Sends a request, and leaves its stream without an answer.
  std::shared_ptr<testing::HeldStream> begin_request(const UniqueFd& client) {
    send_all(client.get(), get);
    return held.take().value_or(nullptr);
  }
  /// Sends a request that fails: the client is idle then, and its connection is kept.
  void fail_request(const UniqueFd& client) {
    begin_request(client)->refuse({Reason::not_exposed, false, "no"});
    std::string answer = testing::receive(client.get(), 12);
    while (!answer.ends_with("}")) {
      const std::string more = testing::receive(client.get(), 1);
      ASSERT_FALSE(more.empty());
      answer += more;
    }
    EXPECT_EQ(answer.substr(0, 12), "HTTP/1.1 403");
  }
  /// Makes this much time pass for the clients.
  void pass(std::chrono::seconds time) {
    for (std::size_t i = 0; i < pair.agent.size(); ++i) {
      testing::on(pair.agent.plane(i), [time](DataPlane& plane) {
        plane.clients().each([time](ClientConnection& client) { client.on_tick(monotonic_now() + time); });
      });
    }
  }
  /// Lets every worker handle the events that have come.
  void pass_turns() {
    for (int round = 0; round < 3; ++round) {
      for (std::size_t i = 0; i < pair.agent.size(); ++i) testing::on(pair.agent.plane(i), [](DataPlane&) {});
    }
  }
  std::uint64_t tunnel_bytes_in() {
    return pair.agent.plane(0).counters().tunnel_bytes_in.value() +
           pair.agent.plane(1).counters().tunnel_bytes_in.value();
  }
  bool has_clients(std::size_t count) {
    return eventually(pair.agent, [this, count](DataPlane&) {
      return static_cast<std::size_t>(pair.agent.plane(0).counters().clients.value() +
                                      pair.agent.plane(1).counters().clients.value()) == count;
    });
  }

  TunnelPair pair{{.workers = 2, .tunnels = 2}};
  TunnelDirectory directory;
  UniqueFd null{::open("/dev/null", O_WRONLY | O_CLOEXEC)};
  Log log{LogSettings{}, null.get()};
  AskCaller ask;
  Mailbox<protocol::Open::Kind> kinds;
  Mailbox<std::shared_ptr<testing::HeldStream>> held;
  ClientPort::Settings settings;
  std::unique_ptr<ClientPort> proxy;
};

TEST_F(HttpProxyTest, an_agent_that_never_answers_costs_a_client_the_dial_time_and_five_seconds) {
  const UniqueFd client = connect();
  send_all(client.get(), get);
  ASSERT_TRUE(held.take());
  EXPECT_EQ(kinds.take(), protocol::Open::Kind::http);
  pass(14s);
  EXPECT_TRUE(has_clients(1));
  pass(16s);
  const std::string answer = testing::receive(client.get(), 12);
  EXPECT_EQ(answer, "HTTP/1.1 504");
  EXPECT_TRUE(eventually(pair.server, [](DataPlane& plane) { return plane.is_idle(); }))
      << "the agent cancels its part";
}

TEST_F(HttpProxyTest, an_agent_that_asks_for_more_time_gets_it) {
  const UniqueFd client = connect();
  send_all(client.get(), get);
  const auto stream = held.take();
  ASSERT_TRUE(stream);
  const std::uint64_t before = tunnel_bytes_in();
  (*stream)->announce_dial_time(60s);
  ASSERT_TRUE(eventually(pair.agent, [&](DataPlane&) { return tunnel_bytes_in() > before; }));
  pass(64s);
  EXPECT_TRUE(has_clients(1));
  pass(66s);
  EXPECT_EQ(testing::receive(client.get(), 12), "HTTP/1.1 504");
}

TEST_F(HttpProxyTest, an_idle_client_is_closed_when_the_program_drains_and_a_busy_one_is_not) {
  const UniqueFd idle = connect();
  const UniqueFd busy = connect();
  send_all(busy.get(), get);
  const auto stream = held.take();
  ASSERT_TRUE(stream);
  ASSERT_TRUE(has_clients(2));
  pair.agent.on_each([](DataPlane& plane) { plane.drain_clients(); });
  EXPECT_EQ(testing::receive_to_end(idle.get()).end, End::clean);
  EXPECT_TRUE(has_clients(1));
  (*stream)->refuse({Reason::target_refused, false, "connection refused"});
  const auto answer = testing::receive_to_end(busy.get());
  EXPECT_EQ(answer.bytes.substr(0, 12), "HTTP/1.1 502");
  EXPECT_EQ(answer.end, End::clean) << "closed behind the answer";
}

TEST_F(HttpProxyTest, a_client_that_becomes_idle_while_the_program_drains_is_closed) {
  const UniqueFd client = connect();
  send_all(client.get(), get);
  const auto stream = held.take();
  ASSERT_TRUE(stream);
  // Refused and drained in one turn of the client's worker.
  for (std::size_t i = 0; i < pair.agent.size(); ++i) {
    testing::on(pair.agent.plane(i), [](DataPlane& plane) { plane.drain_clients(); });
  }
  (*stream)->refuse({Reason::not_exposed, false, "no"});
  const auto answer = testing::receive_to_end(client.get());
  EXPECT_EQ(answer.bytes.substr(0, 12), "HTTP/1.1 403");
  EXPECT_EQ(answer.end, End::clean);
}

TEST_F(HttpProxyTest, a_client_that_sends_nothing_is_closed_after_10_s_and_one_that_is_kept_alive_is_not) {
  const UniqueFd silent = connect();
  const UniqueFd kept = connect();
  fail_request(kept);
  ASSERT_TRUE(has_clients(2));
  pass(9s);
  EXPECT_TRUE(has_clients(2));
  pass(11s);
  EXPECT_EQ(testing::receive_to_end(silent.get()).end, End::clean);
  EXPECT_TRUE(has_clients(1));
  pass(299s);
  EXPECT_TRUE(has_clients(1));
  pass(301s);
  EXPECT_EQ(testing::receive_to_end(kept.get()).end, End::clean);
}

TEST_F(HttpProxyTest, when_the_port_is_full_the_client_that_has_waited_longest_gives_way) {
  const UniqueFd busy = connect();
  const auto stream = begin_request(busy);
  const UniqueFd silent = connect();
  ASSERT_TRUE(has_clients(2));
  const UniqueFd kept = connect();
  fail_request(kept);
  limit_connections(3);
  const UniqueFd fourth = connect();
  EXPECT_EQ(testing::receive_to_end(silent.get()).end, End::clean);
  fail_request(fourth);
  const UniqueFd fifth = connect();
  EXPECT_EQ(testing::receive_to_end(kept.get()).end, End::clean);
  const auto other_stream = begin_request(fifth);
  const UniqueFd sixth = connect();
  EXPECT_EQ(testing::receive_to_end(fourth.get()).end, End::clean);
  const auto last_stream = begin_request(sixth);
  const UniqueFd seventh = connect();
  EXPECT_EQ(testing::receive_to_end(seventh.get()).end, End::reset) << "nobody waits: all are in a request";
  EXPECT_TRUE(has_clients(3));
  for (const auto& each : {stream, other_stream, last_stream}) each->refuse({Reason::not_exposed, false, "no"});
}

TEST_F(HttpProxyTest, a_client_that_never_ends_its_head_gives_way) {
  limit_connections(1);
  const UniqueFd dripping = connect();
  send_all(dripping.get(), "GET http://erp/ HT");
  ASSERT_TRUE(has_clients(1));
  const UniqueFd next = connect();
  fail_request(next);
  EXPECT_NE(testing::receive_to_end(dripping.get()).end, End::still_open);
}

TEST_F(HttpProxyTest, a_client_that_begins_a_head_goes_to_the_end_of_those_that_wait) {
  limit_connections(2);
  const UniqueFd first = connect();
  ASSERT_TRUE(has_clients(1));
  const UniqueFd second = connect();
  ASSERT_TRUE(has_clients(2));
  send_all(first.get(), get.substr(0, 10));
  pass_turns();
  const UniqueFd third = connect();
  EXPECT_EQ(testing::receive_to_end(second.get()).end, End::clean);
  send_all(first.get(), get.substr(10));
  const auto stream = held.take();
  ASSERT_TRUE(stream);
  const UniqueFd fourth = connect();
  EXPECT_EQ(testing::receive_to_end(third.get()).end, End::clean) << "the first one is in a request now";
  (*stream)->refuse({Reason::not_exposed, false, "no"});
  EXPECT_EQ(testing::receive(first.get(), 12), "HTTP/1.1 403");
}

TEST_F(HttpProxyTest, rules_of_nobody_refuse_everybody) {
  auto context = http_proxy(directory, log);
  ClientPort::Settings settings;
  settings.port.listen = {"127.0.0.1", 0};
  settings.port.connections_max = 1;
  settings.serve = serve_http(context);
  auto port = ClientPort::open(pair.agent, log, std::move(settings));
  ASSERT_TRUE(port);
  (*port)->start();
  const UniqueFd client = testing::connected_socket((*port)->local_endpoint());
  send_all(client.get(), get);
  EXPECT_EQ(testing::receive(client.get(), 12), "HTTP/1.1 407");
}

TEST_F(HttpProxyTest, a_caller_may_be_checked_later) {
  CallerAnswer answer;
  std::promise<Worker*> asked;
  ask = [&](Worker& worker, const CallerQuestion&, CallerAnswer given) {
    answer = std::move(given);
    asked.set_value(&worker);
  };
  const UniqueFd client = connect();
  send_all(client.get(), get);
  Worker* worker = asked.get_future().get();
  EXPECT_EQ(held.size(), 0U) << "no stream is opened before the answer";
  std::promise<void> done;
  worker->post([&] {
    answer(std::unexpected(&token_refusals::expired));
    answer = nullptr;
    done.set_value();
  });
  done.get_future().get();
  EXPECT_EQ(testing::receive(client.get(), 12), "HTTP/1.1 407");
  EXPECT_EQ(held.size(), 0U);
}

TEST_F(HttpProxyTest, a_client_that_leaves_during_its_check_is_forgotten) {
  CallerAnswer answer;
  std::promise<Worker*> asked;
  ask = [&](Worker& worker, const CallerQuestion&, CallerAnswer given) {
    answer = std::move(given);
    asked.set_value(&worker);
  };
  UniqueFd client = connect();
  send_all(client.get(), get);
  Worker* worker = asked.get_future().get();
  testing::reset(client);
  EXPECT_TRUE(has_clients(0));
  std::promise<void> done;
  worker->post([&] {
    answer(Caller{{"acme", ""}, nullptr});
    answer = nullptr;
    done.set_value();
  });
  done.get_future().get();
  EXPECT_EQ(held.size(), 0U);
}

TEST_F(HttpProxyTest, a_caller_with_a_list_of_virtual_hosts_reaches_no_other) {
  ask = [](Worker&, const CallerQuestion&, CallerAnswer answer) {
    auto hosts = std::make_shared<const std::vector<Endpoint>>(std::vector<Endpoint>{{"crm", 80}});
    answer(Caller{{"acme", ""}, std::move(hosts)});
  };
  const UniqueFd client = connect();
  send_all(client.get(), get);
  EXPECT_EQ(testing::receive(client.get(), 12), "HTTP/1.1 403");
  EXPECT_EQ(held.size(), 0U);
}

}  // namespace
}  // namespace culvert::server
