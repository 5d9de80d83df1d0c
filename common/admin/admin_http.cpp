// SPDX-License-Identifier: Apache-2.0
#include "common/admin/admin_http.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <fmt/core.h>

#include "common/admin/longest_silent.hpp"
#include "common/net/socket_address.hpp"

namespace culvert {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using boost::system::error_code;
using tcp = asio::ip::tcp;
using Clock = std::chrono::steady_clock;

namespace {

constexpr auto accept_pause = std::chrono::milliseconds(100);  // threats C9
constexpr auto linger_max = std::chrono::seconds(1);
constexpr std::size_t linger_bytes_max = 65536;

Result<tcp::acceptor> bind(asio::io_context& context, const Endpoint& listen) {
  const auto local = address_to_listen(listen);
  if (!local) return std::unexpected(local.error());
  tcp::acceptor acceptor(context);
  error_code error;
  acceptor.open(local->protocol(), error);
  if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) acceptor.bind(*local, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error == asio::error::address_in_use) {
    return fail("listen.in_use", fmt::format("{} is in use by another program: stop that one, or choose another "
                                             "`listen` in [metrics]",
                                             to_string(listen)));
  }
  if (error) return fail("listen.refused", fmt::format("cannot listen on {}: {}", to_string(listen), error.message()));
  return acceptor;
}

/// Lets the peer read the answer before the close becomes a reset, because of the request's unread rest.
asio::awaitable<void> close_gently(beast::tcp_stream& stream) {
  error_code ignored;
  stream.socket().shutdown(tcp::socket::shutdown_send, ignored);
  stream.expires_after(linger_max);
  std::string rest(4096, '\0');
  for (std::size_t total = 0; total < linger_bytes_max;) {
    auto [error, size] = co_await stream.async_read_some(asio::buffer(rest), asio::as_tuple(asio::use_awaitable));
    if (error) co_return;
    total += size;
  }
}

template <typename Body>
asio::awaitable<void> write(beast::tcp_stream& stream, http::response<Body>& response) {
  (void)co_await http::async_write(stream, response, asio::as_tuple(asio::use_awaitable));
}

}  // namespace

struct AdminHttp::Reply {
  Reply(http::status reply_status, std::string reply_text) : status(reply_status), text(std::move(reply_text)) {}

  http::status status;
  std::string text;
  std::string_view content_type = "text/plain; charset=utf-8";
};

