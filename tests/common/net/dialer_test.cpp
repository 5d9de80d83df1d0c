// SPDX-License-Identifier: Apache-2.0
#include "common/net/dialer.hpp"

#include <fstream>
#include <optional>

#include <boost/asio/post.hpp>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "common/net/task_group.hpp"
#include "tests/testing/run.hpp"
#include "tests/testing/sockets.hpp"

namespace culvert {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using testing::bound_socket;
using testing::loopback;
using testing::SilentPort;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

/// Resolves every name to `addresses`, like DNS.
NameLookup answers(asio::io_context& context, std::vector<const char*> addresses) {
  return [&context, addresses](const std::string&, auto done) {
    Addresses result;
    for (const char* address : addresses) result.push_back(asio::ip::make_address(address));
    asio::post(context, [done, result] { done({}, result); });
  };
}

NameLookup fails(asio::io_context& context, boost::system::error_code error) {
  return [&context, error](const std::string&, auto done) { asio::post(context, [done, error] { done(error, {}); }); };
}

/// One dial in its own context.
Result<DialedSocket> dial_once(DialTarget target, std::chrono::milliseconds limit = 3s,
                               const std::function<NameLookup(asio::io_context&)>& lookup = {}) {
  std::optional<Result<DialedSocket>> result;
  testing::run([&](asio::io_context& context) -> asio::awaitable<void> {
    Dialer dialer(context.get_executor(), lookup ? lookup(context) : NameLookup());
    result = co_await dialer.dial(target, Clock::now() + limit);
  });
  return std::move(*result);
}

std::string code_of(const auto& result) {
  return result ? "connected" : result.error().code;
}

TEST(Dialer, connects_to_a_literal_with_a_socket_that_never_blocks_nor_leaks_nor_delays) {
  const UniqueFd listening = bound_socket(loopback(), 8);
  const auto remote = local_endpoint_of(listening.get());
  const auto dialed = dial_once({{"127.0.0.1", remote.port()}, {}});
  ASSERT_TRUE(dialed) << dialed.error().text;
  EXPECT_EQ(dialed->remote, remote);
  EXPECT_LT(dialed->took, 1s);
  EXPECT_NE(::fcntl(dialed->fd.get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(::fcntl(dialed->fd.get(), F_GETFD) & FD_CLOEXEC, 0);
  int no_delay = 0;
  socklen_t size = sizeof no_delay;
  ::getsockopt(dialed->fd.get(), IPPROTO_TCP, TCP_NODELAY, &no_delay, &size);
  EXPECT_EQ(no_delay, 1);
}

TEST(Dialer, asks_the_system_for_a_name) {
  const UniqueFd listening = bound_socket(loopback(), 8);
  const auto dialed = dial_once({{"localhost", local_endpoint_of(listening.get()).port()}, {}});
  EXPECT_TRUE(dialed) << dialed.error().text;
}

TEST(Dialer, reports_a_refusal) {
  const testing::ClosedPort closed;
  const auto dialed = dial_once({{"127.0.0.1", closed.port()}, {}});
  ASSERT_EQ(code_of(dialed), "dial.refused");
  EXPECT_NE(dialed.error().text.find("127.0.0.1:" + std::to_string(closed.port())), std::string::npos);
}

TEST(Dialer, reports_a_host_without_a_route) {
  EXPECT_EQ(code_of(dial_once({{"255.255.255.255", 80}, {}})), "dial.unreachable");
}

TEST(Dialer, gives_up_at_its_deadline) {
  const SilentPort silent(loopback());
  const auto start = Clock::now();
  EXPECT_EQ(code_of(dial_once({{"127.0.0.1", silent.endpoint().port()}, {}}, 100ms)), "dial.timed_out");
  EXPECT_GE(Clock::now() - start, 100ms);
  EXPECT_LT(Clock::now() - start, 1s);
}

TEST(Dialer, has_one_deadline_for_all_addresses) {
  const SilentPort silent(loopback());
  const auto port = silent.endpoint().port();
  const SilentPort other(loopback(port, "127.0.0.2"));
  const SilentPort third(loopback(port, "127.0.0.3"));
  const auto start = Clock::now();
  const auto lookup = [](asio::io_context& context) {
    return answers(context, {"127.0.0.1", "127.0.0.2", "127.0.0.3"});
  };
  EXPECT_EQ(code_of(dial_once({{"erp", port}, {}}, 600ms, lookup)), "dial.timed_out");
  EXPECT_LT(Clock::now() - start, 1500ms);
}

TEST(Dialer, goes_on_at_once_when_an_address_refuses) {
  const UniqueFd live = bound_socket(loopback(0, "127.0.0.2"), 8);
  const auto port = local_endpoint_of(live.get()).port();
  const auto lookup = [](asio::io_context& context) { return answers(context, {"127.0.0.1", "127.0.0.2"}); };
  const auto dialed = dial_once({{"erp", port}, {}}, 3s, lookup);
  ASSERT_TRUE(dialed) << dialed.error().text;
  EXPECT_EQ(dialed->remote, loopback(port, "127.0.0.2"));
  EXPECT_LT(dialed->took, 200ms);
}

TEST(Dialer, goes_on_after_a_stagger_when_an_address_is_silent_and_closes_the_loser) {
  const SilentPort silent(loopback());
  const auto port = silent.endpoint().port();
  const UniqueFd live = bound_socket(loopback(port, "127.0.0.2"), 8);
  const auto lookup = [](asio::io_context& context) { return answers(context, {"127.0.0.1", "127.0.0.2"}); };
  const std::size_t before = testing::open_descriptors();
  const auto dialed = dial_once({{"erp", port}, {}}, 3s, lookup);
  ASSERT_TRUE(dialed) << dialed.error().text;
  EXPECT_EQ(dialed->remote.address(), asio::ip::make_address("127.0.0.2"));
  EXPECT_GE(dialed->took, 240ms);
  EXPECT_LT(dialed->took, 1s);
  EXPECT_EQ(testing::open_descriptors(), before + 1);
}

TEST(Dialer, takes_the_families_by_turns) {
  const SilentPort silent(loopback());
  const auto port = silent.endpoint().port();
  const SilentPort other(loopback(port, "127.0.0.2"));
  const SilentPort third(loopback(port, "127.0.0.3"));
  const UniqueFd live = bound_socket(loopback(port, "::1"), 8);
  const auto lookup = [](asio::io_context& context) {
    return answers(context, {"127.0.0.1", "127.0.0.2", "127.0.0.3", "::1"});
  };
  const auto dialed = dial_once({{"erp", port}, {}}, 3s, lookup);
  ASSERT_TRUE(dialed) << dialed.error().text;
  EXPECT_TRUE(dialed->remote.address().is_v6());
  EXPECT_LT(dialed->took, 490ms) << "::1 was not the second to be tried";
}

TEST(Dialer, dials_nothing_when_one_address_of_a_name_is_not_allowed) {
  const UniqueFd live = bound_socket(loopback(0, "127.0.0.2"), 8);
  const auto port = local_endpoint_of(live.get()).port();
  const auto lookup = [](asio::io_context& context) { return answers(context, {"127.0.0.2", "::ffff:127.0.0.1"}); };
  const auto allows = [](const asio::ip::address& address) { return address != asio::ip::make_address("127.0.0.1"); };
  const auto dialed = dial_once({{"erp", port}, allows}, 3s, lookup);
  ASSERT_EQ(code_of(dialed), "dial.address_denied");
  EXPECT_NE(dialed.error().text.find("127.0.0.1"), std::string::npos);
  ASSERT_EQ(::fcntl(live.get(), F_SETFL, O_NONBLOCK), 0);
  EXPECT_EQ(::accept(live.get(), nullptr, nullptr), -1);
}

// Threats B13: spellings that only inet_aton accepts are resolved, so that the filter sees the address that they mean.
TEST(Dialer, shows_the_filter_what_an_odd_spelling_means) {
  for (const char* spelling : {"127.1", "0x7f.1", "2130706433", "0177.0.0.1", "::ffff:127.0.0.1", "::ffff:7f00:1"}) {
    const auto allows = [](const asio::ip::address& address) { return address != asio::ip::make_address("127.0.0.1"); };
    EXPECT_EQ(code_of(dial_once({{spelling, 9}, allows})), "dial.address_denied") << spelling;
  }
}

TEST(Dialer, reports_that_no_descriptor_is_left) {
  std::optional<Result<DialedSocket>> dialed;
  testing::run([&](asio::io_context& context) -> asio::awaitable<void> {
    Dialer dialer(context.get_executor());
    asio::steady_timer warm(context);  // Asio opens its own descriptors with the first timer.
    const testing::DescriptorLimit limit(0);
    dialed = co_await dialer.dial({{"127.0.0.1", 9}, {}}, Clock::now() + 1s);
  });
  EXPECT_EQ(code_of(*dialed), "dial.no_descriptors");
}

/// Runs in a network namespace with two local ports. Returns 0 when the third connection failed as expected, 77 when
/// the namespace cannot be made here.
int exhaust_local_ports() {
  if (::unshare(CLONE_NEWNET) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return 77;
  const UniqueFd any(::socket(AF_INET, SOCK_DGRAM, 0));
  ifreq request{};
  std::strcpy(request.ifr_name, "lo");
  request.ifr_flags = IFF_UP;
  if (::ioctl(any.get(), SIOCSIFFLAGS, &request) != 0) return 77;
  if (!(std::ofstream("/proc/sys/net/ipv4/ip_local_port_range") << "50000 50001" << std::flush)) return 77;
  const UniqueFd listening = bound_socket(loopback(4000), 8);
  std::vector<Result<DialedSocket>> dialed;
  for (int i = 0; i < 3; ++i) dialed.push_back(dial_once({{"127.0.0.1", 4000}, {}}));
  return code_of(dialed.front()) == "connected" && code_of(dialed.back()) == "dial.no_local_port" ? 0 : 1;
}

// Threats C8.
TEST(Dialer, reports_that_no_local_port_is_left) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(exhaust_local_ports());
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 77) GTEST_SKIP() << "a network namespace of its own is not to be had here";
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

asio::awaitable<void> dial_and_drop(Dialer& dialer, DialTarget target) {
  (void)co_await dialer.dial(std::move(target), Clock::now() + 1h);
}

/// Stops a dial once it is under way.
void stop_while_dialling(const DialTarget& target, const NameLookup& lookup) {
  const std::size_t before = testing::open_descriptors();
  testing::run([&](asio::io_context& context) -> asio::awaitable<void> {
    Dialer dialer(context.get_executor(), lookup);
    asio::steady_timer warm(context);  // Asio opens its own descriptors with the first timer.
    const std::size_t idle = testing::open_descriptors();
    int defects = 0;
    TaskGroup tasks(context.get_executor(), [&](const std::exception_ptr&) { ++defects; });
    for (int i = 0; i < 8; ++i) tasks.spawn(dial_and_drop(dialer, target));
    co_await testing::turns();
    EXPECT_EQ(tasks.size(), 8u);
    tasks.request_stop();
    co_await tasks.join();
    EXPECT_EQ(testing::open_descriptors(), idle);
    EXPECT_EQ(defects, 0);
  });
  EXPECT_EQ(testing::open_descriptors(), before);
}

TEST(Dialer, leaves_no_descriptor_when_it_is_stopped_while_connecting) {
  const SilentPort silent(loopback());
  stop_while_dialling({{"127.0.0.1", silent.endpoint().port()}, {}}, {});
}

TEST(Dialer, resets_a_connection_that_the_kernel_made_while_it_was_being_stopped) {
  // The backlog is full, so the kernel sends another SYN after a second.
  const UniqueFd slow = bound_socket(loopback(), 0);
  const auto remote = local_endpoint_of(slow.get());
  std::vector<UniqueFd> fill;
  for (int i = 0; i < 4; ++i) {
    fill.push_back(make_tcp_socket(AF_INET));
    (void)::connect(fill.back().get(), remote.data(), static_cast<socklen_t>(remote.size()));
  }
  std::vector<UniqueFd> accepted;
  testing::run([&](asio::io_context& context) -> asio::awaitable<void> {
    TaskGroup tasks(context.get_executor(), [](const std::exception_ptr&) { ADD_FAILURE(); });
    Dialer dialer(context.get_executor());
    const auto dial = [](Dialer& from, Endpoint target) -> asio::awaitable<void> {
      (void)co_await from.dial({std::move(target), {}}, Clock::now() + 1h);
    };
    tasks.spawn(dial(dialer, {"127.0.0.1", remote.port()}));
    co_await testing::turns();
    fill.clear();
    // The loop does not run meanwhile.
    for (pollfd listening{slow.get(), POLLIN, 0}; ::poll(&listening, 1, 2'500) == 1;)
      accepted.emplace_back(::accept4(slow.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    tasks.request_stop();
    co_await tasks.join();
  });
  std::size_t resets = 0;
  for (const UniqueFd& each : accepted) {
    char byte = 0;
    if (::recv(each.get(), &byte, 1, 0) == -1 && errno == ECONNRESET) ++resets;
  }
  EXPECT_EQ(resets, 1U) << "of " << accepted.size() << "; the fillers just end";
}

TEST(Dialer, leaves_nothing_when_it_is_stopped_while_resolving) {
  stop_while_dialling({{"erp", 9}, {}}, [](const std::string&, const auto&) {});
}

TEST(Dialer, leaves_no_descriptor_when_its_context_is_destroyed_under_it) {
  const SilentPort silent(loopback());
  const std::size_t before = testing::open_descriptors();
  {
    asio::io_context context;
    Dialer dialer(context.get_executor());
    asio::co_spawn(context, dial_and_drop(dialer, {{"127.0.0.1", silent.endpoint().port()}, {}}),
                   [](const std::exception_ptr&) {});
    context.poll();
    EXPECT_GT(testing::open_descriptors(), before);
  }
  EXPECT_EQ(testing::open_descriptors(), before);
}

TEST(NameResolver, distinguishes_a_missing_name_from_a_dns_that_fails) {
  const auto denies = [](asio::io_context& context) { return fails(context, asio::error::host_not_found); };
  EXPECT_EQ(code_of(dial_once({{"erp", 9}, {}}, 1s, denies)), "dial.name_not_found");
  const auto is_down = [](asio::io_context& context) { return fails(context, asio::error::host_not_found_try_again); };
  EXPECT_EQ(code_of(dial_once({{"erp", 9}, {}}, 1s, is_down)), "dial.dns_failed");
  const auto is_silent = [](asio::io_context&) { return NameLookup([](const std::string&, const auto&) {}); };
  EXPECT_EQ(code_of(dial_once({{"erp", 9}, {}}, 50ms, is_silent)), "dial.dns_failed");
}

// Threats F4.
TEST(NameResolver, remembers_what_a_name_meant_while_dns_fails_but_not_against_its_denial) {
  testing::run([](asio::io_context& context) -> asio::awaitable<void> {
    NameLookup current = answers(context, {"192.0.2.7"});
    NameResolver resolver(context.get_executor(), [&](const std::string& host, auto done) { current(host, done); });
    const auto limit = [] { return Clock::now() + 50ms; };
    const Addresses meant{asio::ip::make_address("192.0.2.7")};
    EXPECT_EQ(co_await resolver.resolve("erp", limit()), meant);
    current = fails(context, asio::error::host_not_found_try_again);
    EXPECT_EQ(co_await resolver.resolve("erp", limit()), meant);
    EXPECT_EQ(code_of(co_await resolver.resolve("crm", limit())), "dial.dns_failed");
    current = fails(context, asio::error::host_not_found);
    EXPECT_EQ(code_of(co_await resolver.resolve("erp", limit())), "dial.name_not_found");
    current = [](const std::string&, const auto&) {};
    EXPECT_EQ(code_of(co_await resolver.resolve("erp", limit())), "dial.dns_failed");
  });
}

TEST(NameResolver, asks_one_question_for_many_who_want_one_name) {
  testing::run([](asio::io_context& context) -> asio::awaitable<void> {
    int questions = 0;
    std::function<void()> answer;
    NameResolver resolver(context.get_executor(), [&](const std::string&, auto done) {
      ++questions;
      answer = [done] { done({}, {asio::ip::make_address("192.0.2.7")}); };
    });
    int answered = 0;
    TaskGroup tasks(context.get_executor(), [](const std::exception_ptr&) { ADD_FAILURE(); });
    const auto ask = [](NameResolver& whom, int& count) -> asio::awaitable<void> {
      const auto addresses = co_await whom.resolve("erp", Clock::now() + 3s);
      count += addresses ? 1 : 0;
    };
    for (int i = 0; i < 20; ++i) tasks.spawn(ask(resolver, answered));
    co_await testing::turns();
    EXPECT_EQ(questions, 1);
    answer();
    co_await tasks.join();
    EXPECT_EQ(answered, 20);
  });
}

}  // namespace
}  // namespace culvert
