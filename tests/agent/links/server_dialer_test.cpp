// SPDX-License-Identifier: Apache-2.0
#include "agent/links/server_dialer.hpp"

#include <future>
#include <optional>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <gtest/gtest.h>

#include "common/net/task_group.hpp"
#include "tests/testing/run.hpp"
#include "tests/testing/sockets.hpp"
#include "tests/testing/temporary_directory.hpp"

namespace culvert::agent {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;

constexpr auto use_tuple = asio::as_tuple(asio::use_awaitable);

asio::awaitable<void> consent(tcp::acceptor& acceptor, std::string& request) {
  auto [error, socket] = co_await acceptor.async_accept(use_tuple);
  std::string received;
  co_await asio::async_read_until(socket, asio::dynamic_buffer(received), "\r\n\r\n", use_tuple);
  request = received;
  co_await asio::async_write(socket, asio::buffer(std::string("HTTP/1.1 200 OK\r\n\r\n")), use_tuple);
}

/// While its file system does not answer, everything else goes on.
TEST(ServerDialer, reads_the_password_of_the_proxy_off_the_loop) {
  const testing::TemporaryDirectory folder;
  std::string request;
  testing::run([&](asio::io_context& context) -> asio::awaitable<void> {
    tcp::acceptor acceptor(context, testing::loopback());
    Server server;
    server.address = {"tunnel.example", 443};
    server.proxy = ProxySettings{.address = {"127.0.0.1", acceptor.local_endpoint().port()},
                                 .user = "agent",
                                 .password_file = folder.write("password", "hunter2\n"),
                                 .no_proxy = {}};
    Offload offload;
    std::promise<void> answers;
    TaskGroup tasks(context.get_executor(), [](const std::exception_ptr&) { ADD_FAILURE(); });
    const auto block = [](Offload& thread, std::promise<void>& until) -> asio::awaitable<void> {
      const std::function work = [&until] {
        until.get_future().wait();
        return 1;
      };
      (void)co_await thread.run(work, std::chrono::steady_clock::now() + std::chrono::seconds(4));
    };
    ServerDialer dialer(context.get_executor(), server, offload);
    std::optional<Result<DialedSocket>> dialed;
    const auto dial = [](ServerDialer& from, std::optional<Result<DialedSocket>>& result) -> asio::awaitable<void> {
      result.emplace(co_await from.dial());
    };
    tasks.spawn(consent(acceptor, request));
    tasks.spawn(block(offload, answers));
    co_await testing::turns();
    tasks.spawn(dial(dialer, dialed));
    co_await testing::turns(500);
    EXPECT_EQ(request, "") << "the password is still being read";
    answers.set_value();
    co_await tasks.join();
    EXPECT_TRUE(dialed && *dialed);
  });
  EXPECT_NE(request.find("Proxy-Authorization: Basic YWdlbnQ6aHVudGVyMg==\r\n"), std::string::npos) << request;
}

}  // namespace
}  // namespace culvert::agent
