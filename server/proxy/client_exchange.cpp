// SPDX-License-Identifier: Apache-2.0
// The request: begin, then the upstream pulls the body. The response: on_response, push and on_finished write to the
// socket's output, which is sent in one call at the end of the turn.
#include "server/proxy/client_exchange.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "common/http/head_writer.hpp"
#include "common/http/web_dav.hpp"
#include "server/proxy/proxy_client.hpp"
#include "server/proxy/response_fields.hpp"

namespace culvert::server {

using protocol::Reason;
using protocol::Source;
using SocketState = DataSocket::State;

ClientExchange::ClientExchange(ProxyClient& client, http::RequestParser& parser)
    : client_(&client),
      head_(std::move(parser.head())),
      asked_(http::asked_by(head_)),
      body_(parser.hop().transfer, head_.framing.length),
      is_invited_(!head_.expect_continue) {
  course_.request = parser.hop();
  course_.request_is_complete = body_.is_complete();
}

/// At a port for one virtual host, clients know that host by another name: what WebDAV's fields name is renamed, too.
void ClientExchange::set_authority(const Endpoint& authority) {
  const Endpoint known_as = std::exchange(head_.authority, authority);
  if (known_as == authority || !http::has_dav_urls(head_.fields)) return;
  std::string host("http://");
  http::append_authority(host, authority, http::default_port(http::Scheme::http));
  // The agent refuses what is malformed.
  (void)http::map_dav_urls(head_.fields, [&](http::DavField, std::string_view url) {
    const auto rest = url.starts_with('/') ? std::nullopt : http::behind_host(url, known_as);
    return std::optional(rest ? host + std::string(*rest) : std::string(url));
  });
}

bool ClientExchange::ends_here() {
  if (head_.method != "OPTIONS" && head_.method != "TRACE") return false;
  const auto value = head_.fields.find("Max-Forwards");
  std::uint32_t hops = 0;
  if (!value) return false;
  const auto [end, error] = std::from_chars(value->data(), value->data() + value->size(), hops);
  if (error != std::errc() || end != value->data() + value->size()) return false;
  if (hops == 0) return true;
  head_.fields.set("Max-Forwards", std::to_string(hops - 1));
  return false;
}

void ClientExchange::begin(std::unique_ptr<Upstream> upstream) {
  upstream_ = std::move(upstream);
  upstream_->start();
}

void ClientExchange::resume(ProxyClient& client) {
  client_ = &client;
  upstream_->start();
}

void ClientExchange::set_readable() {
  if (upstream_) upstream_->set_readable();
}

void ClientExchange::on_accepted() {
  is_accepted_ = true;
  if (asked_.is_connect) begin_raw("HTTP/1.1 200 Connection established\r\n\r\n");
}

// ---- the request's body

StreamEnd::Pull ClientExchange::pull(std::span<std::byte> room) {
  // The next bytes may be of another protocol: only the answer shows whether the request ends here.
  const bool may_become_raw = asked_.is_connect || !asked_.upgrade.empty();
  if (may_become_raw && !is_raw_ && !response_) return {0, Source::blocked};
  const auto outcome = client_->socket().pull(room, body_);
  if (outcome.bytes > 0) {
    pace_.note_received(outcome.bytes);
    is_invited_ = true;  // The client did not wait for 100.
  }
  switch (outcome.state) {
    case SocketState::ready: return {outcome.bytes, Source::more};
    case SocketState::blocked: client_->note_read_all(); return {outcome.bytes, Source::blocked};
    case SocketState::ended: break;
    case SocketState::cut:
    case SocketState::failed:
      broke_off_ = true;
      client_->touch();
      return {0, Source::aborted, Reason::cancelled};
  }
  course_.request_is_complete = true;
  if (is_raw_ && course_.response_is_complete) client_->touch();
  return {outcome.bytes, Source::ended};
}

void ClientExchange::settle_break() {
  drop(Reason::cancelled);
  if (response_ || body_.is_intact()) return client_->break_off();
  client_->answer(error_of(body_.refusal()));
}

// ---- the response

/// Sends `head`; from now on the connection carries bytes that are not parsed.
void ClientExchange::begin_raw(std::string_view head) {
  client_->socket().write(head);
  is_raw_ = true;
  body_ = http::BodyReader(http::Transfer::until_close, 0);
  response_.emplace(http::Transfer::until_close, 0);
  course_.request_is_complete = false;
  upstream_->set_readable();
  client_->touch();
}

void ClientExchange::write_interim(const http::ResponseHead& head) {
  is_invited_ = true;
  if (course_.request.version == http::Version::http_1_0) return;
  std::string text;
  http::write_response(text, head, http::Transfer::none, http::AfterThis::keep);
  client_->socket().write(text);
  client_->touch();
}

void ClientExchange::on_response(http::ResponseHead head) {
  ++response_bytes_;
  if (http::is_interim(head.status)) return write_interim(head);
  client_->plane().counters().http_responses(head.status).add();
  const auto transfer = http::transfer_of(head, asked_, course_.request.version);
  course_.status = head.status;
  course_.response = {http::Version::http_1_1, transfer, transfer == http::Transfer::until_close, {}};
  // The rest of a request's body is not read once the response has begun: the connection must close.
  const bool keeps = !course_.request.close && course_.request_is_complete && !client_->plane().is_draining();
  const auto after = keeps || head.status == 101 ? http::AfterThis::keep : http::AfterThis::close;
  course_.response.close |= after == http::AfterThis::close;
  set_own_fields(head);
  std::string text;
  http::write_response(text, head, transfer, after);
  if (head.status == 101) return begin_raw(text);
  client_->socket().write(text);
  response_.emplace(transfer, head.framing.length);
  if (!asked_.upgrade.empty()) upstream_->set_readable();
  client_->touch();
}

void ClientExchange::push(std::span<const StreamEnd::Bytes> pieces) {
  std::size_t size = 0;
  for (const auto piece : pieces) size += piece.size();
  const std::size_t waited = client_->socket().waiting() + size;
  if (!response_ || !client_->socket().write_body(pieces, *response_)) return cut(Reason::aborted);
  untaken_bytes_ += size;
  response_bytes_ += size;
  settle_taken(waited);
  client_->touch();
}

void ClientExchange::settle_taken(std::size_t waited_before) {
  if (untaken_bytes_ == 0) return;
  const std::size_t waiting = client_->socket().waiting();
  const std::uint64_t gone = waiting == 0 ? untaken_bytes_ : waited_before - std::min(waited_before, waiting);
  const std::uint64_t taken = std::min(untaken_bytes_, gone);
  if (taken == 0) return;
  untaken_bytes_ -= taken;
  upstream_->take(taken);
}

void ClientExchange::on_finished(http::Fields trailers) {
  std::string end;
  if (!response_ || !response_->finish(end, trailers)) return cut(Reason::target_reset);
  client_->socket().write(end);
  course_.response_is_complete = true;
  client_->touch();
  if (!is_raw_) end_response();
}

void ClientExchange::end_response() {
  if (upstream_->is_open() && course_.request_is_complete) return;  // on_over() follows.
  // The rest of the request is not needed any more.
  drop(Reason::cancelled);
  client_->end_exchange();
}

// ---- the ends

void ClientExchange::cut(Reason reason) {
  drop(Reason::aborted);
  on_failed(error_of(reason), reason);
}

/// Answers with an error if the response has not begun, otherwise resets the connection.
void ClientExchange::on_failed(ProxyError error, Reason reason) {
  if (!response_ && reason != Reason::cancelled) return client_->answer(error);
  client_->note_cut(protocol::to_string(reason));
  client_->break_off();
}

void ClientExchange::on_over() {
  if (course_.response_is_complete) client_->end_exchange();
}

void ClientExchange::drop(Reason reason) {
  if (upstream_) upstream_->drop(reason);
}

void ClientExchange::note_answered(int status) {
  course_.status = status;
  course_.response = {http::Version::http_1_1, http::Transfer::length, false, {}};
  course_.response_is_complete = true;
}

void ClientExchange::on_tick(protocol::Time now) {
  if (upstream_) upstream_->on_tick(now);
}

bool ClientExchange::is_too_slow(bool has_read_all, protocol::Time now) {
  // Once the target has begun to answer, only its own limits apply.
  return pace_.is_too_slow(has_read_all && is_accepted_ && is_invited_ && !course_.request_is_complete && !response_,
                           now);
}

}  // namespace culvert::server
