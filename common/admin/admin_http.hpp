// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/ip/tcp.hpp>

#include "common/admin/admin_thread.hpp"
#include "common/admin/log.hpp"
#include "common/admin/readiness.hpp"
#include "common/base/error.hpp"
#include "common/net/allow_list.hpp"
#include "common/net/endpoint.hpp"

namespace culvert {

/// Sources of AdminHttp's pages. Each question is asked on AdminHttp's thread and must not block it; the answer may
/// come later, from any thread.
struct AdminPages {
  /// The page in Prometheus' text format, from Metrics::scrape().
  Question<std::string> metrics;
  /// The data workers must answer it, since it tests the path that serves clients.
  Question<Readiness> readiness;
};

/// Serves GET and HEAD of /metrics, /healthz (200 while the process lives) and /readyz (200, or 503 with the reason) on
/// one TCP port, in plain HTTP/1.1, one exchange per connection. Has its own thread. To move it to another address,
/// destroy it and open a new one.
///
/// A probe always finds a place: where all connections are taken, one that only waits for its client is closed for it.
class AdminHttp {
 public:
  static constexpr std::size_t head_bytes_max = 8192;
  static constexpr std::size_t connections_max = 64;

  /// Only tests change the defaults.
  struct Limits {
    std::chrono::steady_clock::duration head = std::chrono::seconds(2);    ///< From accept to the end of the head.
    std::chrono::steady_clock::duration answer = std::chrono::seconds(5);  ///< For an answer of AdminPages; then 503.
    std::chrono::steady_clock::duration write = std::chrono::seconds(10);  ///< For the client to take the response.
  };

  /// Binds and starts. `listen.host` is an IP address or "localhost". A connection that `allow_from` does not allow is
  /// closed at accept. Errors: "listen.invalid", "listen.in_use", "listen.refused". `log` must outlive it.
  static Result<std::unique_ptr<AdminHttp>> open(const Endpoint& listen, AllowList allow_from, AdminPages pages,
                                                 Log& log, Limits limits);
  static Result<std::unique_ptr<AdminHttp>> open(const Endpoint& listen, AllowList allow_from, AdminPages pages,
                                                 Log& log) {
    return open(listen, std::move(allow_from), std::move(pages), log, Limits{});
  }

  /// The address it listens on, with the port that the system chose for port 0.
  boost::asio::ip::tcp::endpoint local_endpoint() const { return local_; }

 private:
  struct Reply;
  struct Connection;

  AdminHttp(AllowList allow_from, AdminPages pages, Log& log, Limits limits);
  boost::asio::awaitable<void> accept(boost::asio::ip::tcp::acceptor acceptor);
  bool make_room();
  boost::asio::awaitable<void> serve(std::unique_ptr<Connection> connection);
  boost::asio::awaitable<Reply> answer(std::string target);

  AllowList allow_from_;
  AdminPages pages_;
  Log& log_;
  Limits limits_;
  boost::asio::ip::tcp::endpoint local_;
  std::vector<Connection*> connections_;  ///< Open ones, in the order of their accepts. On the thread.
  AdminThread thread_;
};

}  // namespace culvert
