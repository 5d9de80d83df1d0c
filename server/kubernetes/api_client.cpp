// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/api_client.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <utility>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/core.h>
#include <strings.h>

#include "common/http/head_check.hpp"
#include "common/net/deadline.hpp"

namespace culvert::server {

namespace asio = boost::asio;
namespace json = boost::json;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

namespace {

constexpr auto dial_time_max = 10s;
constexpr auto answer_time_max = 30s;
constexpr auto token_time_max = 10s;
constexpr auto token_age_max = 10s;  ///< The kubelet writes a new one long before the old one expires.
constexpr auto patience_max = 30s;   ///< Longest wait that Retry-After is followed for.
constexpr int patient_tries = 3;
constexpr std::size_t answer_bytes_max = 64 << 20;  ///< A page of 500 objects; each of them 1.5 MiB at most.
constexpr std::size_t line_bytes_max = 4 << 20;
constexpr std::size_t idle_max = 4;
constexpr double requests_per_second = 50;
constexpr double requests_burst = 100;

/// A body may have a join token.
struct Wiped {
  std::string text;
  explicit Wiped(std::string body) : text(std::move(body)) {}
  Wiped(const Wiped&) = delete;
  Wiped& operator=(const Wiped&) = delete;
  ~Wiped() { ::explicit_bzero(text.data(), text.size()); }
};

std::optional<std::chrono::seconds> retry_after(const http::ResponseHead& head) {
  const auto value = head.fields.find("Retry-After");
  int seconds = 0;
  if (!value || std::from_chars(value->data(), value->data() + value->size(), seconds).ec != std::errc() || seconds < 0)
    return std::nullopt;
  return std::chrono::seconds(seconds);
}

}  // namespace

std::string ApiAnswer::error_text() const {
  const json::object* object = body.if_object();
  const json::value* message = object == nullptr ? nullptr : object->if_contains("message");
  return fmt::format("{} {}", status,
                     message != nullptr && message->is_string() ? std::string_view(message->get_string()) : "");
}

ApiClient::ApiClient(asio::any_io_executor executor, ApiAccess access)
    : executor_(std::move(executor)), access_(std::move(access)), dialer_(executor_) {}

/// The file is read off the loop, like every file that a program reads again while it runs.
asio::awaitable<Result<std::string>> ApiClient::token() {
  const auto now = Clock::now();
  if (!token_.empty() && now - token_read_ < token_age_max) co_return token_;
  const std::function read = [path = access_.token_file] {
    std::ifstream file(path);
    std::string text;
    (void)std::getline(file, text);
    return text;
  };
  auto text = co_await offload_.run(read, now + token_time_max);
  if (!text || text->empty())
    co_return fail("kubernetes.no_token", fmt::format("{} {}", access_.token_file.string(),
                                                      text ? "has no token in its first line"
                                                           : "was not read in time: does its file system answer?"));
  token_ = std::move(*text);
  token_read_ = now;
  co_return token_;
}

asio::awaitable<Result<http::RequestHead>> ApiClient::request_of(std::string_view method, std::string_view path,
                                                                 std::size_t body_bytes,
                                                                 std::string_view content_type) {
  http::RequestHead head;
  head.method = method;
  head.scheme = access_.tls ? http::Scheme::https : http::Scheme::http;
  head.authority = access_.server;
  const std::size_t question = std::min(path.find('?'), path.size());
  head.path = path.substr(0, question);
  head.query = path.substr(question);
  head.fields.add("Accept", "application/json");
  head.fields.add("User-Agent", "culvert-server/" CULVERT_VERSION);
  if (body_bytes > 0) {
    head.fields.add("Content-Type", content_type);
    head.framing = {http::Framing::Kind::length, body_bytes};
  }
  if (!access_.token_file.empty()) {
    auto bearer = co_await token();
    if (!bearer) co_return std::unexpected(bearer.error());
    head.fields.add("Authorization", "Bearer " + *bearer);
  }
  if (const http::Flaw flaw = http::flaw_of(head)) co_return fail("kubernetes.malformed", std::string(flaw->text));
  co_return head;
}

/// 50 a second after a burst of 100, as controllers on client-go are commonly configured: a defect must not become a
/// load on the API server, and thousands of statuses must not take many minutes.
asio::awaitable<void> ApiClient::wait_for_rate() {
  const auto now = Clock::now();
  const double passed = std::chrono::duration<double>(now - std::exchange(rate_counted_, now)).count();
  requests_left_ = std::min(requests_burst, requests_left_ + passed * requests_per_second) - 1;
  if (requests_left_ < 0)
    co_await wait_for(std::chrono::milliseconds(static_cast<int>(-requests_left_ / requests_per_second * 1'000)));
}

asio::awaitable<Result<std::unique_ptr<WebConnection>>> ApiClient::connect(Deadline deadline) {
  DialTarget target{access_.server, {}};
  if (!access_.tls) target.allows = [](const asio::ip::address& address) { return address.is_loopback(); };
  co_return co_await WebConnection::open(dialer_, std::move(target), access_.tls ? &*access_.tls : nullptr, deadline);
}

/// Sends the request over an idle connection, or over a new one if those have been closed by the server meanwhile.
asio::awaitable<Result<ApiClient::Asked>> ApiClient::ask(const http::RequestHead& request, std::string_view body,
                                                         Deadline deadline) {
  while (!idle_.empty()) {
    auto connection = std::move(idle_.back());
    idle_.pop_back();
    auto head = co_await connection->ask(request, body, deadline);
    if (head) co_return Asked{std::move(connection), std::move(*head)};
    // The other idle connections are likely to be half-open, too: the next calls must not wait for each of them.
    if (head.error().code == "fetch.timed_out") idle_.clear();
    if (head.error().code != "fetch.broken_off") co_return std::unexpected(head.error());
  }
  auto connection = co_await connect(std::min(deadline, Clock::now() + dial_time_max));
  if (!connection) co_return std::unexpected(connection.error());
  auto head = co_await (*connection)->ask(request, body, deadline);
  if (!head) co_return std::unexpected(head.error());
  co_return Asked{std::move(*connection), std::move(*head)};
}

asio::awaitable<Result<ApiAnswer>> ApiClient::read_answer(Asked asked, Deadline deadline) {
  auto text = co_await asked.connection->read_all(answer_bytes_max, deadline);
  if (!text) co_return std::unexpected(text.error());
  ApiAnswer answer{asked.head.status, {}, retry_after(asked.head)};
  if (answer.status == 401) token_.clear();  // The next call reads the file again.
  boost::system::error_code malformed;
  answer.body = json::parse(*text, malformed);
  // A proxy in between may send an error as plain text.
  if (malformed && answer.is_good())
    co_return fail("kubernetes.malformed", "the API server's answer is not JSON: " + malformed.message());
  if (malformed) answer.body = nullptr;
  if (asked.connection->may_ask_again() && idle_.size() < idle_max) idle_.push_back(std::move(asked.connection));
  co_return answer;
}

asio::awaitable<Result<ApiAnswer>> ApiClient::call_once(const http::RequestHead& request, std::string_view body,
                                                        std::chrono::seconds time_max) {
  const Deadline deadline = Clock::now() + time_max;
  auto asked = co_await ask(request, body, deadline);
  Result<ApiAnswer> answer = std::unexpected(asked ? Error{} : asked.error());
  if (asked) answer = co_await read_answer(std::move(*asked), deadline);
  ++(!answer ? counts_.failed : answer->is_good() ? counts_.good : counts_.refused);
  co_return answer;
}

asio::awaitable<Result<ApiAnswer>> ApiClient::call(std::string_view method, std::string_view path,
                                                   std::optional<json::value> body, std::string_view content_type,
                                                   std::chrono::seconds time_max) {
  const Wiped sent(body ? json::serialize(*body) : "");
  const std::string& text = sent.text;
  body.reset();
  for (int tries = 1;; ++tries) {
    co_await wait_for_rate();
    const auto request = co_await request_of(method, path, text.size(), content_type);
    if (!request) co_return std::unexpected(request.error());
    auto answer = co_await call_once(*request, text, time_max);
    if (!answer || answer->status != 429 || tries == patient_tries) co_return answer;
    co_await wait_for(std::min<std::chrono::seconds>(answer->retry_after.value_or(1s), patience_max));
  }
}

asio::awaitable<Result<ApiAnswer>> ApiClient::watch(std::string_view path, std::chrono::seconds time_max,
                                                    std::function<bool(std::string_view line)> on_line) {
  co_await wait_for_rate();
  const auto request = co_await request_of("GET", path, 0, "");
  if (!request) co_return std::unexpected(request.error());
  auto asked = co_await ask(*request, "", Clock::now() + answer_time_max);
  if (!asked) co_return std::unexpected(asked.error());
  if (asked->head.status != 200) co_return co_await read_answer(std::move(*asked), Clock::now() + answer_time_max);
  const Deadline deadline = Clock::now() + time_max;
  std::string text;
  for (;;) {
    auto more = co_await asked->connection->read_some(deadline);
    if (!more) co_return std::unexpected(more.error());
    if (more->empty()) co_return ApiAnswer{200, nullptr, {}};
    std::size_t begin = 0;
    const std::size_t seen = text.size();
    text += *more;
    for (std::size_t end = text.find('\n', seen); end != text.npos; end = text.find('\n', begin)) {
      if (!on_line(std::string_view(text).substr(begin, end - begin))) co_return ApiAnswer{200, nullptr, {}};
      begin = end + 1;
    }
    text.erase(0, begin);
    if (text.size() > line_bytes_max) co_return fail("kubernetes.malformed", "an event of a watch is above 4 MiB");
  }
}

}  // namespace culvert::server
