// SPDX-License-Identifier: Apache-2.0
#include "server/web/web_connection.hpp"

#include <utility>

#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <fmt/core.h>

#include "common/http/head_writer.hpp"
#include "common/http/response_parser.hpp"
#include "common/net/deadline.hpp"
#include "common/tls/tls_connect.hpp"

namespace culvert::server {

namespace asio = boost::asio;

namespace {

Error broken_off(const boost::system::error_code& error) {
  if (error == asio::error::timed_out) return {"fetch.timed_out", "the server did not answer in time"};
  return {"fetch.broken_off", fmt::format("the connection broke: {}", error.message())};
}

std::unexpected<Error> malformed(const http::Refusal& refusal) {
  return fail("fetch.malformed", fmt::format("the answer breaks a rule of HTTP: {}", refusal.text));
}

}  // namespace

asio::awaitable<Result<std::unique_ptr<WebConnection>>> WebConnection::open(Dialer& dialer, DialTarget target,
                                                                            const TlsContext* tls, Deadline deadline) {
  std::string host = target.endpoint.host;
  auto dialed = co_await dialer.dial(std::move(target), deadline);
  if (!dialed) co_return std::unexpected(dialed.error());
  co_return co_await begin(std::move(dialed->fd), std::move(host), tls, deadline);
}

asio::awaitable<Result<std::unique_ptr<WebConnection>>> WebConnection::begin(UniqueFd fd, std::string host,
                                                                             const TlsContext* tls, Deadline deadline) {
  std::unique_ptr<WebConnection> connection(new WebConnection(co_await asio::this_coro::executor));
  if (tls != nullptr) {
    auto secured = co_await tls_connect(std::move(fd), tls->make_ssl(), host, deadline);
    if (!secured) co_return std::unexpected(secured.error());
    fd = std::move(secured->fd);
    connection->engine_ = std::move(secured->engine);
    connection->early_ = std::move(secured->unread);
  }
  boost::system::error_code unwatchable;
  connection->socket_.assign(fd.get(), unwatchable);
  if (unwatchable) co_return fail("dial.no_descriptors", "cannot watch the socket: " + unwatchable.message());
  fd.release();
  co_return connection;
}

asio::awaitable<Result<void>> WebConnection::send(std::string_view text, Deadline deadline) {
  auto bytes = std::as_bytes(std::span(text));
  if (engine_) {
    engine_->set_output(sealed_);
    if (!engine_->write(bytes)) co_return std::unexpected(engine_->error());
    bytes = sealed_.bytes();
  }
  auto sending = asio::async_write(socket_, asio::buffer(bytes.data(), bytes.size()), asio::deferred);
  const IoResult sent = co_await with_deadline(std::move(sending), timer_, deadline);
  co_await throw_if_stopped();
  if (sent.error) co_return std::unexpected(broken_off(sent.error));
  if (engine_) sealed_.drop(bytes.size());
  co_return Result<void>();
}

/// Appends the next bytes to text_. False: the server has ended its direction as it should.
asio::awaitable<Result<bool>> WebConnection::receive(Deadline deadline) {
  std::vector<std::byte> opened(engine_ ? 16 << 10 : 0);
  for (;;) {
    std::vector<std::byte> early = std::exchange(early_, {});
    std::span<const std::byte> came = early;
    if (came.empty()) {
      auto receiving = socket_.async_read_some(asio::buffer(received_), asio::deferred);
      const IoResult read = co_await with_deadline(std::move(receiving), timer_, deadline);
      co_await throw_if_stopped();
      // With TLS only close_notify is an end: an attacker who cuts the connection must not be able to shorten the body.
      if (read.error == asio::error::eof && !engine_) co_return false;
      if (read.error) co_return std::unexpected(broken_off(read.error));
      came = std::span(received_).first(read.size);
    }
    if (!engine_) {
      text_.append(reinterpret_cast<const char*>(came.data()), came.size());
      co_return true;
    }
    engine_->set_output(sealed_);
    engine_->feed(came);
    for (bool is_new = false;;) {
      const auto [step, bytes] = engine_->read(opened);
      if (step == TlsEngine::Step::failed) co_return std::unexpected(engine_->error());
      if (step == TlsEngine::Step::closed) co_return is_new;
      if (step == TlsEngine::Step::wants_input && is_new) co_return true;
      if (step == TlsEngine::Step::wants_input) break;
      text_.append(reinterpret_cast<const char*>(opened.data()), bytes);
      is_new = true;
    }
  }
}

asio::awaitable<Result<http::ResponseHead>> WebConnection::ask(const http::RequestHead& request, std::string_view body,
                                                               Deadline deadline) {
  reusable_ = false;
  std::string message;
  http::write_request(message, request, http::AfterThis::keep);
  message += body;
  const auto sent = co_await send(message, deadline);
  if (!sent) co_return std::unexpected(sent.error());
  http::ResponseParser parser;
  parser.begin(http::asked_by(request));
  for (;;) {
    const http::Parsed parsed = parser.parse(text_);
    if (parsed == http::Parsed::refused) co_return malformed(parser.refusal());
    if (parsed == http::Parsed::complete) {
      text_.erase(0, parser.used());
      if (http::is_interim(parser.head().status)) {
        parser.resume();
        continue;
      }
      body_ = http::BodyReader(parser.hop().transfer, parser.head().framing.length, http::BodyReader::Padding::taken);
      keeps_ = !parser.hop().close && parser.hop().transfer != http::Transfer::until_close;
      co_return std::move(parser.head());
    }
    const auto more = co_await receive(deadline);
    if (!more) co_return std::unexpected(more.error());
    if (!*more) co_return fail("fetch.broken_off", "the server closed the connection instead of answering");
  }
}

asio::awaitable<Result<std::string>> WebConnection::read_some(Deadline deadline) {
  using Kind = http::BodyReader::Piece::Kind;
  for (;;) {
    const auto piece = body_.next(std::as_bytes(std::span(text_)));
    std::string data(reinterpret_cast<const char*>(piece.data.data()), piece.data.size());
    text_.erase(0, piece.used);
    if (piece.kind == Kind::refused) co_return malformed(body_.refusal());
    if (piece.kind == Kind::end) {
      reusable_ = keeps_ && text_.empty();
      co_return std::string();
    }
    if (piece.kind == Kind::data) co_return data;
    const auto more = co_await receive(deadline);
    if (!more) co_return std::unexpected(more.error());
    if (*more) continue;
    if (!body_.finish()) co_return fail("fetch.broken_off", "the server closed the connection in the middle");
    co_return std::string();
  }
}

asio::awaitable<Result<std::string>> WebConnection::read_all(std::size_t bytes_max, Deadline deadline) {
  std::string all;
  for (;;) {
    auto more = co_await read_some(deadline);
    if (!more) co_return std::unexpected(more.error());
    if (more->empty()) co_return all;
    all += *more;
    if (all.size() > bytes_max)
      co_return fail("fetch.too_large", fmt::format("the document is above {} bytes", bytes_max));
  }
}

}  // namespace culvert::server
