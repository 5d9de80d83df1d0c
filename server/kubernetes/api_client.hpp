// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/json/value.hpp>

#include "common/net/dialer.hpp"
#include "common/net/offload.hpp"
#include "common/tls/tls_context.hpp"
#include "server/kubernetes/api_counts.hpp"
#include "server/web/web_connection.hpp"

namespace culvert::server {

/// Where the Kubernetes API is, and how the server proves its identity there. A value, made by load_access().
struct ApiAccess {
  Endpoint server;
  std::optional<TlsContext> tls;     ///< None: http://, which is for loopback only.
  std::filesystem::path token_file;  ///< Read again as it rotates. Empty: a client certificate is the identity.
};

struct ApiAnswer {
  int status = 0;
  boost::json::value body;
  std::optional<std::chrono::seconds> retry_after;
  bool is_good() const { return status >= 200 && status < 300; }
  /// The status and the message of the Status object with which the API reports an error, in one line.
  std::string error_text() const;
};

/// A client of the API server: one request per connection at a time, over connections that are kept open. At home.
/// Every call throws operation_aborted when it is stopped.
class ApiClient {
 public:
  ApiClient(boost::asio::any_io_executor executor, ApiAccess access);

  /// Returns the server's answer, whatever its status. Only "429 Too Many Requests" is retried, up to three requests in
  /// all. `time_max` is the time for each request. At most 50 requests a second are sent, after a burst of 100. Errors:
  /// WebConnection's, "kubernetes.malformed" (the answer is not JSON), "kubernetes.no_token".
  boost::asio::awaitable<Result<ApiAnswer>> call(std::string_view method, std::string_view path,
                                                 std::optional<boost::json::value> body = std::nullopt,
                                                 std::string_view content_type = "application/json",
                                                 std::chrono::seconds time_max = std::chrono::seconds(30));
  boost::asio::awaitable<Result<ApiAnswer>> get(std::string_view path) { return call("GET", path); }

  /// Passes each line of a watch, which is one event, to `on_line` as it comes. Returns when `on_line` returns false or
  /// when the server ends the answer, which is success; and an answer of another status than 200 as it is. Code
  /// "kubernetes.malformed" for a line above 4 MiB.
  boost::asio::awaitable<Result<ApiAnswer>> watch(std::string_view path, std::chrono::seconds time_max,
                                                  std::function<bool(std::string_view line)> on_line);

  const ApiCounts& counts() const { return counts_; }

 private:
  struct Asked {
    std::unique_ptr<WebConnection> connection;
    http::ResponseHead head;
  };
  boost::asio::awaitable<Result<ApiAnswer>> call_once(const http::RequestHead& request, std::string_view body,
                                                      std::chrono::seconds time_max);
  boost::asio::awaitable<Result<Asked>> ask(const http::RequestHead& request, std::string_view body, Deadline deadline);
  boost::asio::awaitable<Result<ApiAnswer>> read_answer(Asked asked, Deadline deadline);
  boost::asio::awaitable<Result<std::unique_ptr<WebConnection>>> connect(Deadline deadline);
  boost::asio::awaitable<void> wait_for_rate();
  boost::asio::awaitable<Result<http::RequestHead>> request_of(std::string_view method, std::string_view path,
                                                               std::size_t body_bytes, std::string_view content_type);
  boost::asio::awaitable<Result<std::string>> token();

  boost::asio::any_io_executor executor_;
  const ApiAccess access_;
  Dialer dialer_;
  Offload offload_;
  std::vector<std::unique_ptr<WebConnection>> idle_;
  std::string token_;
  std::chrono::steady_clock::time_point token_read_;
  ApiCounts counts_;
  double requests_left_ = 100;
  std::chrono::steady_clock::time_point rate_counted_ = std::chrono::steady_clock::now();
};

}  // namespace culvert::server
