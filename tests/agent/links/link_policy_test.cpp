// SPDX-License-Identifier: Apache-2.0
#include "agent/links/link_policy.hpp"

#include <functional>
#include <map>
#include <utility>

#include <gtest/gtest.h>

namespace culvert::agent {
namespace {

using namespace std::chrono_literals;
using LogLine = LinkPolicy::LogLine;

const Error lost{"tunnel.cut", "the connection ended"};
const Error asked{"tunnel.shutdown", "drained"};
const Error missed{"tunnel.wrong_replica", "another replica"};
const Error refused{"dial.refused", "nothing listens"};
const Error too_late{"dial.timed_out", "no answer"};

std::string to_text(LogLine line) {
  switch (line) {
    case LogLine::none: return "";
    case LogLine::server_unreachable: return "log server_unreachable";
    case LogLine::replica_unreachable: return "log replica_unreachable";
    case LogLine::tunnel_up: return "log tunnel_up";
    case LogLine::link_widened: return "log link_widened";
    case LogLine::tunnel_draining: return "log tunnel_draining";
    case LogLine::tunnel_left: return "log tunnel_left";
    case LogLine::tunnel_lost: return "log tunnel_lost";
  }
  return "?";
}

std::string to_text(const LinkPolicy::Decision& decision) {
  std::vector<std::string> parts{to_text(decision.log)};
  if (decision.order == LinkPolicy::TunnelOrder::close_as_wrong_replica) parts.emplace_back("wrong replica");
  if (decision.order == LinkPolicy::TunnelOrder::close_when_empty) parts.emplace_back("close when empty");
  for (const LinkPolicy::Dial& dial : decision.dials) {
    parts.push_back("dial " + std::to_string(dial.keeper));
    if (dial.pause > 0ms) parts.back() += " after " + std::to_string(dial.pause.count());
  }
  if (decision.notify_owner) parts.emplace_back("notify");
  std::string text;
  for (const std::string& part : parts) {
    if (!part.empty()) text += (text.empty() ? "" : ", ") + part;
  }
  return text.empty() ? "nothing" : text;
}

/// One link and its clock. Each event returns the decision as text; keepers are numbered from 0, tunnels as the test
/// does. Chance is `chance` each time, so that pauses are exact.
class Link {
 public:
  explicit Link(LinkPolicy::Settings settings = {}, std::string replica = "a")
      : policy(settings, std::move(replica), [this] { return chance; }) {}

  std::string start() { return to_text(policy.start(now)); }
  std::string dial(LinkPolicy::KeeperId keeper, LinkPolicy::TunnelId tunnel) {
    const auto greeting = policy.dialed(keeper, tunnel);
    return "epoch " + std::to_string(greeting.epoch) + " slot " + std::to_string(greeting.slot);
  }
  std::string fail(LinkPolicy::KeeperId keeper, const Error& why) {
    return to_text(policy.dial_failed(keeper, why, now));
  }
  std::string welcome(LinkPolicy::TunnelId tunnel, std::string replica = "a", std::vector<std::string> replicas = {}) {
    return to_text(policy.welcomed(tunnel, {std::move(replica), std::move(replicas), tcp, tls}, now));
  }
  std::string announce(std::vector<std::string> names) { return to_text(policy.announced(std::move(names))); }
  std::string congest() { return to_text(policy.congested(now)); }
  std::string drain(LinkPolicy::TunnelId tunnel, std::chrono::milliseconds delay = 0ms) {
    return to_text(policy.draining(tunnel, delay, now));
  }
  std::string close(LinkPolicy::TunnelId tunnel, const Error& why = lost) {
    return to_text(policy.closed(tunnel, why, now));
  }
  /// Dials and is welcomed.
  void bring_up(LinkPolicy::KeeperId keeper, LinkPolicy::TunnelId tunnel) {
    (void)dial(keeper, tunnel);
    (void)welcome(tunnel);
  }
  /// Two tunnels, 10 of keeper 0 and 11 of keeper 1, are up.
  void bring_up_two() {
    (void)start();
    bring_up(0, 10);
    bring_up(1, 11);
  }

