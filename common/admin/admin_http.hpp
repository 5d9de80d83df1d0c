// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include <boost/asio/ip/tcp.hpp>

#include "common/admin/admin_thread.hpp"
#include "common/admin/log.hpp"
#include "common/base/error.hpp"
#include "common/net/allow_list.hpp"
#include "common/net/endpoint.hpp"

namespace culvert {

/// Whether the program can do its work now.
struct Readiness {
  bool ready = false;
  std::string reason;  ///< One line for a person; empty when ready.
};

/// What AdminHttp's pages are made from. Each is asked on its thread, must not block it, and may answer later from any
/// thread.
struct AdminPages {
  Question<std::string>
      metrics;  ///< The page in Prometheus' text format: Metrics::scrape(), after whatever has to be gathered.
  Question<Readiness> readiness;  ///< To be answered by the data workers, since it must test the path that serves.
};

/// GET and HEAD of /metrics, /healthz (200 while the process lives) and /readyz (200, or 503 with the reason) on one
/// TCP port, in plain HTTP/1.1, one exchange per connection. Its own thread. To move it to another address, destroy it
/// and open a new one.
class AdminHttp {
 public:
  static constexpr std::size_t head_bytes_max = 8192;
  static constexpr std::size_t connections_max = 64;

  /// For tests; everybody else takes the defaults.
  struct Limits {
    std::chrono::steady_clock::duration head =
        std::chrono::seconds(10);  ///< From accept to the end of the request's head; and again for writing.
    std::chrono::steady_clock::duration answer = std::chrono::seconds(5);  ///< For AdminPages; afterwards 503.
  };

  /// Binds and starts. `listen.host` is an IP address or "localhost". `allow_from` is asked at accept; whom it does not
  /// allow is closed at once. Errors: "listen.invalid", "listen.in_use", "listen.refused". `log` must outlive it.
  static Result<std::unique_ptr<AdminHttp>> open(const Endpoint& listen, AllowList allow_from, AdminPages pages,
                                                 Log& log, Limits limits);
  static Result<std::unique_ptr<AdminHttp>> open(const Endpoint& listen, AllowList allow_from, AdminPages pages,
                                                 Log& log) {
    return open(listen, std::move(allow_from), std::move(pages), log, Limits{});
  }

  /// Where it listens, with the port that was found for port 0.
  boost::asio::ip::tcp::endpoint local_endpoint() const { return local_; }

 private:
  struct Reply;

  AdminHttp(AllowList allow_from, AdminPages pages, Log& log, Limits limits);
  boost::asio::awaitable<void> accept(boost::asio::ip::tcp::acceptor acceptor);
  boost::asio::awaitable<void> serve(boost::asio::ip::tcp::socket socket);
  boost::asio::awaitable<Reply> answer(std::string target);

  AllowList allow_from_;
  AdminPages pages_;
  Log& log_;
  Limits limits_;
  boost::asio::ip::tcp::endpoint local_;
  AdminThread thread_;
};

}  // namespace culvert
