// SPDX-License-Identifier: Apache-2.0
#include "common/upstream/back_end_exchange.hpp"

#include <algorithm>
#include <utility>

#include <fmt/core.h>
#include <sys/epoll.h>

#include "common/http/connection_login.hpp"
#include "common/http/head_writer.hpp"
#include "common/net/monotonic_time.hpp"

// The request: begin -> connect, or the pool -> join, which writes the head; then write() for the body.
// The response: on_back_end -> read_response -> accept_response; then pull() for the body.

namespace culvert {

using namespace std::chrono_literals;
using http::Parsed;
using protocol::Reason;
using protocol::Reject;
using SocketState = DataSocket::State;

BackEndExchange::BackEndExchange(const BackEndContext& context, std::shared_ptr<const BackEndTarget> target,
                                 LinkQuota link, LinkLimits limits, Client& client)
    : context_(context),
      target_(std::move(target)),
      link_(std::move(link)),
      limits_(limits),
      client_(client),
      since_(monotonic_now()) {}

BackEndExchange::~BackEndExchange() {
  let_go(false);
  context_.pool->worker().forget(*this);
}

void BackEndExchange::touch() {
  if (std::exchange(touched_, true)) return;
  context_.pool->worker().at_end_of_turn(*this);
}

void BackEndExchange::on_turn_end() {
  touched_ = false;
  flush();
}

// ---- the request

void BackEndExchange::begin(http::RequestHead head) {
  asked_ = http::asked_by(head);
  has_login_ = http::has_connection_login(head.fields);
  is_invited_ = !head.expect_continue;
  request_body_.emplace(http::transfer_of(head), head.framing.length);
  course_.request = {http::Version::http_1_1, http::transfer_of(head), false, {}};
  request_ = std::move(head);
  connect();
}

/// Uses an idle connection, or dials a new one.
void BackEndExchange::connect() {
  if (auto idle = context_.pool->take(target_->key)) return join(std::move(idle));
  dial_ = context_.dialer.dial(target_->target, link_, limits_, TargetDialer::WhenFull::wait,
                               [this](auto outcome) { on_dialed(std::move(outcome)); });
}

void BackEndExchange::on_dialed(std::expected<Dialed, Reject> outcome) {
  if (!outcome) {
    dial_.reset();
    return fail(outcome.error());
  }
  auto back_end = std::make_unique<BackEnd>(*context_.pool, target_->key);
  const bool is_watched = back_end->connect(std::move(*outcome));
  dial_.reset();
  if (!is_watched) return fail({Reason::overloaded, true, "the kernel's limit of watched sockets is reached"});
  join(std::move(back_end));
}

void BackEndExchange::join(std::unique_ptr<BackEnd> back_end) {
  back_end_ = std::move(back_end);
  back_end_->user = this;
  back_end_->parser.begin(asked_, target_->head_limits);
  course_.connection_was_used = back_end_->was_used;
  since_ = monotonic_now();
  std::string text;
  http::write_request(text, request_, http::AfterThis::keep);
  back_end_->socket.write(text);
  // The client may end its request in on_connected(): that end is written then.
  const bool was_finished = is_finished_;
  if (!std::exchange(was_connected_, true)) client_.on_connected();
  if (!back_end_) return;
  while (!early_.empty()) {
    const std::span<const std::byte> early = early_.front();
    const bool fits = request_body_ && back_end_->socket.write_body(std::span(&early, 1), *request_body_);
    early_.drop(early.size());
    course_.body_was_sent = true;
    if (!fits) return fail({Reason::aborted, false, "the request's body is longer than declared"});
  }
  if (was_finished) write_end_of_request();
  touch();
}

void BackEndExchange::write(std::span<const std::span<const std::byte>> pieces) {
  std::size_t size = 0;
  for (const auto piece : pieces) size += piece.size();
  since_ = monotonic_now();
  // The back end will answer, or fail, without the rest; the client's bytes wait until then.
  if (has_write_failed_) return;
  untaken_bytes_ += size;
  if (!back_end_) {
    // The back end is still being dialled: these are at most the early bytes that follow OPEN.
    for (const auto piece : pieces) early_.append(piece);
    return;
  }
  course_.body_was_sent = true;
  const std::size_t waited = back_end_->socket.waiting() + size;
  if (!request_body_ || !back_end_->socket.write_body(pieces, *request_body_))
    return fail({Reason::aborted, false, "the request's body is longer than declared"});
  settle_taken(waited);
  touch();
}

void BackEndExchange::finish(http::Fields trailers) {
  request_trailers_ = std::move(trailers);
  is_finished_ = true;
  if (back_end_) write_end_of_request();
}

void BackEndExchange::write_end_of_request() {
  if (has_write_failed_) return;
  course_.request_is_complete = true;
  if (course_.is_raw()) return touch();  // flush() half-closes.
  std::string end;
  if (!request_body_ || !request_body_->finish(end, request_trailers_))
    return fail({Reason::aborted, false, "the request's body is shorter than declared"});
  back_end_->socket.write(end);
  touch();
}

/// Reports bytes that were written to the socket, so that the client may send as many more.
void BackEndExchange::settle_taken(std::size_t waited_before) {
  if (untaken_bytes_ == 0) return;
  const std::size_t waiting = back_end_->socket.waiting();
  const std::uint64_t gone = waiting == 0 ? untaken_bytes_ : waited_before - std::min(waited_before, waiting);
  const std::uint64_t taken = std::min(untaken_bytes_, gone);
  if (taken == 0) return;
  untaken_bytes_ -= taken;
  client_.on_taken(taken);
}

void BackEndExchange::flush() {
  if (!back_end_ || has_write_failed_) return;
  const std::size_t waited = back_end_->socket.waiting();
  if (!back_end_->socket.flush()) return on_write_failed();
  settle_taken(waited);
  if (course_.is_raw() && course_.request_is_complete && !back_end_->socket.has_output())
    (void)back_end_->socket.finish();
}

/// The back end has closed, and may have answered before: with a 413, for example.
void BackEndExchange::on_write_failed() {
  has_write_failed_ = true;
  back_end_->readable = true;
  back_end_->socket.note_hangup();
  if (!response_body_) return read_response();
  client_.on_body_readable();
}

// ---- the response

void BackEndExchange::on_back_end(std::uint32_t events) {
  since_ = monotonic_now();
  if ((events & EPOLLOUT) != 0 && back_end_->socket.has_output()) flush();
  if (!back_end_ || !back_end_->readable) return;
  if (!response_body_) return read_response();
  client_.on_body_readable();
}

void BackEndExchange::read_response() {
  for (;;) {
    if (!back_end_->socket.input().empty()) {
      course_.was_answered = true;
      switch (back_end_->parser.parse(back_end_->socket.input())) {
        case Parsed::need_more: break;
        case Parsed::refused: return fail_broken(back_end_->parser.refusal(), back_end_->parser.detail());
        case Parsed::complete: {
          back_end_->socket.use(back_end_->parser.used());
          http::ResponseHead head = back_end_->parser.head();
          const bool is_interim = http::is_interim(head.status);
          if (is_interim && !interims_.take(back_end_->parser.used(), monotonic_now()))
            return fail_broken(http::refusals::too_many_interim);
          accept_response(std::move(head));
          if (!is_interim || !back_end_) return;
          back_end_->parser.resume();
          continue;
        }
      }
    }
    if (!back_end_->readable) return;
    switch (back_end_->socket.read_ahead()) {
      case SocketState::ready: break;
      case SocketState::blocked: back_end_->readable = false; break;
      case SocketState::ended:
      case SocketState::cut:
      case SocketState::failed:
        if (back_end_->socket.has_refused_renegotiation()) return fail_renegotiation();
        if (send_again()) return;
        note_broken("closed_early", {});
        return fail({Reason::target_reset, false, "the back end closed before it answered"});
    }
  }
}

void BackEndExchange::accept_response(http::ResponseHead head) {
  if (head.status >= 400 && back_end_->socket.has_refused_renegotiation()) return fail_renegotiation();
  is_invited_ = true;
  if (http::is_interim(head.status)) return client_.on_response(std::move(head));
  if (head.status == 401 && http::asks_for_connection_login(head.fields)) has_login_ = true;
  const http::Hop& hop = back_end_->parser.hop();
  course_.status = head.status;
  course_.response = hop;
  // A second earlier than the back end closes it, since the next request takes its time on the way.
  if (hop.idle_seconds_max)
    back_end_->idle_time_max = std::min(back_end_->idle_time_max, std::chrono::seconds(*hop.idle_seconds_max) - 1s);
  if (course_.is_raw()) {
    response_body_.emplace(http::Transfer::until_close, 0);
    request_body_.emplace(http::Transfer::until_close, 0);
    course_.request_is_complete = false;
  } else {
    http::BodyReader body(hop.transfer, head.framing.length, http::BodyReader::Padding::taken);
    if (const http::Flaw flaw = flaw_ahead(body)) return fail_broken(*flaw);
    response_body_ = std::move(body);
  }
  client_.on_response(std::move(head));
  client_.on_body_readable();
}

/// Looks ahead into the body that came together with its head: if it begins with a fault, the client can still get an
/// error instead of the head.
http::Flaw BackEndExchange::flaw_ahead(const http::BodyReader& body) const {
  if (course_.response.transfer != http::Transfer::chunked || back_end_->socket.input().empty()) return nullptr;
  http::BodyReader ahead = body;
  const auto first = ahead.next(std::as_bytes(std::span(back_end_->socket.input())));
  return first.kind == http::BodyReader::Piece::Kind::refused ? &ahead.refusal() : nullptr;
}

void BackEndExchange::note_broken(std::string_view code, std::string_view detail) {
  const auto& name = target_->target.name;
  if (detail.empty()) {
    context_.log.limited(Log::Level::warn, "back_end.broken", {{"virtual_host", name}, {"code", code}});
  } else {
    context_.log.limited(Log::Level::warn, "back_end.broken",
                         {{"virtual_host", name}, {"code", code}, {"detail", detail}});
  }
}

BackEndExchange::Pulled BackEndExchange::pull(std::span<std::byte> room) {
  if (!response_body_ || !back_end_) return {0, BodyState::blocked};
  const auto outcome = back_end_->socket.pull(room, *response_body_);
  switch (outcome.state) {
    case SocketState::ready: return {outcome.bytes, BodyState::more};
    case SocketState::blocked: back_end_->readable = false; return {outcome.bytes, BodyState::blocked};
    case SocketState::ended: course_.response_is_complete = true; return {outcome.bytes, BodyState::ended};
    case SocketState::cut:
    case SocketState::failed: break;
  }
  // What came before the fault is good: the client gets it, and the fault with the next call.
  if (outcome.bytes > 0) return {outcome.bytes, BodyState::more};
  const bool is_intact = response_body_->is_intact();
  note_broken(is_intact ? "closed_early" : response_body_->refusal().code, {});
  let_go(false);
  return {0, BodyState::failed, is_intact ? Reason::target_reset : Reason::target_not_http};
}

// ---- the ends

bool BackEndExchange::send_again() {
  if (!http::may_send_again(course_, request_.method)) return false;
  back_end_->user = nullptr;
  context_.pool->worker().retire(std::move(back_end_));
  has_write_failed_ = false;
  request_body_.emplace(http::transfer_of(request_), request_.framing.length);
  connect();
  return true;
}

void BackEndExchange::fail_broken(const http::Refusal& flaw, std::string_view detail) {
  note_broken(flaw.code, detail);
  fail({Reason::target_not_http, false, fmt::format("{}{}{}", flaw.text, detail.empty() ? "" : ": ", detail)});
}

/// The back end most likely wanted a certificate for this path, and refuses the request without one. That is not the
/// client's fault.
void BackEndExchange::fail_renegotiation() {
  fail({Reason::target_tls_failed, false,
        "it wants to renegotiate TLS 1.2, as for a client certificate for this path, and that is refused: enable TLS "
        "1.3 "
        "there, or ask for the certificate of every connection"});
}

void BackEndExchange::fail(const Reject& why) {
  let_go(false);
  client_.on_failed(why);
}

void BackEndExchange::end() {
  const bool may_be_shared = !has_login_ || context_.pool->users() == BackEndPool::Users::one_client;
  let_go(back_end_ && may_be_shared && !course_.is_raw() && !back_end_->socket.has_hung_up() &&
         !back_end_->socket.has_output() && http::may_reuse_back_end(course_, back_end_->socket.input().size()));
}

void BackEndExchange::let_go(bool reusable) {
  dial_.reset();
  if (!back_end_) return;
  back_end_->user = nullptr;
  if (reusable) return context_.pool->put(std::move(back_end_));
  if (!course_.response_is_complete) back_end_->socket.reset();
  context_.pool->worker().retire(std::move(back_end_));
}

void BackEndExchange::on_tick(protocol::Time now) {
  if (target_->target.connections && target_->target.connections->is_withdrawn())
    return fail({Reason::not_exposed, false, "the mapping was removed"});
  if (dial_) return dial_->on_tick(now);
  if (!back_end_) return;
  const Debt owed = debt();
  if (owed.debtor.empty()) since_ = now;
  const auto limit = course_.is_raw() ? target_->upgrade_idle_time_max
                     : response_body_ ? target_->idle_time_max
                                      : target_->first_byte_time_max;
  if (limit.count() == 0 || now - since_ < limit) return;
  const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(now - since_);
  context_.log.limited(Log::Level::warn, "back_end.stalled",
                       {{"virtual_host", target_->target.name},
                        {"owed_by", owed.debtor},
                        {"owed", owed.what},
                        {"waited_ms", waited.count()}});
  fail({response_body_ ? Reason::stalled : Reason::target_timed_out, false, "the back end did not answer in time"});
}

BackEndExchange::Debt BackEndExchange::debt() const {
  if (back_end_->socket.has_output()) return {"back_end", "to read the request"};
  // Bytes of the response wait until the client takes them: its own limits apply, at the other end of the stream.
  if (response_body_ && back_end_->readable) return {};
  if (is_finished_ || !is_invited_) return {"back_end", response_body_ ? "the response's body" : "a response"};
  return response_body_ ? Debt{"client", "the request's body"} : Debt{};
}

}  // namespace culvert
