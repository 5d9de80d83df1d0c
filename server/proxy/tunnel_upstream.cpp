// SPDX-License-Identifier: Apache-2.0
#include "server/proxy/tunnel_upstream.hpp"

#include <utility>

#include "common/http/head_message.hpp"
#include "common/net/monotonic_time.hpp"
#include "common/tunnel/body_end.hpp"
#include "server/proxy/proxy_client.hpp"

namespace culvert::server {

using protocol::Reason;

TunnelUpstream::TunnelUpstream(Upstream::Client& client, const http::RequestHead& head, Route route)
    : client_(client), head_(head), asked_(http::asked_by(head)), route_(std::move(route)) {
  StreamOpener::Request request;
  request.key = route_.key();
  request.open.kind = asked_.is_connect ? protocol::Open::Kind::host : protocol::Open::Kind::http;
  request.open.name = head_.authority.host;
  request.open.port = head_.authority.port;
  request.moves = TunnelDirectory::Moves::each_time;
  const ProxyBonds* bonds = client_.connection().bonds();
  if (bonds != nullptr && !asked_.is_connect) request.preferred = bonds->tunnel_of(request.key);
  opener_ = std::make_unique<StreamOpener>(client_.connection().context().directory, std::move(request));
}

void TunnelUpstream::start() {
  opener_->start(client_.connection().plane(), *this, *this, stream_);
}

/// False once a byte of the request was sent, or output waits for the client.
bool TunnelUpstream::may_move() const {
  return !is_placed_ && !client_.connection().socket().has_output();
}

void TunnelUpstream::move_to(DataPlane& there) {
  client_.connection().move_to(there);
}

protocol::StreamId TunnelUpstream::bond_on(Tunnel& tunnel) {
  ProxyBonds* bonds = client_.connection().bonds();
  return bonds != nullptr && !asked_.is_connect ? bonds->on(tunnel, route_.key()) : 0;
}

void TunnelUpstream::on_placed() {
  is_placed_ = true;
  sent_trailers_ = false;
  if (asked_.is_connect) return;
  stream_.send_head(http::to_message(head_, stream_.head_form()));
  stream_.set_readable();
}

void TunnelUpstream::on_accepted() {
  if (opener_->is_done()) opener_.reset();
  is_raw_ = asked_.is_connect;
  if (is_raw_) (void)order_.take_head({});  // This stream has no HEAD: bytes follow.
  client_.on_accepted();
}

void TunnelUpstream::on_refused(const OpenRefusal& refusal) {
  // The mapping speaks HTTP: the agent must see each request.
  if (refusal.reason == Reason::speaks_http && asked_.is_connect)
    return client_.connection().begin_inside({head_.authority, route_});
  if (refusal.reason) return client_.on_failed(error_of(*refusal.reason), Reason::target_unreachable);
  client_.on_failed({503,
                     "request.no_agent",
                     "destination_unavailable",
                     "no agent of this account and location is connected",
                     "see `status` of the server; check account, location and the agent's log",
                     {},
                     false},
                    Reason::target_unreachable);
}

// ---- the request's body

StreamEnd::Pull TunnelUpstream::pull(std::span<std::byte> room) {
  if (!opener_) return read(room);
  const Pull pulled = opener_->pull(room, [this](std::span<std::byte> rest) { return read(rest); });
  if (opener_->is_done()) opener_.reset();
  return pulled;
}

StreamEnd::Pull TunnelUpstream::read(std::span<std::byte> room) {
  const Pull pulled = client_.pull(room);
  if (pulled.source != protocol::Source::ended) return pulled;
  return end_body(stream_, client_.request_trailers(), pulled.bytes, sent_trailers_);
}

// ---- the response

void TunnelUpstream::on_head(Bytes message) {
  stream_.take(message.size());
  auto came = http::read_answer(message, asked_);
  if (!came) return cut(Reason::aborted);
  switch (came->kind) {
    case http::Answer::Kind::trailers:
      if (!order_.take_trailers()) return cut(Reason::aborted);
      trailers_ = std::move(came->trailers);
      return;
    case http::Answer::Kind::failure:
      if (order_.has_head()) return cut(Reason::aborted);
      failure_ = std::move(came->failure);
      return;
    case http::Answer::Kind::head: break;
  }
  if (http::is_interim(came->head.status)) {
    if (!order_.take_interim() || !interims_.take(message.size(), monotonic_now())) return cut(Reason::aborted);
  } else if (!order_.take_head(came->head.framing)) {
    return cut(Reason::aborted);
  }
  is_raw_ = came->head.status == 101;
  client_.on_response(std::move(came->head));
}

void TunnelUpstream::push(std::span<const Bytes> pieces) {
  if (!order_.take_body()) return cut(Reason::aborted);
  client_.push(pieces);
}

void TunnelUpstream::on_finished(bool aborted) {
  if (aborted || !order_.has_head()) return cut(Reason::target_reset);
  is_answered_ = true;
  client_.on_finished(std::move(trailers_));
}

// ---- the ends

void TunnelUpstream::cut(Reason reason) {
  drop(Reason::aborted);
  ProxyError error = error_of(reason);
  if (error.from_agent && !failure_.empty()) error.detail = std::move(failure_);
  client_.on_failed(std::move(error), reason);
}

void TunnelUpstream::on_reset(Reason reason) {
  if (opener_ && !opener_->is_accepted()) return opener_->on_reset(reason);
  // The whole response is here; only the FIN of the request was not sent yet.
  if (is_answered_ && !is_raw_) return on_over();
  cut(reason);
}

void TunnelUpstream::on_over() {
  client_.on_over();
}

void TunnelUpstream::on_tick(protocol::Time now) {
  if (opener_) opener_->on_tick(now);
}

}  // namespace culvert::server
