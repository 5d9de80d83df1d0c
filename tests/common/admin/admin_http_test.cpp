// SPDX-License-Identifier: Apache-2.0
#include "common/admin/admin_http.hpp"

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <gtest/gtest.h>
#include <sys/socket.h>

namespace culvert {
namespace {

using namespace std::chrono_literals;
using tcp = boost::asio::ip::tcp;

/// A server on a free port, and a client that sends arbitrary bytes.
class AdminHttpTest : public testing::Test {
 protected:
  void serve(AdminHttp::Limits limits = {}) {
    auto opened = AdminHttp::open({"127.0.0.1", 0}, allow_from_, pages_, log_, limits);
    ASSERT_TRUE(opened) << opened.error().text;
    server_ = std::move(*opened);
  }

  tcp::socket connect(const char* from = "127.0.0.1") {
    tcp::socket socket(context_, tcp::endpoint(boost::asio::ip::make_address(from), 0));
    socket.connect(server_->local_endpoint());
    const timeval limit{10, 0};
    ::setsockopt(socket.native_handle(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return socket;
  }

  static bool is_closed(tcp::socket& socket) {
    char byte = 0;
    return ::recv(socket.native_handle(), &byte, 1, MSG_DONTWAIT) == 0;
  }

  static std::string read_to_end(tcp::socket& socket) {
    std::string all;
    char block[4096];
    for (ssize_t size; (size = ::recv(socket.native_handle(), block, sizeof block, 0)) > 0;) {
      all.append(block, static_cast<std::size_t>(size));
    }
    return all;
  }

  std::string exchange(const std::string& request) {
    tcp::socket socket = connect();
    boost::system::error_code ignored;
    boost::asio::write(socket, boost::asio::buffer(request), ignored);
    return read_to_end(socket);
  }

  std::string get(const std::string& path) { return exchange("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n"); }

  AllowList allow_from_;
  AdminPages pages_{.metrics = [](auto done) { done("culvert_streams 0\n"); },
                    .readiness = [](auto done) { done(Readiness{.ready = true, .reason = ""}); }};
  Log log_{{}, 2};
  boost::asio::io_context context_;
  std::unique_ptr<AdminHttp> server_;
};

std::string status_of(const std::string& response) {
  return response.substr(0, response.find("\r\n"));
}
std::string body_of(const std::string& response) {
  return response.substr(response.find("\r\n\r\n") + 4);
}

TEST_F(AdminHttpTest, shows_the_metrics_page) {
  serve();
  const std::string response = get("/metrics?x=1");
  EXPECT_EQ(status_of(response), "HTTP/1.1 200 OK");
  EXPECT_NE(response.find("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"), std::string::npos) << response;
  EXPECT_EQ(body_of(response), "culvert_streams 0\n");
}

TEST_F(AdminHttpTest, head_has_the_length_and_no_body) {
  serve();
  const std::string response = exchange("HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_NE(response.find("Content-Length: 3\r\n"), std::string::npos) << response;
  EXPECT_EQ(body_of(response), "");
}

TEST_F(AdminHttpTest, is_healthy_while_it_runs) {
  serve();
  EXPECT_EQ(body_of(get("/healthz")), "ok\n");
}

TEST_F(AdminHttpTest, is_ready_when_the_workers_say_so) {
  serve();
  EXPECT_EQ(status_of(get("/readyz")), "HTTP/1.1 200 OK");
}

TEST_F(AdminHttpTest, reports_in_one_line_why_it_is_not_ready) {
  pages_.readiness = [](auto done) { done(Readiness{.ready = false, .reason = "no tunnel\nto erp"}); };
  serve();
  const std::string response = get("/readyz");
  EXPECT_EQ(status_of(response), "HTTP/1.1 503 Service Unavailable");
  EXPECT_EQ(body_of(response), "not ready: no tunnel\\x0ato erp\n");
}

TEST_F(AdminHttpTest, takes_an_answer_from_another_thread) {
  std::thread worker;
  pages_.readiness = [&](auto done) { worker = std::thread([done] { done(Readiness{.ready = true, .reason = ""}); }); };
  serve();
  EXPECT_EQ(body_of(get("/readyz")), "ready\n");
  worker.join();
}

TEST_F(AdminHttpTest, is_not_ready_when_the_workers_hang_and_survives_their_late_answer) {
  std::function<void(Readiness)> late;
  pages_.readiness = [&](auto done) { late = done; };
  serve({.answer = 20ms});
  EXPECT_EQ(body_of(get("/readyz")), "not ready: the workers do not answer\n");
  late(Readiness{.ready = true, .reason = ""});
  EXPECT_EQ(body_of(get("/healthz")), "ok\n");
  server_.reset();
  late(Readiness{.ready = true, .reason = ""});
}

TEST_F(AdminHttpTest, ends_though_questions_are_open) {
  std::promise<void> asked;
  pages_.readiness = [&](auto) { asked.set_value(); };
  serve({.head = 60s, .answer = 60s, .write = 60s});
  tcp::socket waiting = connect();
  tcp::socket silent = connect();
  boost::asio::write(waiting, boost::asio::buffer(std::string("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")));
  ASSERT_EQ(asked.get_future().wait_for(10s), std::future_status::ready);
  server_.reset();
  EXPECT_EQ(read_to_end(waiting), "");
}

TEST_F(AdminHttpTest, knows_no_other_path_and_no_other_method) {
  serve();
  EXPECT_EQ(status_of(get("/")), "HTTP/1.1 404 Not Found");
  EXPECT_EQ(status_of(get("/metrics/../healthz")), "HTTP/1.1 404 Not Found");
  const std::string posted = exchange("POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
  EXPECT_EQ(status_of(posted), "HTTP/1.1 405 Method Not Allowed");
  EXPECT_NE(posted.find("Allow: GET, HEAD\r\n"), std::string::npos);
}

TEST_F(AdminHttpTest, refuses_what_is_no_http) {
  serve();
  EXPECT_EQ(status_of(exchange("\x16\x03\x01 hello\r\n\r\n")), "HTTP/1.1 400 Bad Request");
}

TEST_F(AdminHttpTest, limits_the_head) {
  serve();
  const std::string start = "GET /healthz HTTP/1.1\r\nHost: x\r\nX: ";
  const std::string end = "\r\n\r\n";
  const std::string fits = start + std::string(AdminHttp::head_bytes_max - start.size() - end.size(), 'x') + end;
  EXPECT_EQ(status_of(exchange(fits)), "HTTP/1.1 200 OK");
  const std::string beyond = start + std::string(AdminHttp::head_bytes_max - start.size() - end.size() + 1, 'x') + end;
  EXPECT_EQ(status_of(exchange(beyond)), "HTTP/1.1 431 Request Header Fields Too Large");
}

TEST_F(AdminHttpTest, closes_on_a_head_that_takes_too_long) {
  serve({.head = 50ms});
  EXPECT_EQ(exchange("GET /healthz HT"), "");
}

TEST_F(AdminHttpTest, closes_at_once_whom_the_list_does_not_allow) {
  ASSERT_TRUE(allow_from_.add("192.0.2.0/24"));
  serve();
  EXPECT_EQ(get("/healthz"), "");
}

TEST_F(AdminHttpTest, answers_every_probe_while_silent_connections_hold_all_places) {
  serve();
  std::vector<tcp::socket> held;
  for (std::size_t i = 0; i < AdminHttp::connections_max + 16; ++i) held.push_back(connect());
  for (int i = 0; i < 39; ++i) EXPECT_EQ(body_of(get("/healthz")), "ok\n") << i;
}

TEST_F(AdminHttpTest, closes_the_longest_silent_connection_when_it_is_full) {
  serve({.head = 60s});
  std::vector<tcp::socket> held;
  for (std::size_t i = 0; i < AdminHttp::connections_max; ++i) held.push_back(connect());
  EXPECT_EQ(body_of(get("/healthz")), "ok\n");
  EXPECT_TRUE(is_closed(held[0]));
  for (std::size_t i = 1; i < held.size(); ++i) EXPECT_FALSE(is_closed(held[i])) << i;
}

TEST_F(AdminHttpTest, spares_a_source_with_few_connections) {
  serve({.head = 60s});
  tcp::socket kubelet = connect("127.0.0.2");
  std::vector<tcp::socket> held;
  for (std::size_t i = 0; i < AdminHttp::connections_max; ++i) held.push_back(connect());
  EXPECT_EQ(body_of(get("/healthz")), "ok\n");
  EXPECT_FALSE(is_closed(kubelet));
  boost::asio::write(kubelet, boost::asio::buffer(std::string("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")));
  EXPECT_EQ(body_of(read_to_end(kubelet)), "ok\n");
}

TEST_F(AdminHttpTest, closes_clients_that_do_not_take_their_response_and_none_that_waits_for_an_answer) {
  std::promise<std::function<void(Readiness)>> asked;
  pages_.readiness = [&](auto done) { asked.set_value(done); };
  pages_.metrics = [](auto done) { done(std::string(1 << 20, 'x')); };
  serve({.head = 60s, .answer = 60s, .write = 60s});
  tcp::socket waiting = connect();
  boost::asio::write(waiting, boost::asio::buffer(std::string("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")));
  auto answer = asked.get_future();
  ASSERT_EQ(answer.wait_for(10s), std::future_status::ready);
  std::vector<tcp::socket> held;
  for (std::size_t i = 1; i < AdminHttp::connections_max; ++i) {
    held.push_back(connect());
    boost::asio::write(held.back(), boost::asio::buffer(std::string("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")));
    char first = 0;  // Part of the response is here, so it is being written.
    ASSERT_EQ(::recv(held.back().native_handle(), &first, 1, 0), 1);
  }
  EXPECT_EQ(body_of(get("/healthz")), "ok\n");
  answer.get()(Readiness{.ready = true, .reason = ""});
  EXPECT_EQ(body_of(read_to_end(waiting)), "ready\n");
}

TEST_F(AdminHttpTest, closes_what_comes_while_all_connections_wait_for_an_answer) {
  std::atomic<std::size_t> asked{0};
  pages_.readiness = [&](auto) { ++asked; };
  serve({.head = 60s, .answer = 60s});
  std::vector<tcp::socket> held;
  for (std::size_t i = 0; i < AdminHttp::connections_max; ++i) {
    held.push_back(connect());
    boost::asio::write(held.back(), boost::asio::buffer(std::string("GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")));
  }
  for (const auto deadline = std::chrono::steady_clock::now() + 10s;
       asked < AdminHttp::connections_max && std::chrono::steady_clock::now() < deadline;) {
    std::this_thread::yield();
  }
  EXPECT_EQ(get("/healthz"), "");
}

TEST_F(AdminHttpTest, says_what_to_do_when_the_port_is_taken) {
  serve();
  const auto second = AdminHttp::open({"127.0.0.1", server_->local_endpoint().port()}, {}, pages_, log_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, "listen.in_use");
  EXPECT_NE(second.error().text.find("choose another `listen` in [metrics]"), std::string::npos);
}

TEST_F(AdminHttpTest, listens_on_addresses_only) {
  EXPECT_EQ(AdminHttp::open({"example.com", 0}, {}, pages_, log_).error().code, "listen.refused");
  EXPECT_TRUE(AdminHttp::open({"localhost", 0}, {}, pages_, log_));
}

}  // namespace
}  // namespace culvert