  double chance = 0;
  std::chrono::microseconds tcp = 1ms;
  std::chrono::microseconds tls = 1ms;
  LinkPolicy::TimePoint now{1h};
  LinkPolicy policy;
};

// ---- how many tunnels

TEST(LinkPolicy, the_first_tunnel_is_dialled_alone_until_it_is_up) {
  Link link({.tunnels_min = 3});
  EXPECT_EQ(link.start(), "dial 0");
  EXPECT_EQ(link.dial(0, 10), "epoch 1 slot 0");
  EXPECT_EQ(link.policy.tunnels_up(), 0U);
  EXPECT_EQ(link.welcome(10), "log tunnel_up, dial 1, dial 2, notify");
  EXPECT_EQ(link.dial(1, 11), "epoch 1 slot 1");
  EXPECT_EQ(link.dial(2, 12), "epoch 1 slot 2");
  EXPECT_EQ(link.welcome(12), "log tunnel_up, notify");
  EXPECT_EQ(link.welcome(11), "log tunnel_up, notify");
  EXPECT_EQ(link.policy.tunnels_up(), 3U);
}

TEST(LinkPolicy, a_lost_tunnel_is_dialled_again_by_its_keeper) {
  Link link;
  link.bring_up_two();
  link.chance = 0.5;
  EXPECT_EQ(link.close(11), "log tunnel_lost, dial 1 after 125, notify");
  EXPECT_EQ(link.dial(1, 12), "epoch 1 slot 1");
}

TEST(LinkPolicy, one_keeper_stays_when_all_tunnels_are_lost) {
  Link link;
  link.bring_up_two();
  EXPECT_EQ(link.close(10), "log tunnel_lost, dial 0, notify");
  EXPECT_EQ(link.close(11), "log tunnel_lost, notify") << "keeper 1 retires";
  (void)link.dial(0, 12);
  EXPECT_EQ(link.welcome(12), "log tunnel_up, dial 2, notify") << "a new keeper takes its place";
}

TEST(LinkPolicy, a_far_server_gets_all_tunnels_at_once) {
  struct Case {
    bool behind_proxy;
    std::chrono::microseconds tcp, tls;
    std::uint32_t wanted;
  };
  const std::vector<Case> cases{
      // Without a proxy TCP reaches the server, and TLS also measures how busy the machine is.
      {false, 9999us, 9999us, 2},
      {false, 10ms, 10ms, 4},
      {false, 9999us, 80ms, 2},
      // TCP ends at the proxy.
      {true, 9999us, 9999us, 2},
      {true, 9999us, 10ms, 4},
      {true, 80ms, 9999us, 2},
  };
  for (const Case& each : cases) {
    Link link({.tunnels_min = 2, .tunnels_max = 4, .far_round_trip = 10ms, .behind_proxy = each.behind_proxy});
    link.tcp = each.tcp;
    link.tls = each.tls;
    (void)link.start();
    (void)link.dial(0, 10);
    EXPECT_EQ(link.welcome(10),
              each.wanted == 4 ? "log tunnel_up, dial 1, dial 2, dial 3, notify" : "log tunnel_up, dial 1, notify")
        << each.behind_proxy << " " << each.tcp.count() << " " << each.tls.count();
    EXPECT_EQ(link.policy.tunnels_wanted(), each.wanted);
  }
}

TEST(LinkPolicy, widens_by_one_tunnel_within_a_second_up_to_the_maximum) {
  Link link({.tunnels_min = 2, .tunnels_max = 4});
  link.bring_up_two();
  EXPECT_EQ(link.congest(), "log link_widened, dial 2");
  EXPECT_EQ(link.congest(), "nothing") << "the other tunnel reports the same";
  link.now += 999ms;
  EXPECT_EQ(link.congest(), "nothing");
  link.now += 1ms;
  EXPECT_EQ(link.congest(), "log link_widened, dial 3");
  link.now += 1h;
  EXPECT_EQ(link.congest(), "nothing") << "four are the maximum";
  EXPECT_EQ(link.policy.tunnels_wanted(), 4U);
}

TEST(LinkPolicy, a_lost_link_wants_the_minimum_again) {
  Link link({.tunnels_min = 1, .tunnels_max = 4});
  (void)link.start();
  link.bring_up(0, 10);
  (void)link.congest();
  link.bring_up(1, 11);
  (void)link.close(11);
  EXPECT_EQ(link.policy.tunnels_wanted(), 2U) << "one tunnel is still up";
  (void)link.close(10);
  EXPECT_EQ(link.policy.tunnels_wanted(), 1U);
}

// ---- epochs and slots

TEST(LinkPolicy, the_epoch_rises_only_when_every_tunnel_is_lost_and_one_was_up) {
  Link link;
  link.bring_up_two();
  (void)link.close(10);
  EXPECT_EQ(link.dial(0, 12), "epoch 1 slot 0") << "tunnel 11 is up";
  (void)link.close(11);
  (void)link.close(12, refused);
  EXPECT_EQ(link.dial(0, 13), "epoch 2 slot 0") << "all are lost";
  (void)link.close(13, refused);
  EXPECT_EQ(link.dial(0, 14), "epoch 2 slot 0") << "none was up in this epoch";
  (void)link.close(14, missed);
  EXPECT_EQ(link.dial(0, 15), "epoch 2 slot 0");
  (void)link.welcome(15);
  (void)link.close(15);
  EXPECT_EQ(link.dial(2, 16), "epoch 3 slot 0");
}

TEST(LinkPolicy, a_tunnel_that_is_being_greeted_holds_the_epoch) {
  Link link;
  link.bring_up_two();
  (void)link.close(11);
  EXPECT_EQ(link.dial(1, 12), "epoch 1 slot 1");
  (void)link.close(10);
  (void)link.welcome(12);
  EXPECT_EQ(link.dial(2, 13), "epoch 1 slot 0") << "tunnel 12 has sent epoch 1";
}

TEST(LinkPolicy, the_slot_of_a_tunnel_that_drains_is_not_used_again_until_it_has_ended) {
  Link link;
  link.bring_up_two();
  EXPECT_EQ(link.drain(10), "log tunnel_draining, close when empty, dial 0, notify");
  EXPECT_EQ(link.dial(0, 12), "epoch 1 slot 2");
  (void)link.welcome(12);
  EXPECT_EQ(link.close(10, asked), "log tunnel_left, notify") << "its keeper has a successor";
  (void)link.close(11);
  EXPECT_EQ(link.dial(1, 13), "epoch 1 slot 0");
}

TEST(LinkPolicy, tunnels_that_drain_hold_the_epoch) {
  Link link({.tunnels_min = 1});
  (void)link.start();
  link.bring_up(0, 10);
  (void)link.drain(10);
  EXPECT_EQ(link.dial(0, 11), "epoch 1 slot 1");
  (void)link.close(11, refused);
  EXPECT_EQ(link.dial(0, 12), "epoch 1 slot 1");
}

TEST(LinkPolicy, a_link_avoids_the_slots_of_the_link_that_it_succeeds_in_the_same_epoch) {
  Link older;
  older.bring_up_two();
  Link link;
  link.policy.succeed(older.policy);
  (void)link.start();
  EXPECT_EQ(link.dial(0, 20), "epoch 1 slot 2");
  (void)link.welcome(20);
  EXPECT_EQ(link.dial(1, 21), "epoch 1 slot 3");
  (void)link.welcome(21);
  (void)link.close(20);
  EXPECT_EQ(link.dial(0, 22), "epoch 1 slot 2");
  (void)link.close(21);
  (void)link.close(22);
  EXPECT_EQ(link.dial(0, 23), "epoch 2 slot 0") << "the new epoch evicts the older link's tunnels";
}

TEST(LinkPolicy, a_link_that_has_drained_does_not_raise_the_epoch_of_its_successors) {
  Link older;
  older.bring_up_two();
  older.policy.drain();
  (void)older.close(10);
  (void)older.close(11);
  Link link;
  link.policy.succeed(older.policy);
  (void)link.start();
  EXPECT_EQ(link.dial(0, 20), "epoch 1 slot 0") << "a third link may still have streams in this epoch";
}

TEST(LinkPolicy, a_link_takes_the_highest_epoch_of_those_that_it_succeeds) {
  Link first;
  first.bring_up_two();
  Link second({.tunnels_min = 1});
  (void)second.start();
  second.bring_up(0, 10);
  (void)second.close(10);
  (void)second.dial(0, 11);  // Epoch 2, slot 0.

  Link rising;
  rising.policy.succeed(first.policy);
  rising.policy.succeed(second.policy);
  EXPECT_EQ(rising.start(), "dial 0");
  EXPECT_EQ(rising.dial(0, 20), "epoch 2 slot 1") << "slot 1 of epoch 1 does not count any more";

  Link falling;
  falling.policy.succeed(second.policy);
  falling.policy.succeed(first.policy);
  (void)falling.start();
  EXPECT_EQ(falling.dial(0, 20), "epoch 2 slot 1") << "in whichever order they come";
}

// ---- which replica

TEST(LinkPolicy, a_link_without_a_name_takes_that_of_the_first_replica_that_answers) {
  Link link({}, "");
  (void)link.start();
  (void)link.dial(0, 10);
  EXPECT_EQ(link.policy.replica(), "");
  EXPECT_EQ(link.welcome(10, "b", {"a", "b"}), "log tunnel_up, dial 1, notify");
  EXPECT_EQ(link.policy.replica(), "b");
  EXPECT_EQ(link.policy.announced_replicas(), (std::vector<std::string>{"a", "b"}));
  (void)link.dial(1, 11);
  EXPECT_EQ(link.welcome(11, "a"), "wrong replica");
  EXPECT_EQ(link.policy.replica(), "b");
  EXPECT_EQ(link.policy.tunnels_up(), 1U);
}

TEST(LinkPolicy, a_server_without_a_name_that_has_one_later_is_another_replica_while_a_tunnel_is_up) {
  Link link({}, "");
  (void)link.start();
  (void)link.dial(0, 10);
  EXPECT_EQ(link.welcome(10, ""), "log tunnel_up, dial 1, notify");
  EXPECT_EQ(link.policy.announced_replicas(), (std::vector<std::string>{""}));
  (void)link.dial(1, 11);
  EXPECT_EQ(link.welcome(11, "a"), "wrong replica");
  EXPECT_EQ(link.close(11, missed), "dial 1, notify");
  (void)link.close(10);
  (void)link.dial(1, 12);
  (void)link.welcome(12, "a");
  EXPECT_EQ(link.policy.replica(), "a");
}

TEST(LinkPolicy, a_link_with_a_name_refuses_every_other_replica) {
  Link link({}, "a");
  (void)link.start();
  (void)link.dial(0, 10);
  EXPECT_EQ(link.welcome(10, "b"), "wrong replica");
  EXPECT_EQ(link.close(10, missed), "dial 0, notify");
  (void)link.dial(0, 11);
  EXPECT_EQ(link.welcome(11, ""), "wrong replica");
}

TEST(LinkPolicy, the_last_announced_list_counts) {
  Link link;
  (void)link.start();
  (void)link.dial(0, 10);
  (void)link.welcome(10, "a", {"a", "b"});
  EXPECT_EQ(link.announce({"a", "c"}), "notify");
  EXPECT_EQ(link.policy.announced_replicas(), (std::vector<std::string>{"a", "c"}));
  EXPECT_EQ(link.announce({}), "notify");
  EXPECT_EQ(link.policy.announced_replicas(), (std::vector<std::string>{""})) << "a server without a name";
}

// ---- misses and failures

TEST(LinkPolicy, pauses_after_misses_are_quick_at_first_and_then_grow) {
  struct Case {
    std::uint32_t misses;
    std::chrono::milliseconds least, most;
    bool given_up;
  };
  const std::vector<Case> cases{
      {1, 0ms, 60ms, false},           {2, 0ms, 60ms, false},          {3, 6ms, 120ms, true},
      {4, 12ms, 240ms, true},          {5, 24ms, 480ms, true},         {6, 48ms, 960ms, true},
      {7, 96ms, 1'920ms, true},        {8, 192ms, 3'840ms, true},      {9, 384ms, 7'680ms, true},
      {10, 768ms, 15'360ms, true},     {11, 30'000ms, 37'500ms, true}, {12, 30'000ms, 37'500ms, true},
      {100, 30'000ms, 37'500ms, true},
  };
  for (const Case& each : cases) {
    for (const double chance : {0.0, 0.5, 1.0}) {
      Link link;
      (void)link.start();
      link.chance = chance;
      std::string decision;
      for (std::uint32_t i = 1; i <= each.misses; ++i) {
        (void)link.dial(0, i);
        decision = link.close(i, missed);
      }
      const auto pause =
          each.least +
          std::chrono::milliseconds(static_cast<int>(static_cast<double>((each.most - each.least).count()) * chance));
      const std::string log = each.misses == 11 ? "log replica_unreachable, " : "";
      const std::string after = pause > 0ms ? " after " + std::to_string(pause.count()) : "";
      EXPECT_EQ(decision, log + "dial 0" + after + ", notify") << each.misses << " misses, chance " << chance;
      EXPECT_EQ(link.policy.has_given_up(), each.given_up) << each.misses;
      EXPECT_EQ(link.policy.misses(), each.misses);
    }
  }
}

TEST(LinkPolicy, more_quick_tries_are_allowed_where_there_are_more_replicas) {
  Link link;
  link.policy.set_quick_tries_max(6);
  (void)link.start();
  for (LinkPolicy::TunnelId i = 1; i <= 5; ++i) {
    (void)link.dial(0, i);
    EXPECT_EQ(link.close(i, missed), "dial 0, notify");
    EXPECT_FALSE(link.policy.has_given_up());
  }
  (void)link.dial(0, 6);
  EXPECT_EQ(link.close(6, missed), "dial 0 after 6, notify");
  EXPECT_TRUE(link.policy.has_given_up());
}

TEST(LinkPolicy, links_share_their_quick_tries_and_back_off_when_none_is_left) {
  QuickTries tries;
  Link first({.quick_tries = &tries});
  Link second({.quick_tries = &tries});
  for (Link* link : {&first, &second}) {
    link->policy.set_quick_tries_max(1'000);
    (void)link->start();
  }
  for (LinkPolicy::TunnelId i = 1; i <= 256; ++i) {
    Link& link = i % 2 == 0 ? first : second;
    (void)link.dial(0, i);
    EXPECT_EQ(link.close(i, missed), "dial 0, notify") << i;
  }
  for (LinkPolicy::TunnelId i = 257; i <= 260; ++i) {
    Link& link = i % 2 == 0 ? first : second;
    (void)link.dial(0, i);
    EXPECT_EQ(link.close(i, missed), i <= 258 ? "dial 0 after 6, notify" : "dial 0 after 12, notify");
    EXPECT_TRUE(link.policy.has_given_up());
  }
}

TEST(QuickTries, come_back_slowly) {
  QuickTries tries;
  const QuickTries::TimePoint now = std::chrono::steady_clock::now();
  const auto left = [&tries](QuickTries::TimePoint when) {
    int count = 0;
    while (tries.take(when)) ++count;
    return count;
  };
  EXPECT_EQ(left(now), 256);
  EXPECT_EQ(left(now + 499ms), 0);
  EXPECT_EQ(left(now + 10s), 20);
  EXPECT_EQ(left(now + 1h), 256);
}

TEST(LinkPolicy, a_replica_that_answers_ends_the_count_of_misses) {
  Link link({.tunnels_min = 1});
  (void)link.start();
  for (LinkPolicy::TunnelId i = 1; i <= 11; ++i) {
    (void)link.dial(0, i);
    (void)link.close(i, missed);
  }
  (void)link.dial(0, 12);
  EXPECT_EQ(link.close(12, missed), "dial 0 after 30000, notify") << "it was logged once";
  link.bring_up(0, 13);
  EXPECT_EQ(link.policy.misses(), 0U);
  EXPECT_FALSE(link.policy.has_given_up());
  (void)link.close(13);
  for (LinkPolicy::TunnelId i = 14; i < 24; ++i) {
    (void)link.dial(0, i);
    (void)link.close(i, missed);
  }
  (void)link.dial(0, 24);
  EXPECT_EQ(link.close(24, missed), "log replica_unreachable, dial 0 after 30000, notify") << "it is logged again";
}

TEST(LinkPolicy, a_tunnel_that_was_up_is_lost_and_not_missed_whatever_the_server_says) {
  Link link;
  link.bring_up_two();
  EXPECT_EQ(link.close(11, missed), "log tunnel_lost, dial 1, notify");
  EXPECT_EQ(link.policy.misses(), 0U);
}

TEST(LinkPolicy, pauses_after_failures_grow_and_each_kind_is_logged_once) {
  Link link({.tunnels_min = 1});
  link.chance = 0.5;
  (void)link.start();
  EXPECT_EQ(link.fail(0, refused), "log server_unreachable, dial 0 after 125");
  EXPECT_EQ(link.fail(0, refused), "dial 0 after 250");
  EXPECT_EQ(link.fail(0, too_late), "log server_unreachable, dial 0 after 500");
  EXPECT_EQ(link.policy.last_error(), "dial.timed_out: no answer");
  (void)link.dial(0, 10);
  EXPECT_EQ(link.close(10, too_late), "dial 0 after 750, notify") << "the handshake fails in the same way";
  link.bring_up(0, 11);
  EXPECT_EQ(link.policy.last_error(), "");
  (void)link.close(11);
  EXPECT_EQ(link.fail(0, too_late), "log server_unreachable, dial 0 after 750") << "the server was there meanwhile";
}

TEST(LinkPolicy, only_a_tunnel_that_stays_up_shortens_the_next_pause) {
  Link link({.tunnels_min = 1});
  link.chance = 0.5;
  (void)link.start();
  (void)link.fail(0, refused);
  (void)link.fail(0, refused);
  link.bring_up(0, 10);
  link.now += 29s;
  EXPECT_EQ(link.close(10), "log tunnel_lost, dial 0 after 500, notify");
  link.bring_up(0, 11);
  link.now += 30s;
  EXPECT_EQ(link.close(11), "log tunnel_lost, dial 0 after 125, notify");
}

/// A server that ends each tunnel of a link as soon as it is up, and the dials that it gets for this.
class EndingServer {
 public:
  using End = std::function<std::vector<LinkPolicy::Decision>(Link& link, LinkPolicy::TunnelId tunnel)>;

  EndingServer(LinkPolicy::Settings settings, End end) : link_(settings), end_(std::move(end)) {
    link_.chance = 0.5;
    take(link_.policy.start(link_.now));
  }

  /// Returns how many dials come in `time`, at most 1,000.
  std::size_t dials_within(std::chrono::seconds time) {
    const auto until = link_.now + time;
    std::size_t count = 0;
    while (!due_.empty() && due_.begin()->first < until && count < 1'000) {
      link_.now = std::max(link_.now, due_.begin()->first);
      const auto keeper = due_.begin()->second;
      due_.erase(due_.begin());
      ++count;
      const auto tunnel = ++last_tunnel_;
      (void)link_.policy.dialed(keeper, tunnel);
      take(link_.policy.welcomed(tunnel, {"a", {}, 1ms, 1ms}, link_.now));
      for (const auto& decision : end_(link_, tunnel)) take(decision);
    }
    link_.now = until;
    return count;
  }

 private:
  void take(const LinkPolicy::Decision& decision) {
    for (const LinkPolicy::Dial& dial : decision.dials) due_.emplace(link_.now + dial.pause, dial.keeper);
  }

  Link link_;
  End end_;
  std::multimap<LinkPolicy::TimePoint, LinkPolicy::KeeperId> due_;
  LinkPolicy::TunnelId last_tunnel_ = 0;
};

TEST(LinkPolicy, a_server_that_ends_each_new_tunnel_is_dialled_less_and_less_often_however_it_does_so) {
  const auto close = [](Link& link, auto tunnel, const Error& why) {
    return link.policy.closed(tunnel, why, link.now);
  };
  const auto drain = [](Link& link, auto tunnel, auto delay) { return link.policy.draining(tunnel, delay, link.now); };
  struct Case {
    const char* name;
    EndingServer::End end;
  };
  const std::vector<Case> cases{
      {"GOAWAY(final)", [&](Link& link, auto tunnel) { return std::vector{close(link, tunnel, asked)}; }},
      {"a cut", [&](Link& link, auto tunnel) { return std::vector{close(link, tunnel, lost)}; }},
      {"wrong_replica", [&](Link& link, auto tunnel) { return std::vector{close(link, tunnel, missed)}; }},
      {"GOAWAY(draining)", [&](Link& link, auto tunnel) { return std::vector{drain(link, tunnel, 0ms)}; }},
      {"GOAWAY(draining) with a delay",
       [&](Link& link, auto tunnel) { return std::vector{drain(link, tunnel, 10ms)}; }},
      {"GOAWAY(draining), then a cut",
       [&](Link& link, auto tunnel) { return std::vector{drain(link, tunnel, 0ms), close(link, tunnel, lost)}; }},
  };
  for (const std::uint32_t tunnels : {1U, 2U, 8U}) {
    for (const Case& each : cases) {
      EndingServer server({.tunnels_min = tunnels}, each.end);
      EXPECT_LE(server.dials_within(20s), 30U * tunnels) << each.name << ", " << tunnels;
      (void)server.dials_within(100s);
      EXPECT_LE(server.dials_within(60s), 6U * tunnels) << each.name << ", " << tunnels;
      EXPECT_GE(server.dials_within(60s), 1U) << each.name << ", " << tunnels;
    }
  }
}

TEST(LinkPolicy, a_link_that_begins_anew_continues_the_back_off) {
  Link older({.tunnels_min = 1});
  older.chance = 0.5;
  (void)older.start();
  for (int i = 0; i < 3; ++i) (void)older.fail(0, refused);
  older.bring_up(0, 10);
  EXPECT_EQ(older.close(10), "log tunnel_lost, dial 0 after 750, notify");
  Link link({.tunnels_min = 1}, "");
  link.chance = 0.5;
  link.policy.continue_backoff(older.policy);
  link.now = older.now + 100ms;
  EXPECT_EQ(link.start(), "dial 0 after 650");
  link.now += 650ms;
  link.bring_up(0, 11);
  EXPECT_EQ(link.drain(11), "log tunnel_draining, close when empty, dial 0 after 750, notify");
}

TEST(LinkPolicy, the_keeper_of_a_lost_tunnel_retires_while_another_one_dials) {
  Link link;
  (void)link.start();
  link.bring_up(0, 10);
  EXPECT_EQ(link.close(10), "log tunnel_lost, notify") << "keeper 1 is dialling";
  EXPECT_EQ(link.fail(1, refused), "log server_unreachable, dial 1");
}

TEST(LinkPolicy, a_keeper_retires_when_its_dial_fails_and_another_one_dials) {
  Link link({.tunnels_min = 3});
  (void)link.start();
  link.bring_up(0, 10);
  EXPECT_EQ(link.close(10), "log tunnel_lost, notify") << "keepers 1 and 2 are dialling";
  EXPECT_EQ(link.fail(1, refused), "log server_unreachable");
  EXPECT_EQ(link.fail(2, refused), "dial 2");
}

// ---- draining

TEST(LinkPolicy, the_successor_of_a_tunnel_that_drains_is_dialled_at_a_random_moment_within_the_delay) {
  const std::vector<std::pair<double, std::string>> cases{
      {0, "dial 1"}, {0.5, "dial 1 after 2000"}, {0.75, "dial 1 after 3000"}};
  for (const auto& [chance, dial] : cases) {
    Link link;
    link.bring_up_two();
    link.chance = chance;
    EXPECT_EQ(link.drain(11, 4s), "log tunnel_draining, close when empty, " + dial + ", notify");
    EXPECT_EQ(link.policy.tunnels_up(), 1U);
    EXPECT_EQ(link.drain(11, 4s), "nothing") << "a second GOAWAY changes nothing";
  }
}

TEST(LinkPolicy, when_all_tunnels_drain_one_keeper_looks_for_the_successor_first) {
  Link link;
  link.bring_up_two();
  EXPECT_EQ(link.drain(10), "log tunnel_draining, close when empty, dial 0, notify");
  EXPECT_EQ(link.drain(11), "log tunnel_draining, close when empty, notify");
  EXPECT_EQ(link.dial(0, 12), "epoch 1 slot 2");
  EXPECT_EQ(link.welcome(12), "log tunnel_up, dial 2, notify");
  EXPECT_EQ(link.close(10, lost), "log tunnel_left, notify") << "it was asked to leave, however it ended";
  EXPECT_EQ(link.policy.last_error(), "");
}

TEST(LinkPolicy, a_link_that_drains_dials_no_more_and_does_not_notify) {
  Link link;
  link.bring_up_two();
  (void)link.close(11);
  (void)link.dial(1, 12);
  link.policy.drain();
  EXPECT_TRUE(link.policy.is_draining());
  EXPECT_EQ(link.welcome(12), "log tunnel_up");
  EXPECT_EQ(link.congest(), "nothing");
  EXPECT_EQ(link.announce({"b"}), "nothing");
  EXPECT_EQ(link.drain(10, 4s), "log tunnel_draining, close when empty");
  EXPECT_EQ(link.close(10), "log tunnel_left");
  EXPECT_EQ(link.close(12), "log tunnel_left");
}

TEST(LinkPolicy, a_link_that_drains_while_its_first_tunnel_is_greeted_dials_no_others) {
  Link link;
  (void)link.start();
  (void)link.dial(0, 10);
  link.policy.drain();
  EXPECT_EQ(link.welcome(10), "log tunnel_up");
}

TEST(LinkPolicy, events_of_unknown_tunnels_change_nothing) {
  Link link;
  link.bring_up_two();
  EXPECT_EQ(link.welcome(99), "nothing");
  EXPECT_EQ(link.drain(99), "nothing");
  EXPECT_EQ(link.close(99), "nothing");
}

}  // namespace
}  // namespace culvert::agent
