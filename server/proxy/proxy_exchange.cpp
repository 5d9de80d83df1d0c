// SPDX-License-Identifier: Apache-2.0
// The request: open -> the opener -> on_placed, which sends its head; then pull() for its body. The response: on_head,
// push and on_finished write to the socket's output, which is sent in one call at the end of the turn.
#include "server/proxy/proxy_exchange.hpp"

#include <algorithm>
#include <charconv>
#include <utility>

#include "common/http/connection_login.hpp"
#include "common/http/field_names.hpp"
#include "common/http/head_message.hpp"
#include "common/http/head_writer.hpp"
#include "common/http/web_dav.hpp"
#include "common/net/monotonic_time.hpp"
#include "common/tunnel/body_end.hpp"
#include "server/proxy/proxy_client.hpp"
#include "server/proxy/response_fields.hpp"

namespace culvert::server {

using protocol::Reason;
using protocol::Source;
using SocketState = DataSocket::State;

ProxyExchange::ProxyExchange(ProxyClient& client, http::RequestParser& parser)
    : client_(&client),
      head_(std::move(parser.head())),
      asked_(http::asked_by(head_)),
      body_(parser.hop().transfer, head_.framing.length),
      is_invited_(!head_.expect_continue) {
  course_.request = parser.hop();
  course_.request_is_complete = body_.is_complete();
}

/// At a port for one virtual host, clients know that host by another name: what WebDAV's fields name is renamed, too.
void ProxyExchange::set_authority(const Endpoint& authority) {
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

bool ProxyExchange::ends_here() {
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

void ProxyExchange::open(Route route, const Consumer& consumer) {
  route_ = std::move(route);
  http::erase_own_fields(head_.fields, consumer.trusts_forwarded ? http::Forwarded::keep : http::Forwarded::erase);
  http::append_via(head_.fields, course_.request.version);
  http::append_member(head_.fields, "X-Forwarded-For", consumer.address);
  // Our fields, and names that were replaced, make it longer.
  if (head_.fields.bytes() > http::tunnel_head_limits.head_bytes_max)
    return client_->answer(error_of(http::refusals::head_too_long));
  StreamOpener::Request request;
  request.key = route_.key();
  request.open.kind = asked_.is_connect ? protocol::Open::Kind::host : protocol::Open::Kind::http;
  request.open.name = head_.authority.host;
  request.open.port = head_.authority.port;
  request.moves = TunnelDirectory::Moves::each_time;
  if (http::has_connection_login(head_.fields)) client_->begin_bonds();
  if (client_->bonds() && !asked_.is_connect) request.preferred = client_->bonds()->tunnel_of(request.key);
  opener_ = std::make_unique<StreamOpener>(client_->context().directory, std::move(request));
  resume(*client_);
}

void ProxyExchange::resume(ProxyClient& client) {
  client_ = &client;
  opener_->start(client.plane(), *this, *this, stream_);
}

/// False once a byte of the request was sent, or output waits for the client.
bool ProxyExchange::may_move() const {
  return !is_placed_ && !client_->socket().has_output();
}

void ProxyExchange::move_to(DataPlane& there) {
  client_->move_to(there);
}

protocol::StreamId ProxyExchange::bond_on(Tunnel& tunnel) {
  return client_->bonds() && !asked_.is_connect ? client_->bonds()->on(tunnel, route_.key()) : 0;
}

void ProxyExchange::on_placed() {
  is_placed_ = true;
  sent_trailers_ = false;
  if (asked_.is_connect) return;
  stream_.send_head(http::to_message(head_));
  stream_.set_readable();
}

void ProxyExchange::on_accepted() {
  is_answered_ = true;
  if (opener_->is_done()) opener_.reset();
  if (!asked_.is_connect) return;
  (void)order_.take_head({});  // This stream has no HEAD: bytes follow.
  begin_raw("HTTP/1.1 200 Connection established\r\n\r\n");
}

void ProxyExchange::on_refused(const OpenRefusal& refusal) {
  // The mapping speaks HTTP: the agent must see each request.
  if (refusal.reason == Reason::speaks_http && asked_.is_connect)
    return client_->begin_inside({head_.authority, route_});
  if (refusal.reason) return client_->answer(error_of(*refusal.reason));
  client_->answer({503,
                   "request.no_agent",
                   "destination_unavailable",
                   "no agent of this account and location is connected",
                   "see `status` of the server; check account, location and the agent's log",
                   {},
                   false});
}

// ---- the request's body

StreamEnd::Pull ProxyExchange::pull(std::span<std::byte> room) {
  if (!opener_) return read(room);
  const Pull pulled = opener_->pull(room, [this](std::span<std::byte> rest) { return read(rest); });
  if (opener_->is_done()) opener_.reset();
  return pulled;
}

StreamEnd::Pull ProxyExchange::read(std::span<std::byte> room) {
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
  const Pull end = end_body(stream_, body_.trailers(), outcome.bytes, sent_trailers_);
  if (end.source != Source::ended) return end;
  course_.request_is_complete = true;
  if (is_raw_ && course_.response_is_complete) client_->touch();
  return end;
}

void ProxyExchange::settle_break() {
  drop(Reason::cancelled);
  if (response_ || body_.is_intact()) return client_->break_off();
  client_->answer(error_of(body_.refusal()));
}

// ---- the response

/// Sends `head`; from now on the connection carries bytes that are not parsed.
void ProxyExchange::begin_raw(std::string_view head) {
  client_->socket().write(head);
  is_raw_ = true;
  body_ = http::BodyReader(http::Transfer::until_close, 0);
  response_.emplace(http::Transfer::until_close, 0);
  course_.request_is_complete = false;
  stream_.set_readable();
  client_->touch();
}

void ProxyExchange::on_head(Bytes message) {
  stream_.take(message.size());
  ++response_bytes_;
  auto came = http::read_answer(message, asked_);
  if (!came) return cut(Reason::aborted);
  if (came->kind == http::Answer::Kind::trailers) {
    if (!order_.take_trailers()) return cut(Reason::aborted);
    trailers_ = std::move(came->trailers);
    return;
  }
  if (came->kind == http::Answer::Kind::failure) {
    if (order_.has_head()) return cut(Reason::aborted);
    client_->note_failure(std::move(came->failure));
    return;
  }
  if (http::is_interim(came->head.status)) {
    if (!order_.take_interim() || !interims_.take(message.size(), monotonic_now())) return cut(Reason::aborted);
    is_invited_ = true;
    if (course_.request.version == http::Version::http_1_0) return;
    std::string text;
    http::write_response(text, came->head, http::Transfer::none, http::AfterThis::keep);
    client_->socket().write(text);
    return client_->touch();
  }
  if (!order_.take_head(came->head.framing)) return cut(Reason::aborted);
  begin_response(std::move(came->head));
}

void ProxyExchange::begin_response(http::ResponseHead head) {
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
  if (!asked_.upgrade.empty()) stream_.set_readable();
  client_->touch();
}

void ProxyExchange::push(std::span<const Bytes> pieces) {
  std::size_t size = 0;
  for (const Bytes piece : pieces) size += piece.size();
  const std::size_t waited = client_->socket().waiting() + size;
  if (!response_ || !order_.take_body() || !client_->socket().write_body(pieces, *response_))
    return cut(Reason::aborted);
  untaken_bytes_ += size;
  response_bytes_ += size;
  settle_taken(waited);
  client_->touch();
}

void ProxyExchange::settle_taken(std::size_t waited_before) {
  if (untaken_bytes_ == 0) return;
  const std::size_t waiting = client_->socket().waiting();
  const std::uint64_t gone = waiting == 0 ? untaken_bytes_ : waited_before - std::min(waited_before, waiting);
  const std::uint64_t taken = std::min(untaken_bytes_, gone);
  untaken_bytes_ -= taken;
  stream_.take(taken);
}

void ProxyExchange::on_finished(bool aborted) {
  std::string end;
  if (aborted || !response_ || !response_->finish(end, trailers_)) return cut(Reason::target_reset);
  client_->socket().write(end);
  course_.response_is_complete = true;
  client_->touch();
  if (!is_raw_) end_response();
}

void ProxyExchange::end_response() {
  if (stream_.is_open() && course_.request_is_complete) return;  // on_over() follows.
  // The rest of the request is not needed any more.
  drop(Reason::cancelled);
  client_->end_exchange();
}

// ---- the ends

/// The response failed: answers with an error if it has not begun, otherwise resets the connection.
void ProxyExchange::cut(Reason reason) {
  drop(Reason::aborted);
  if (!response_ && reason != Reason::cancelled) return client_->answer(error_of(reason));
  client_->note_cut(protocol::to_string(reason));
  client_->break_off();
}

void ProxyExchange::on_reset(Reason reason) {
  if (opener_ && !opener_->is_accepted()) return opener_->on_reset(reason);
  // The whole response is here; only the FIN of the request was not sent yet.
  if (course_.response_is_complete && !is_raw_) return on_over();
  cut(reason);
}

void ProxyExchange::on_over() {
  if (course_.response_is_complete) client_->end_exchange();
}

void ProxyExchange::drop(Reason reason) {
  stream_.drop(reason);
}

void ProxyExchange::note_answered(int status) {
  course_.status = status;
  course_.response = {http::Version::http_1_1, http::Transfer::length, false, {}};
  course_.response_is_complete = true;
}

void ProxyExchange::on_tick(protocol::Time now) {
  if (opener_) opener_->on_tick(now);
}

bool ProxyExchange::is_too_slow(bool has_read_all, protocol::Time now) {
  // Once the back end has begun to answer, only the limits of the mapping apply.
  return pace_.is_too_slow(has_read_all && is_answered_ && is_invited_ && !course_.request_is_complete && !response_,
                           now);
}

}  // namespace culvert::server