/// One connection, owned by the coroutine that serves it, and in the list of all until it ends.
struct AdminHttp::Connection {
  Connection(std::vector<Connection*>& all_connections, tcp::socket socket, const asio::ip::address& source)
      : all(all_connections), stream(std::move(socket)), wait{source, Clock::now()} {
    all.push_back(this);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() { std::erase(all, this); }

  std::vector<Connection*>& all;
  beast::tcp_stream stream;
  ClientWait wait;
};

Result<std::unique_ptr<AdminHttp>> AdminHttp::open(const Endpoint& listen, AllowList allow_from, AdminPages pages,
                                                   Log& log, Limits limits) {
  std::unique_ptr<AdminHttp> server(new AdminHttp(std::move(allow_from), std::move(pages), log, limits));
  auto acceptor = bind(*server->thread_.context(), listen);
  if (!acceptor) return std::unexpected(acceptor.error());
  server->local_ = acceptor->local_endpoint();
  server->thread_.start(server->accept(std::move(*acceptor)));
  return server;
}

AdminHttp::AdminHttp(AllowList allow_from, AdminPages pages, Log& log, Limits limits)
    : allow_from_(std::move(allow_from)),
      pages_(std::move(pages)),
      log_(log),
      limits_(limits),
      thread_("admin-http", log) {}

asio::awaitable<void> AdminHttp::accept(tcp::acceptor acceptor) {
  asio::steady_timer pause(acceptor.get_executor());
  for (;;) {
    auto [error, socket] = co_await acceptor.async_accept(asio::as_tuple(asio::use_awaitable));
    if (thread_.tasks().is_stopping()) co_return;
    if (error) {
      log_.limited(Log::Level::warn, "admin_http.accept_failed", {{"error", error.message()}});
      pause.expires_after(accept_pause);
      (void)co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
      continue;
    }
    error_code gone;
    const auto peer = socket.remote_endpoint(gone);
    if (gone) continue;
    if (!allow_from_.allows(peer.address())) {
      log_.limited(Log::Level::warn, "admin_http.denied", {{"source", peer.address().to_string()}});
    } else if (connections_.size() < connections_max || make_room()) {
      thread_.tasks().spawn(serve(std::make_unique<Connection>(connections_, std::move(socket), peer.address())));
    }
  }
}

/// Closes the connection that has waited longest for its client, so that silent connections keep no probe out. Returns
/// false if all of them wait for us.
bool AdminHttp::make_room() {
  log_.limited(Log::Level::warn, "admin_http.full", {{"connections_max", connections_max}});
  std::vector<ClientWait> waits;
  waits.reserve(connections_.size());
  for (const Connection* each : connections_) waits.push_back(each->wait);
  const auto longest = longest_silent(waits);
  if (!longest) return false;
  Connection& victim = *connections_[*longest];
  std::erase(connections_, &victim);
  victim.stream.close();
  return true;
}

asio::awaitable<void> AdminHttp::serve(std::unique_ptr<Connection> connection) {
  beast::tcp_stream& stream = connection->stream;
  stream.expires_after(limits_.head);
  // Bounds a head without line ends, which the parser's own limit does not.
  beast::flat_buffer buffer(head_bytes_max);
  http::request_parser<http::empty_body> parser;
  parser.header_limit(static_cast<std::uint32_t>(head_bytes_max));
  parser.body_limit(boost::none);  // No body is ever read: the method alone decides.
  auto [error, size] = co_await http::async_read_header(stream, buffer, parser, asio::as_tuple(asio::use_awaitable));
  // Beast counts the head without its last line, so the exact limit is checked here.
  const bool too_long =
      error == http::error::header_limit || error == http::error::buffer_overflow || size > head_bytes_max;
  const bool is_http =
      !error || too_long || error.category() == http::make_error_code(http::error::bad_method).category();
  if (!is_http || error == http::error::end_of_stream || error == http::error::partial_message) co_return;

  const http::verb method = parser.get().method();
  std::string target(parser.get().target());
  Reply reply(http::status::bad_request, "malformed request\n");
  if (too_long) {
    reply = Reply(http::status::request_header_fields_too_large, "the request's head is longer than 8 KiB\n");
  } else if (!error && method != http::verb::get && method != http::verb::head) {
    reply = Reply(http::status::method_not_allowed, "GET and HEAD only\n");
  } else if (!error) {
    connection->wait.since.reset();
    reply = co_await answer(std::move(target));
    connection->wait.since = Clock::now();
  }

  http::response<http::string_body> response(reply.status, 11);
  response.set(http::field::content_type, beast::string_view(reply.content_type.data(), reply.content_type.size()));
  response.set(http::field::cache_control, "no-store");
  if (reply.status == http::status::method_not_allowed) response.set(http::field::allow, "GET, HEAD");
  response.keep_alive(false);
  response.content_length(reply.text.size());
  stream.expires_after(limits_.write);
  if (method == http::verb::head) {
    http::response<http::empty_body> head(std::move(response.base()));
    co_await write(stream, head);
  } else {
    response.body() = std::move(reply.text);
    co_await write(stream, response);
  }
  co_await close_gently(stream);
}

asio::awaitable<AdminHttp::Reply> AdminHttp::answer(std::string target) {
  const std::string path = target.substr(0, target.find('?'));
  if (path == "/healthz") co_return Reply(http::status::ok, "ok\n");
  if (path == "/readyz") {
    auto readiness = co_await ask<Readiness>(thread_.context(), pages_.readiness, limits_.answer);
    if (!readiness) co_return Reply(http::status::service_unavailable, "not ready: the workers do not answer\n");
    if (readiness->ready) co_return Reply(http::status::ok, "ready\n");
    co_return Reply(http::status::service_unavailable, "not ready: " + to_printable(readiness->reason) + "\n");
  }
  if (path == "/metrics") {
    auto page = co_await ask<std::string>(thread_.context(), pages_.metrics, limits_.answer);
    if (!page) co_return Reply(http::status::service_unavailable, "the workers do not answer\n");
    Reply reply(http::status::ok, std::move(*page));
    reply.content_type = "text/plain; version=0.0.4; charset=utf-8";
    co_return reply;
  }
  co_return Reply(http::status::not_found, "there are /metrics, /healthz and /readyz\n");
}

}  // namespace culvert
