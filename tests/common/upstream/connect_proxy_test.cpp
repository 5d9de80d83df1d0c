// SPDX-License-Identifier: Apache-2.0
#include "common/upstream/connect_proxy.hpp"

#include <optional>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <gtest/gtest.h>

#include "common/net/task_group.hpp"
#include "tests/testing/run.hpp"
#include "tests/testing/sockets.hpp"

namespace culvert {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using testing::loopback;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto use_tuple = asio::as_tuple(asio::use_awaitable);
const Endpoint target{"erp.corp", 443};

/// A proxy for one connection: reads a request, sends its `pieces` one after the other, and closes or stays open.
struct FakeProxy {
  std::vector<std::string> pieces;
  bool stays = true;
  std::string request{};
  std::string after{};

  asio::awaitable<void> serve(tcp::acceptor& acceptor) {
    auto [error, socket] = co_await acceptor.async_accept(use_tuple);
    if (error) co_return;
    co_await asio::async_read_until(socket, asio::dynamic_buffer(request), "\r\n\r\n", use_tuple);
    for (const std::string& piece : pieces) {
      co_await asio::async_write(socket, asio::buffer(piece), use_tuple);
      co_await asio::post(asio::use_awaitable);
    }
    if (!stays) co_return;
    std::array<char, 256> bytes;
    auto [read_error, size] = co_await socket.async_read_some(asio::buffer(bytes), use_tuple);
    after.assign(bytes.data(), size);
  }
};

/// The client's result with `fake`. A connected socket sends "ours".
Result<DialedSocket> connect_through(FakeProxy& fake, ConnectProxy proxy = {}, std::chrono::milliseconds limit = 3s,
                                     const Endpoint& to = target) {
  std::optional<Result<DialedSocket>> result;
  testing::run([&](asio::io_context& context) -> asio::awaitable<void> {
    tcp::acceptor acceptor(context, loopback());
    proxy.endpoint = {"127.0.0.1", acceptor.local_endpoint().port()};
    TaskGroup tasks(context.get_executor(), [](const std::exception_ptr&) { ADD_FAILURE(); });
    tasks.spawn(fake.serve(acceptor));
    Dialer dialer(context.get_executor());
    result = co_await dial_through_proxy(dialer, proxy, to, Clock::now() + limit);
    if (*result) ::send((*result)->fd.get(), "ours", 4, 0);
    if (!*result || !fake.stays) tasks.request_stop();
    co_await tasks.join();
  });
  return std::move(*result);
}

asio::awaitable<Result<std::vector<char>>> given(Result<std::string_view> credentials) {
  if (!credentials) co_return std::unexpected(credentials.error());
  co_return std::vector<char>(credentials->begin(), credentials->end());
}

std::string code_of(const Result<DialedSocket>& result) {
  return result ? "connected" : result.error().code;
}

TEST(ConnectProxy, asks_for_the_target_and_hands_over_the_socket) {
  FakeProxy fake{{"HTTP/1.1 200 Connection established\r\n\r\n"}};
  const auto dialed = connect_through(fake);
  ASSERT_TRUE(dialed) << dialed.error().text;
  EXPECT_EQ(fake.request, "CONNECT erp.corp:443 HTTP/1.1\r\nHost: erp.corp:443\r\n\r\n");
  EXPECT_EQ(fake.after, "ours");
}

TEST(ConnectProxy, writes_an_ipv6_target_in_brackets) {
  FakeProxy fake{{"HTTP/1.0 200\r\n\r\n"}};
  EXPECT_TRUE(connect_through(fake, {}, 3s, {"fd00::1", 443}));
  EXPECT_TRUE(fake.request.starts_with("CONNECT [fd00::1]:443 HTTP/1.1\r\n")) << fake.request;
}

TEST(ConnectProxy, proves_itself_with_the_credentials_of_the_moment) {
  // RFC 7617 2 and, for the padding, RFC 4648 10.
  const std::pair<const char*, const char*> cases[] = {{"Aladdin:open sesame", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="},
                                                       {"a:bcdef", "YTpiY2RlZg=="},
                                                       {"a:bcdefg", "YTpiY2RlZmc="},
                                                       {"a:bcdefgh", "YTpiY2RlZmdo"}};
  for (const auto& [secret, encoded] : cases) {
    FakeProxy fake{{"HTTP/1.1 200 OK\r\n\r\n"}};
    ConnectProxy proxy;
    proxy.credentials = [secret](Deadline) { return given(std::string_view(secret)); };
    EXPECT_TRUE(connect_through(fake, proxy));
    EXPECT_NE(fake.request.find(std::string("\r\nProxy-Authorization: Basic ") + encoded + "\r\n"), std::string::npos)
        << fake.request;
  }
}

TEST(ConnectProxy, gives_on_the_error_of_the_credentials) {
  FakeProxy fake;
  ConnectProxy proxy;
  proxy.credentials = [](Deadline) { return given(fail("secret.unreadable", "no such file")); };
  EXPECT_EQ(code_of(connect_through(fake, proxy)), "secret.unreadable");
}

TEST(ConnectProxy, distinguishes_the_answers_of_a_proxy) {
  const std::pair<const char*, const char*> cases[] = {
      {"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: "
       "3\r\n\r\nabc",
       "proxy.authentication_required"},
      {"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno", "proxy.forbidden"},
      {"HTTP/1.1 502 Bad Gateway\r\n\r\n", "proxy.refused"},
      {"HTTP/1.1 302 Found\r\nLocation: http://login/\r\n\r\n", "proxy.refused"},
      {"HTTP/1.1 100 Continue\r\n\r\n", "proxy.refused"},
      {"HTTP/1.1 200 OK\r\n\r\nx", "proxy.malformed"},
      {"SSH-2.0-OpenSSH_9.2\r\n\r\n", "proxy.malformed"},
      {"HTTP/2 200 OK\r\n\r\n", "proxy.malformed"},
      {"HTTP/1.1 20x OK\r\n\r\n", "proxy.malformed"},
      {"HTTP/1.1 2000 OK\r\n\r\n", "proxy.malformed"},
      {"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "proxy.malformed"},
      {"HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n", "proxy.malformed"},
      {"\r\n\r\n", "proxy.malformed"}};
  for (const auto& [answer, code] : cases) {
    FakeProxy fake{{answer}};
    EXPECT_EQ(code_of(connect_through(fake)), code) << answer;
  }
}

TEST(ConnectProxy, names_the_proxy_the_status_and_the_key_to_set) {
  FakeProxy wants{{"HTTP/1.1 407 No\r\n\r\n"}};
  ConnectProxy proxy;
  const auto without = connect_through(wants, proxy);
  ASSERT_FALSE(without);
  EXPECT_NE(without.error().text.find("set proxy_user and proxy_password_file"), std::string::npos)
      << without.error().text;
  FakeProxy rejects{{"HTTP/1.1 407 No\r\n\r\n"}};
  proxy.credentials = [](Deadline) { return given(std::string_view("user:hunter2")); };
  const auto with = connect_through(rejects, proxy);
  ASSERT_FALSE(with);
  EXPECT_NE(with.error().text.find("check proxy_user"), std::string::npos) << with.error().text;
  EXPECT_EQ(with.error().text.find("hunter2"), std::string::npos);
  EXPECT_EQ(with.error().text.find("user:h"), std::string::npos);
  FakeProxy broken{{"HTTP/1.1 503 No\r\n\r\n"}};
  const auto refused = connect_through(broken);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().text.find("status 503"), std::string::npos) << refused.error().text;
}

TEST(ConnectProxy, names_the_schemes_of_a_proxy_that_does_not_offer_basic) {
  struct Row {
    const char* fields;
    const char* code;
    const char* part;
  };
  const Row rows[] = {
      {"Proxy-Authenticate: Negotiate\r\nproxy-authenticate: NTLM\r\n", "proxy.no_common_scheme",
       "by Negotiate, NTLM (407)"},
      {"Proxy-Authenticate: Negotiate, NTLM,negotiate\r\n", "proxy.no_common_scheme", "by Negotiate, NTLM (407)"},
      {"Proxy-Authenticate:Digest realm=\"a, Basic \\\", Basic\", nonce=\"x\", stale = false, Basic=1\r\n",
       "proxy.no_common_scheme", "by Digest (407)"},
      {"Proxy-Authenticate: NTLM TlRMTVNTUAACAAAA==\r\n", "proxy.no_common_scheme", "Culvert speaks Basic only"},
      {"Proxy-Authenticate: Negotiate, NTLM, basic realm=\"x\"\r\n", "proxy.authentication_required", "proxy_user"},
      {"Proxy-Authenticate: Digest realm=\"a\", nonce=\"b\", Basic realm=\"x\"\r\n", "proxy.authentication_required",
       ""},
      {"Proxy-Authenticate: Digest realm=\"a\"\r\nVia: x\r\nProxy-Authenticate: Basic\r\n",
       "proxy.authentication_required", ""},
      {"Proxy-Authenticate: \r\n", "proxy.authentication_required", ""},
      {"Proxy-Authenticate: ,\t, \"\r\n", "proxy.authentication_required", ""},
      {"WWW-Authenticate: NTLM\r\n", "proxy.authentication_required", ""}};
  for (const Row& row : rows) {
    FakeProxy fake{{std::string("HTTP/1.1 407 No\r\n") + row.fields + "\r\n"}};
    const auto refused = connect_through(fake);
    EXPECT_EQ(code_of(refused), row.code) << row.fields;
    EXPECT_NE(refused.error().text.find(row.part), std::string::npos) << refused.error().text;
  }
  FakeProxy talkative{{"HTTP/1.1 407 No\r\nProxy-Authenticate: A, " + std::string(9000, 'b') + "\r\n\r\n"}};
  EXPECT_LT(connect_through(talkative).error().text.size(), 400u);
}

TEST(ConnectProxy, understands_an_answer_however_it_is_split) {
  const std::string answer = "HTTP/1.1 200 OK\r\nVia: squid\r\n\r\n";
  for (std::size_t cut = 1; cut < answer.size(); ++cut) {
    FakeProxy fake{{answer.substr(0, cut), answer.substr(cut)}};
    EXPECT_TRUE(connect_through(fake)) << cut;
  }
}

TEST(ConnectProxy, reports_that_the_proxy_left_wherever_it_stopped) {
  const std::string answer = "HTTP/1.1 200 OK\r\nVia: squid\r\n\r\n";
  for (std::size_t cut = 0; cut < answer.size(); ++cut) {
    FakeProxy fake{{answer.substr(0, cut)}, false};
    EXPECT_EQ(code_of(connect_through(fake)), "proxy.closed") << cut;
  }
}

TEST(ConnectProxy, takes_a_head_of_16_kib_and_not_a_byte_more) {
  const std::string start = "HTTP/1.1 200 OK\r\nA: ";
  const std::string end = "\r\n\r\n";
  FakeProxy fits{{start + std::string(16 * 1024 - start.size() - end.size(), 'a') + end}};
  EXPECT_EQ(code_of(connect_through(fits)), "connected");
  FakeProxy exceeds{{start + std::string(16 * 1024 - start.size() - end.size() + 1, 'a') + end}};
  EXPECT_EQ(code_of(connect_through(exceeds)), "proxy.malformed");
}

TEST(ConnectProxy, times_out_when_the_proxy_says_nothing_or_not_enough) {
  for (const char* answer : {"", "HTTP/1.1 200 OK\r\n"}) {
    FakeProxy fake{{answer}};
    EXPECT_EQ(code_of(connect_through(fake, {}, 50ms)), "proxy.timed_out");
  }
}

Result<DialedSocket> connect_through_port(std::uint16_t port) {
  std::optional<Result<DialedSocket>> result;
  testing::run([&](asio::io_context& context) -> asio::awaitable<void> {
    ConnectProxy proxy;
    proxy.endpoint = {"127.0.0.1", port};
    Dialer dialer(context.get_executor());
    result = co_await dial_through_proxy(dialer, proxy, target, Clock::now() + 50ms);
  });
  return std::move(*result);
}

TEST(ConnectProxy, reports_that_the_proxy_is_not_there) {
  const testing::ClosedPort closed;
  const auto refused = connect_through_port(closed.port());
  ASSERT_EQ(code_of(refused), "proxy.unreachable");
  EXPECT_NE(refused.error().text.find("127.0.0.1:" + std::to_string(closed.port())), std::string::npos);
  const testing::SilentPort silent(loopback());
  EXPECT_EQ(code_of(connect_through_port(silent.endpoint().port())), "proxy.timed_out");
}

asio::awaitable<void> dial_and_drop(Dialer& dialer, ConnectProxy proxy) {
  (void)co_await dial_through_proxy(dialer, proxy, target, Clock::now() + 1h);
}

TEST(ConnectProxy, leaves_no_descriptor_when_it_is_stopped_while_it_waits) {
  const UniqueFd listening = testing::bound_socket(loopback(), 8);
  testing::run([&](asio::io_context& context) -> asio::awaitable<void> {
    ConnectProxy proxy;
    proxy.endpoint = {"127.0.0.1", local_endpoint_of(listening.get()).port()};
    Dialer dialer(context.get_executor());
    asio::steady_timer warm(context);  // Asio opens its own descriptors with the first timer.
    const std::size_t before = testing::open_descriptors();
    TaskGroup tasks(context.get_executor(), [](const std::exception_ptr&) { ADD_FAILURE(); });
    tasks.spawn(dial_and_drop(dialer, proxy));
    co_await testing::turns();
    EXPECT_EQ(testing::open_descriptors(), before + 1);
    tasks.request_stop();
    co_await tasks.join();
    EXPECT_EQ(testing::open_descriptors(), before);
  });
}

TEST(ConnectProxy, is_bypassed_for_the_hosts_that_no_proxy_names) {
  const std::vector<std::string> none;
  const std::vector<std::string> some{"erp.corp", ".intern",   "*.lan",   "10.0.0.0/8",
                                      "fd00::/8", "192.0.2.1", "bad/cidr"};
  for (const char* host :
       {"erp.corp", "ERP.Corp", "a.intern", "a.b.intern", "x.lan", "10.1.2.3", "fd12::1", "192.0.2.1"}) {
    EXPECT_TRUE(bypasses_proxy(host, some)) << host;
    EXPECT_FALSE(bypasses_proxy(host, none)) << host;
    EXPECT_TRUE(bypasses_proxy(host, {"*"})) << host;
  }
  for (const char* host : {"crm.corp", "a.erp.corp", "erp.corp.evil", "intern", "lan", "xlan", "11.0.0.1", "fe80::1",
                           "192.0.2.10", "10.0.0.0.example", "bad"}) {
    EXPECT_FALSE(bypasses_proxy(host, some)) << host;
  }
}

}  // namespace
}  // namespace culvert
