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
#include "common/tls/tls_context.hpp"
#include "server/web_connection.hpp"

namespace culvert::server {

/// Where the Kubernetes API is, and who we are there. A value; make it by load().
struct ApiAccess {
  Endpoint server;
  std::optional<TlsContext> tls;     ///< None: http://, which only loopback may be.
  std::filesystem::path token_file;  ///< Read again as it rotates. Empty: a client certificate says who we are.
};

struct ApiAnswer {
  int status = 0;
  boost::json::value body;
  std::optional<std::chrono::seconds> retry_after;
  bool is_good() const { return status >= 200 && status < 300; }
  /// What the API says was wrong: its Status object, in one line.
  std::string complaint() const;
};

/// Asks the API server, one request per connection at a time, over connections that are kept. At home. Every call
/// throws operation_aborted when it is stopped.
class ApiClient {
 public:
  ApiClient(boost::asio::any_io_executor executor, ApiAccess access);

  /// Any answer of the server is one, whatever its status; only "429 Too Many Requests" is waited for and asked again,
  /// three times. `time_max` is that of each question. At most 50 requests a second go out, after 100 at once. Errors:
  /// WebConnection's, and "kubernetes.malformed" (no JSON), "kubernetes.no_token".
  boost::asio::awaitable<Result<ApiAnswer>> call(std::string_view method, std::string_view path,
                                                 std::optional<boost::json::value> body = std::nullopt,
                                                 std::string_view content_type = "application/json",
                                                 std::chrono::seconds time_max = std::chrono::seconds(30));
  boost::asio::awaitable<Result<ApiAnswer>> get(std::string_view path) { return call("GET", path); }

  /// A watch: gives each line, which is an event, as it comes, until `on_line` says false, the server ends the answer
  /// (a good end), or something breaks. An answer that is no stream comes back as it is. Code "kubernetes.malformed"
  /// for a line above 4 MiB.
  boost::asio::awaitable<Result<ApiAnswer>> watch(std::string_view path, std::chrono::seconds time_max,
                                                  std::function<bool(std::string_view line)> on_line);

  /// What became of all questions.
  struct Counts {
    std::uint64_t good = 0;
    std::uint64_t refused = 0;  ///< An error of the API server's.
    std::uint64_t failed = 0;   ///< No answer.
  };
  const Counts& counts() const { return counts_; }

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
  boost::asio::awaitable<void> take_turn();
  Result<http::RequestHead> request_of(std::string_view method, std::string_view path, std::size_t body_bytes,
                                       std::string_view content_type);
  Result<std::string> token();

  boost::asio::any_io_executor executor_;
  const ApiAccess access_;
  Dialer dialer_;
  std::vector<std::unique_ptr<WebConnection>> idle_;
  std::string token_;
  std::chrono::steady_clock::time_point token_read_;
  Counts counts_;
  double turns_ = 100;
  std::chrono::steady_clock::time_point turns_counted_ = std::chrono::steady_clock::now();
};

}  // namespace culvert::server
