// SPDX-License-Identifier: Apache-2.0
#include "server/gateway/direct_upstream.hpp"

#include <algorithm>
#include <utility>

namespace culvert::server {

using protocol::Reason;
using protocol::Source;

namespace {

/// At once; then others run.
constexpr std::size_t turn_bytes_max = std::size_t{256} << 10;

struct TargetError {
  Reason reason;
  int status;
  std::string_view code;
  std::string_view type;
  std::string_view text;
  std::string_view hint;
};
constexpr TargetError target_errors[] = {
    {Reason::not_exposed, 403, "gateway.address_denied", "destination_ip_prohibited",
     "the target has an address that the gateway must not reach",
     "add the target's network to allow_targets of [gateway] if it is meant"},
    {Reason::target_tls_failed, 502, "gateway.target_tls_failed", "tls_certificate_error", "TLS to the target failed",
     "the server's log has the reason; ca of [gateway] adds an authority"},
    {Reason::target_timed_out, 504, "gateway.timed_out", "connection_timeout", "the target did not answer in time",
     "check that the target is up, or raise connect_timeout or first_byte_timeout of the entry"},
    {Reason::stalled, 504, "gateway.timed_out", "http_response_timeout", "the target stopped in its answer",
     "see the target's log, or raise idle_timeout of the entry"},
    {Reason::target_name_unknown, 502, "gateway.target_unreachable", "dns_error", "the target's name does not resolve",
     "check the entry's URL and the name servers of this server"},
    {Reason::target_refused, 502, "gateway.target_unreachable", "connection_refused",
     "the target refused the connection", "check that the target runs, and the entry's URL"},
    {Reason::target_reset, 502, "gateway.target_broke_off", "connection_terminated",
     "the target closed the connection before its answer was complete", "see the target's log for this time"},
    {Reason::target_not_http, 502, "gateway.target_not_http", "http_protocol_error",
     "the target sent something that is not HTTP", "back_end.broken in the server's log has the rule"},
    {Reason::overloaded, 503, "gateway.overloaded", "connection_limit_reached",
     "too many connections to the target are being made", "try again"},
    {Reason::draining, 503, "gateway.draining", "destination_unavailable", "the server is shutting down", "try again"},
    {Reason::aborted, 400, "gateway.bad_body", "http_request_error", "the request's body is not as its head says",
     "fix the client"},
};

}  // namespace

ProxyError error_of_target(const protocol::Reject& why) {
  ProxyError error{.status = 502,
                   .code = "gateway.target_unreachable",
                   .type = "destination_unavailable",
                   .text = "the target cannot be reached",
                   .hint = "check routes and firewalls; the server's log has the reason",
                   .challenge = {}};
  for (const TargetError& row : target_errors) {
    if (row.reason != why.reason) continue;
    error.status = row.status;
    error.code = row.code;
    error.type = row.type;
    error.text = row.text;
    error.hint = row.hint;
  }
  if (why.reason == Reason::target_not_http) error.detail = why.text;
  return error;
}

DirectUpstream::DirectUpstream(Upstream::Client& client, DataPlane& plane, const BackEndContext& context,
                               std::shared_ptr<const ExternalTarget> target, http::RequestHead head)
    : client_(client),
      plane_(plane),
      target_(std::move(target)),
      head_(std::move(head)),
      back_end_(new BackEndExchange(context, std::shared_ptr<const BackEndTarget>(target_, &target_->back_end),
                                    target_->quota, {}, *this)) {}

DirectUpstream::~DirectUpstream() {
  plane_.worker().forget(*this);
}

void DirectUpstream::start() {
  back_end_->begin(std::move(head_));
}

void DirectUpstream::on_connected() {
  is_connected_ = true;
  client_.on_accepted();
  send_request();
}

// ---- the request's body

void DirectUpstream::send_request() {
  if (!is_open_ || !is_connected_ || request_ended_ || std::exchange(is_sending_, true)) return;
  std::size_t sent = 0;
  Source source = Source::more;
  while (is_open_ && source == Source::more && untaken_request_ < window_bytes && sent < turn_bytes_max) {
    const auto room = plane_.staging().first(std::min(DataPlane::staging_bytes, window_bytes - untaken_request_));
    const StreamEnd::Pull pulled = client_.pull(room);
    source = pulled.source;
    sent += pulled.bytes;
    untaken_request_ += pulled.bytes;
    const std::span<const std::byte> piece = room.first(pulled.bytes);
    if (pulled.bytes > 0) back_end_->write(std::span(&piece, 1));
    if (source == Source::ended && is_open_) {
      request_ended_ = true;
      back_end_->finish(client_.request_trailers());
    }
  }
  is_sending_ = false;
  // An aborted request: the client drops this at the end of the turn.
  if (is_open_ && source == Source::more && sent >= turn_bytes_max) go_on();
  if (request_ended_) end_if_complete();
}

void DirectUpstream::on_taken(std::size_t bytes) {
  untaken_request_ -= std::min(bytes, untaken_request_);
  if (!is_sending_) send_request();
}

// ---- the response

void DirectUpstream::on_response(http::ResponseHead head) {
  has_response_ = has_response_ || !http::is_interim(head.status);
  client_.on_response(std::move(head));
}

void DirectUpstream::receive_body() {
  if (!is_open_ || !has_response_ || response_ended_ || std::exchange(is_receiving_, true)) return;
  std::size_t received = 0;
  auto state = BackEndExchange::BodyState::more;
  while (is_open_ && state == BackEndExchange::BodyState::more && untaken_response_ < window_bytes &&
         received < turn_bytes_max) {
    const auto room = plane_.staging().first(std::min(DataPlane::staging_bytes, window_bytes - untaken_response_));
    const auto pulled = back_end_->pull(room);
    state = pulled.state;
    received += pulled.bytes;
    untaken_response_ += pulled.bytes;
    const StreamEnd::Bytes piece = room.first(pulled.bytes);
    if (pulled.bytes > 0) client_.push(std::span(&piece, 1));
    if (!is_open_) break;
    if (state == BackEndExchange::BodyState::ended) {
      response_ended_ = true;
      client_.on_finished(back_end_->trailers());
    } else if (state == BackEndExchange::BodyState::failed) {
      on_failed({pulled.why, false, "the target's answer is incomplete"});
    }
  }
  is_receiving_ = false;
  if (is_open_ && state == BackEndExchange::BodyState::more && received >= turn_bytes_max) go_on();
  if (response_ended_) end_if_complete();
}

void DirectUpstream::take(std::size_t bytes) {
  const bool was_full = untaken_response_ >= window_bytes;
  untaken_response_ -= std::min(bytes, untaken_response_);
  if (was_full && !is_receiving_) go_on();
}

void DirectUpstream::go_on() {
  if (std::exchange(goes_on_, true)) return;
  plane_.worker().at_end_of_turn(*this);
}

void DirectUpstream::on_turn_end() {
  goes_on_ = false;
  send_request();
  receive_body();
}

// ---- the ends

/// Both directions have ended. After a response that is not raw the client has dropped this already.
void DirectUpstream::end_if_complete() {
  if (!is_open_ || !request_ended_ || !response_ended_ || is_sending_ || is_receiving_) return;
  is_open_ = false;
  back_end_->end();
  client_.on_over();
}

void DirectUpstream::drop(Reason) {
  if (!std::exchange(is_open_, false)) return;
  if (response_ended_)
    back_end_->end();
  else
    back_end_->break_off();
}

void DirectUpstream::on_failed(const protocol::Reject& why) {
  if (!std::exchange(is_open_, false)) return;
  back_end_->break_off();
  client_.on_failed(error_of_target(why), why.reason);
}

void DirectUpstream::on_tick(protocol::Time now) {
  if (is_open_) back_end_->on_tick(now);
}

}  // namespace culvert::server
