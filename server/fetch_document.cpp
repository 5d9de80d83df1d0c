// SPDX-License-Identifier: Apache-2.0
#include "server/fetch_document.hpp"

#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/write.hpp>
#include <fmt/core.h>

#include "common/http/body_reader.hpp"
#include "common/http/head_check.hpp"
#include "common/http/head_writer.hpp"
#include "common/http/response_parser.hpp"
#include "common/http/target.hpp"
#include "common/net/deadline.hpp"
#include "common/tls/tls_connect.hpp"
#include "protocol/check.hpp"

namespace culvert::server {

namespace asio = boost::asio;

namespace {

/// A connection to a web server, with or without TLS.
struct Line {
  Line(const asio::any_io_executor& executor, Deadline until) : socket(executor), timer(executor), deadline(until) {}

  asio::posix::stream_descriptor socket;
  asio::steady_timer timer;
  Deadline deadline;
  std::unique_ptr<TlsEngine> engine;
  SendBuffer sealed{4 << 10};
  std::vector<std::byte> received = std::vector<std::byte>(16 << 10);
  std::span<const std::byte> unread;  ///< With TLS: ciphertext that came with the handshake.
};

Error broken_off(const boost::system::error_code& error) {
  if (error == asio::error::timed_out) return {"fetch.timed_out", "the server did not answer in time"};
  return {"fetch.broken_off", fmt::format("the connection broke: {}", error.message())};
}

asio::awaitable<Result<void>> send(Line& line, std::string_view text) {
  auto bytes = std::as_bytes(std::span(text));
  if (line.engine) {
    line.engine->set_output(line.sealed);
    if (!line.engine->write(bytes)) co_return std::unexpected(line.engine->error());
    bytes = line.sealed.bytes();
  }
  auto sending = asio::async_write(line.socket, asio::buffer(bytes.data(), bytes.size()), asio::deferred);
  const IoResult sent = co_await with_deadline(std::move(sending), line.timer, line.deadline);
  co_await throw_if_stopped();
  if (sent.error) co_return std::unexpected(broken_off(sent.error));
  co_return Result<void>();
}

/// Appends what comes next. False: the server has ended its direction in order.
asio::awaitable<Result<bool>> receive(Line& line, std::string& text) {
  std::vector<std::byte> opened(line.engine ? 16 << 10 : 0);
  for (;;) {
    std::span<const std::byte> came = std::exchange(line.unread, {});
    if (came.empty()) {
      auto receiving = line.socket.async_read_some(asio::buffer(line.received), asio::deferred);
      const IoResult read = co_await with_deadline(std::move(receiving), line.timer, line.deadline);
      co_await throw_if_stopped();
      // With TLS only close_notify is an end: whoever cuts the connection must not be able to cut the body short.
      if (read.error == asio::error::eof && !line.engine) co_return false;
      if (read.error) co_return std::unexpected(broken_off(read.error));
      came = std::span(line.received).first(read.size);
    }
    if (!line.engine) {
      text.append(reinterpret_cast<const char*>(came.data()), came.size());
      co_return true;
    }
    line.engine->set_output(line.sealed);
    line.engine->feed(came);
    for (bool is_new = false;;) {
      const auto [step, bytes] = line.engine->read(opened);
      if (step == TlsEngine::Step::failed) co_return std::unexpected(line.engine->error());
      if (step == TlsEngine::Step::closed) co_return is_new;
      if (step == TlsEngine::Step::wants_input && is_new) co_return true;
      if (step == TlsEngine::Step::wants_input) break;
      text.append(reinterpret_cast<const char*>(opened.data()), bytes);
      is_new = true;
    }
  }
}

std::unexpected<Error> malformed(const http::Refusal& refusal) {
  return fail("fetch.malformed", fmt::format("the answer breaks a rule of HTTP: {}", refusal.text));
}

/// Leaves in `text` what came behind the head.
asio::awaitable<Result<http::BodyReader>> read_head(Line& line, std::string& text) {
  http::ResponseParser parser;
  parser.begin({});
  for (;;) {
    const http::Parsed parsed = parser.parse(text);
    if (parsed == http::Parsed::refused) co_return malformed(parser.refusal());
    if (parsed == http::Parsed::complete) {
      text.erase(0, parser.used());
      const int status = parser.head().status;
      if (status == 200) co_return http::BodyReader(parser.hop().transfer, parser.head().framing.length);
      if (!http::is_interim(status))
        co_return fail("fetch.status", fmt::format("the server answered with status {} instead of 200", status));
      parser.resume();
      continue;
    }
    const auto more = co_await receive(line, text);
    if (!more) co_return std::unexpected(more.error());
    if (!*more) co_return fail("fetch.broken_off", "the server closed the connection instead of answering");
  }
}

asio::awaitable<Result<std::string>> read_document(Line& line, std::size_t bytes_max) {
  using Kind = http::BodyReader::Piece::Kind;
  std::string text;
  auto body = co_await read_head(line, text);
  if (!body) co_return std::unexpected(body.error());
  std::string document;
  for (;;) {
    const auto piece = body->next(std::as_bytes(std::span(text)));
    document.append(reinterpret_cast<const char*>(piece.data.data()), piece.data.size());
    text.erase(0, piece.used);
    if (document.size() > bytes_max)
      co_return fail("fetch.too_large", fmt::format("the document is above {} bytes", bytes_max));
    if (piece.kind == Kind::refused) co_return malformed(body->refusal());
    if (piece.kind == Kind::end) co_return document;
    if (piece.kind == Kind::data) continue;
    const auto more = co_await receive(line, text);
    if (!more) co_return std::unexpected(more.error());
    if (*more) continue;
    if (!body->finish()) co_return fail("fetch.broken_off", "the server closed the connection in the middle");
    co_return document;
  }
}

}  // namespace

Result<http::RequestHead> parse_document_url(std::string_view url) {
  const auto malformed_url = [] {
    return fail("config.malformed",
                "must be an URL like https://host[:port]/path without user and fragment; http:// is taken for this "
                "machine's own 127.0.0.1 or localhost only");
  };
  http::RequestHead head;
  head.method = "GET";
  if (url.starts_with("https://")) {
    head.scheme = http::Scheme::https;
  } else if (!url.starts_with("http://")) {
    return malformed_url();
  }
  url.remove_prefix(url.find("//") + 2);
  const std::size_t slash = std::min(url.find_first_of("/?#"), url.size());
  const auto authority = http::parse_authority(url.substr(0, slash), http::default_port(head.scheme));
  if (!authority) return malformed_url();
  const std::string target(slash == url.size() ? "/" : url.substr(slash));
  if (http::parse_target(target, http::Role::origin, head) != nullptr) return malformed_url();
  head.authority = *authority;  // parse_target() knows of none in this form.
  if (head.scheme == http::Scheme::http && !is_loopback(head.authority.host)) return malformed_url();
  head.fields.add("Accept", "application/json");
  head.fields.add("User-Agent", "culvert-server");
  if (http::flaw_of(head) != nullptr) return malformed_url();
  return head;
}

asio::awaitable<Result<std::string>> fetch_document(Dialer& dialer, http::RequestHead request,
                                                    std::optional<TlsContext> tls, std::size_t bytes_max,
                                                    Deadline deadline) {
  check((request.scheme == http::Scheme::https) == tls.has_value(), "https:// and nothing else is asked by TLS");
  DialTarget target{request.authority, {}};
  if (!tls) target.allows = [](const asio::ip::address& address) { return address.is_loopback(); };
  auto dialed = co_await dialer.dial(std::move(target), deadline);
  if (!dialed) co_return std::unexpected(dialed.error());

  Line line(co_await asio::this_coro::executor, deadline);
  UniqueFd fd = std::move(dialed->fd);
  std::vector<std::byte> unread;
  if (tls) {
    auto secured = co_await tls_connect(std::move(fd), tls->make_ssl(), request.authority.host, deadline);
    if (!secured) co_return std::unexpected(secured.error());
    fd = std::move(secured->fd);
    line.engine = std::move(secured->engine);
    unread = std::move(secured->unread);
    line.unread = unread;
  }
  boost::system::error_code unwatchable;
  line.socket.assign(fd.get(), unwatchable);
  if (unwatchable) co_return fail("dial.no_descriptors", "cannot watch the socket: " + unwatchable.message());
  fd.release();

  std::string head;
  http::write_request(head, request, http::AfterThis::close);
  const auto sent = co_await send(line, head);
  if (!sent) co_return std::unexpected(sent.error());
  co_return co_await read_document(line, bytes_max);
}

}  // namespace culvert::server
