// SPDX-License-Identifier: Apache-2.0
#include "agent/http_exchange.hpp"

#include <algorithm>
#include <utility>

#include <sys/epoll.h>

#include "common/http/head_writer.hpp"
#include "common/http/map_back.hpp"

// The request's way: on_head -> begin_request -> reach or the pool -> join, which writes the head; its body by push().
// The response's way: on_back_end -> read_response -> begin_response, then its body by pull().

namespace culvert::agent {

using http::Parsed;
using protocol::Reason;
using protocol::Source;
using SocketState = RelaySocket::State;

namespace {

/// From OPEN to the request's HEAD, which a server sends together.
constexpr std::chrono::seconds head_time_max{10};

/// RFC 9110 9.2.2: to do it twice is to do it once.
bool is_idempotent(std::string_view method) {
  constexpr std::string_view methods[] = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"};
  return std::ranges::find(methods, method) != std::end(methods);
}

/// SPEC 5.7: HEAD(request) comes first.
protocol::Reject no_head() {
  return {Reason::aborted, false, "the request's head is missing"};
}

}  // namespace

void HttpExchange::start(const HttpSurroundings& around, Tunnel& tunnel, protocol::StreamId stream,
                         const protocol::Open& open, HttpTarget target, std::shared_ptr<void> link_place) {
  auto exchange =
      std::make_unique<HttpExchange>(around, tunnel, stream, open, std::move(target), std::move(link_place));
  HttpExchange& started = *exchange;
  started.id_ = around.plane.add(std::move(exchange));
  tunnel.attach(stream, started);
}

HttpExchange::HttpExchange(const HttpSurroundings& around, Tunnel& tunnel, protocol::StreamId stream,
                           const protocol::Open& open, HttpTarget target, std::shared_ptr<void> link_place)
    : around_(around),
      tunnel_(&tunnel),
      stream_(stream),
      asked_for_{open.name, open.port},
      target_(std::move(target)),
      link_place_(std::move(link_place)),
      since_(DataPlane::now()) {}

HttpExchange::~HttpExchange() {
  around_.plane.worker().forget(*this);
}

void HttpExchange::touch() {
  if (std::exchange(touched_, true)) return;
  around_.plane.worker().at_end_of_turn(*this);
}

void HttpExchange::on_turn_end() {
  touched_ = false;
  flush();
}

// ---- the request

void HttpExchange::on_head(Bytes message) {
  tunnel_->take(stream_, message.size());
  if (request_) {
    auto trailers = http::read_trailers(message);
    if (!trailers) return fail(Reason::aborted);
    request_trailers_ = std::move(*trailers);
    return;
  }
  auto request = http::read_request(message);
  if (!request || request->authority.host != asked_for_.host || request->authority.port != asked_for_.port)
    return refuse({Reason::aborted, false, "the request's head breaks a rule"});
  begin_request(std::move(*request));
}

void HttpExchange::begin_request(http::RequestHead head) {
  asked_ = http::asked_by(head);
  auto path = allowed_path(*target_.resources, head, target_.slash);
  if (!path) {
    const bool is_ambiguous = path.error() == Reason::ambiguous_path;
    around_.log.limited(Log::Level::warn, "mapping.not_allowed",
                        {{"virtual_host", target_.target.name},
                         {"method", head.method},
                         {"path", head.path},
                         {"hint", is_ambiguous ? "the path has an encoded slash; encoded_slash = \"keep\" takes them"
                                               : "no enabled resource of the mapping allows it"}});
    return refuse({path.error(), false, "the agent does not expose this path and method"});
  }
  head.path = std::move(*path);
  head.scheme = target_.scheme;
  if (target_.host_header == HostHeader::internal) {
    std::string outside;
    http::append_authority(outside, head.authority, http::default_port(http::Scheme::http));
    head.fields.set("X-Forwarded-Host", outside);
    head.authority = target_.target.endpoint;
  } else {
    // Told as the client said it: the virtual host is always spoken to with http://.
    head.scheme = http::Scheme::http;
  }
  request_body_.emplace(http::transfer_of(head), head.framing.length);
  course_.request = {http::Version::http_1_1, http::transfer_of(head), false};
  request_ = std::move(head);
  reach();
}

/// An idle connection, or a new one.
void HttpExchange::reach() {
  if (auto idle = around_.pool.take(target_.key)) return join(std::move(idle));
  auto place = Quota::take(target_.connections, target_.connections_max);
  if (!place) return refuse({Reason::overloaded, false, "all connections of the mapping are open"});
  StreamTarget target = target_.target;
  target.mapping_place = std::move(place);
  around_.acceptor.reach(id_, std::move(target), [](StreamEnd& end, Result<RelaySocket> reached, StreamTarget& kept) {
    auto& exchange = static_cast<HttpExchange&>(end);
    exchange.target_.place = std::move(kept.mapping_place);
    exchange.connected(std::move(reached));
  });
}

void HttpExchange::connected(Result<RelaySocket> reached) {
  if (tunnel_ == nullptr) {
    if (reached) reached->reset();
    return;
  }
  if (!reached) return refuse(reject_of(reached.error()));
  auto back_end = std::make_unique<BackEnd>(around_.pool, target_.key, std::move(*reached), std::move(target_.place));
  if (!back_end->watch()) return refuse({Reason::overloaded, true, "the kernel watches no more sockets"});
  join(std::move(back_end));
}

void HttpExchange::join(std::unique_ptr<BackEnd> back_end) {
  back_end_ = std::move(back_end);
  back_end_->user = this;
  back_end_->parser.begin(asked_);
  since_ = DataPlane::now();
  std::string text;
  // NOLINTBEGIN(bugprone-unchecked-optional-access): begin_request() has set both.
  http::write_request(text, *request_, http::AfterThis::keep);
  back_end_->socket.write(text);
  if (!std::exchange(is_accepted_, true)) tunnel_->accept(stream_);
  while (!early_.empty()) {
    const Bytes early = early_.front();
    const bool fits = back_end_->socket.write_body(std::span(&early, 1), *request_body_);
    early_.drop(early.size());
    body_was_sent_ = true;
    if (!fits) return fail(Reason::aborted);
  }
  // NOLINTEND(bugprone-unchecked-optional-access)
  if (early_end_) write_end_of_request();
  touch();
}

void HttpExchange::push(std::span<const Bytes> pieces) {
  if (!request_) return refuse(no_head());
  std::size_t size = 0;
  for (const Bytes piece : pieces) size += piece.size();
  since_ = DataPlane::now();
  // It will answer, or fail, without the rest; who sends that waits until then.
  if (back_end_is_deaf_) return;
  untaken_bytes_ += size;
  if (!back_end_) {
    // At most what goes with the OPEN; the back end is still being dialled.
    for (const Bytes piece : pieces) early_.append(piece);
    return;
  }
  body_was_sent_ = true;
  const std::size_t waited = back_end_->socket.waiting() + size;
  if (!request_body_ || !back_end_->socket.write_body(pieces, *request_body_)) return fail(Reason::aborted);
  settle_taken(waited);
  touch();
}

void HttpExchange::on_finished(bool aborted) {
  if (aborted) return fail(Reason::aborted);
  if (!request_) return refuse(no_head());
  early_end_ = true;
  if (back_end_) write_end_of_request();
}

void HttpExchange::write_end_of_request() {
  if (back_end_is_deaf_) return;
  course_.request_is_complete = true;
  if (is_raw_) return touch();  // flush() half-closes.
  std::string end;
  if (!request_body_ || !request_body_->finish(end, request_trailers_)) return fail(Reason::aborted);
  back_end_->socket.write(end);
  touch();
}

void HttpExchange::settle_taken(std::size_t waited_before) {
  if (tunnel_ == nullptr || untaken_bytes_ == 0) return;
  const std::size_t waiting = back_end_->socket.waiting();
  const std::uint64_t gone = waiting == 0 ? untaken_bytes_ : waited_before - std::min(waited_before, waiting);
  const std::uint64_t taken = std::min(untaken_bytes_, gone);
  if (taken == 0) return;
  untaken_bytes_ -= taken;
  tunnel_->take(stream_, taken);
}

void HttpExchange::flush() {
  if (!back_end_ || back_end_is_deaf_) return;
  const std::size_t waited = back_end_->socket.waiting();
  if (!back_end_->socket.flush()) return note_deaf();
  settle_taken(waited);
  if (is_raw_ && course_.request_is_complete && !back_end_->socket.has_output()) (void)back_end_->socket.finish();
}

/// The back end has closed, and takes nothing more. It may have said why before it did: a 413, for one.
void HttpExchange::note_deaf() {
  back_end_is_deaf_ = true;
  back_end_->readable = true;
  back_end_->socket.note_hangup();
  if (!response_body_) return read_response();
  if (tunnel_ != nullptr) tunnel_->set_readable(stream_);
}

// ---- the response

void HttpExchange::on_back_end(std::uint32_t events) {
  since_ = DataPlane::now();
  if ((events & EPOLLOUT) != 0 && back_end_->socket.has_output()) flush();
  if (!back_end_ || !back_end_->readable) return;
  if (!response_body_) return read_response();
  if (tunnel_ != nullptr) tunnel_->set_readable(stream_);
}

void HttpExchange::read_response() {
  for (;;) {
    if (!back_end_->socket.input().empty()) {
      was_heard_ = true;
      switch (back_end_->parser.parse(back_end_->socket.input())) {
        case Parsed::need_more: break;
        case Parsed::refused:
          around_.log.limited(Log::Level::warn, "back_end.broken",
                              {{"virtual_host", target_.target.name}, {"code", back_end_->parser.refusal().code}});
          return fail(Reason::aborted);
        case Parsed::complete: {
          back_end_->socket.use(back_end_->parser.used());
          http::ResponseHead head = back_end_->parser.head();
          const bool interim = http::is_interim(head.status);
          begin_response(std::move(head));
          if (!interim || !back_end_) return;
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
        if (!try_again()) fail(Reason::target_reset);
        return;
    }
  }
}

void HttpExchange::begin_response(http::ResponseHead head) {
  const bool interim = http::is_interim(head.status);
  http::map_back(head.fields, {.internal_scheme = target_.scheme,
                               .internal = target_.target.endpoint,
                               .outside = {asked_for_.host, asked_for_.port}});
  if (tunnel_ != nullptr) tunnel_->send_head(stream_, http::to_message(head));
  if (interim) return;
  around_.plane.counters().http_responses(head.status).add();
  const http::Hop& hop = back_end_->parser.hop();
  course_.status = head.status;
  course_.response = hop;
  is_raw_ = head.status == 101;
  if (is_raw_) {
    response_body_.emplace(http::Transfer::until_close, 0);
    request_body_.emplace(http::Transfer::until_close, 0);
    course_.request_is_complete = false;
  } else {
    response_body_.emplace(hop.transfer, head.framing.length);
  }
  if (tunnel_ != nullptr) tunnel_->set_readable(stream_);
}

StreamEnd::Pull HttpExchange::pull(std::span<std::byte> room) {
  if (!response_body_ || !back_end_) return {0, Source::blocked};
  const auto outcome = back_end_->socket.pull(room, *response_body_);
  switch (outcome.state) {
    case SocketState::ready: return {outcome.bytes, Source::more};
    case SocketState::blocked: back_end_->readable = false; return {outcome.bytes, Source::blocked};
    case SocketState::ended: break;
    case SocketState::cut:
    case SocketState::failed: broke_off_ = true; return {0, Source::aborted, Reason::target_reset};
  }
  if (!response_body_->trailers().empty()) {
    if (outcome.bytes > 0) return {outcome.bytes, Source::more};
    if (!std::exchange(sent_trailers_, true)) {
      tunnel_->send_head(stream_, http::to_message(response_body_->trailers()));
      return {0, Source::more};
    }
  }
  course_.response_is_complete = true;
  return {outcome.bytes, Source::ended};
}

// ---- the ends

/// A connection that was idle may have been closed by the back end while our request was on its way. Where nothing can
/// have come of it, the request goes out once more.
bool HttpExchange::try_again() {
  if (!back_end_->was_used || was_heard_ || body_was_sent_ || tunnel_ == nullptr) return false;
  if (!request_ || !is_idempotent(request_->method)) return false;
  back_end_->user = nullptr;
  around_.plane.worker().bury(std::move(back_end_));
  back_end_is_deaf_ = false;
  request_body_.emplace(http::transfer_of(*request_), request_->framing.length);
  reach();
  return true;
}

/// Before ACCEPT a REJECT, which the opener may understand; later the stream just breaks.
void HttpExchange::refuse(const protocol::Reject& reject) {
  if (tunnel_ == nullptr) return;
  if (is_accepted_) return fail(reject.reason);
  tunnel_->reject(stream_, reject);
}

void HttpExchange::fail(Reason reason) {
  let_go(false);
  if (tunnel_ != nullptr) tunnel_->reset(stream_, reason);
}

void HttpExchange::let_go(bool reusable) {
  if (!back_end_) return;
  back_end_->user = nullptr;
  if (reusable) return around_.pool.put(std::move(back_end_));
  if (!course_.response_is_complete) back_end_->socket.reset();
  around_.plane.worker().bury(std::move(back_end_));
}

void HttpExchange::on_reset(Reason) {
  let_go(false);
}

void HttpExchange::on_stopped(Reason) {}

void HttpExchange::on_forgotten(std::uint64_t window_bytes) {
  around_.plane.memory().give(window_bytes);
  tunnel_ = nullptr;
  const bool reusable = back_end_ && !broke_off_ && !is_raw_ && !back_end_->socket.has_output() &&
                        http::may_reuse_back_end(course_, back_end_->socket.input().size());
  let_go(reusable);
  around_.plane.bury_end(id_);
}

void HttpExchange::on_tick(protocol::Time now) {
  if (tunnel_ == nullptr) return;
  if (target_.connections->is_withdrawn()) return fail_later(Reason::not_exposed);
  if (!request_ && now - since_ >= head_time_max) return fail_later(Reason::stalled);
  if (!back_end_) return;
  const auto limit = response_body_ ? target_.idle_time_max : target_.first_byte_time_max;
  if (now - since_ < limit) return;
  fail_later(response_body_ ? Reason::stalled : Reason::target_timed_out);
}

/// Not inside the walk over all ends.
void HttpExchange::fail_later(Reason reason) {
  around_.plane.worker().post([&plane = around_.plane, id = id_, reason] {
    if (auto* exchange = static_cast<HttpExchange*>(plane.find_end(id))) exchange->fail(reason);
  });
}

}  // namespace culvert::agent
