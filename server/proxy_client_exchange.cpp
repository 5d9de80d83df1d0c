// SPDX-License-Identifier: Apache-2.0
// One request of a client and its response. The way of a request: read_requests -> begin_request -> place -> open; then
// its body by pull(). The way back: on_head, push and on_finished, each into the socket's output, which the end of the
// turn sends in one call.
#include <algorithm>
#include <utility>

#include "common/http/field_names.hpp"
#include "common/http/head_writer.hpp"
#include "server/location_key.hpp"
#include "server/proxy_client.hpp"

namespace culvert::server {

using http::Parsed;
using protocol::Reason;
using protocol::Source;
using SocketState = RelaySocket::State;

namespace {

constexpr std::size_t attempts_max = 3;

}  // namespace

/// The next request, when its head is there. What follows it stays unread until its turn (threats B21).
void ProxyClient::read_requests() {
  for (;;) {
    if (!socket_.input().empty()) {
      const Parsed parsed = parser_.parse(socket_.input());
      if (parsed == Parsed::complete) return begin_request();
      if (parsed == Parsed::refused) return answer(error_of(parser_.refusal()));
    }
    if (!readable_) return;
    const bool was_idle = socket_.input().empty();
    switch (socket_.read_ahead()) {
      case SocketState::ready: break;
      case SocketState::blocked: readable_ = false; break;
      case SocketState::ended:
      case SocketState::cut:
      case SocketState::failed: return die();
    }
    if (was_idle && !socket_.input().empty()) since_ = DataPlane::now();
  }
}

void ProxyClient::begin_request() {
  exchange_ = std::make_unique<Exchange>(Exchange{.head = parser_.head(),
                                                  .asked = http::asked_by(parser_.head()),
                                                  .route = {},
                                                  .request_id = next_request_id(),
                                                  .course = {},
                                                  .body = {parser_.hop().transfer, parser_.head().framing.length},
                                                  .pace = {},
                                                  .is_invited = !parser_.head().expect_continue,
                                                  .response = {},
                                                  .trailers = {},
                                                  .replay = {}});
  exchange_->course.request = parser_.hop();
  exchange_->course.request_is_complete = exchange_->body.is_complete();
  if (inside_) {
    // What CONNECT asked for is where everything inside it goes; its Host field is for the back end only.
    exchange_->head.authority = inside_->authority;
    exchange_->route = inside_->route;
  } else {
    auto route = around_->admit(exchange_->head, parser_.proxy_authorization(), plane_.worker().index());
    if (!route) return answer(route.error());
    exchange_->route = std::move(*route);
  }
  http::erase_own_fields(exchange_->head.fields);
  exchange_->head.fields.set("Via", "1.1 culvert");
  exchange_->head.fields.set("X-Forwarded-For", source_.to_string());
  if (!place())
    answer({503,
            "request.no_agent",
            "destination_unavailable",
            "no agent of this account and location is connected",
            "see `status` of the server; check account, location and the agent's log",
            {},
            false});
}

/// Opens a stream for the request, here or on another worker. False: no tunnel is left to try.
bool ProxyClient::place() {
  for (;;) {
    std::optional<TunnelId> id = std::exchange(wanted_tunnel_, std::nullopt);
    if (!id) {
      const auto entry = around_->directory.pick(location_key(exchange_->route.account, exchange_->route.location),
                                                 plane_.worker().index(), tried_, TunnelDirectory::Moves::each_time);
      if (!entry) return false;
      if (entry->plane != plane_.worker().index()) {
        // Not once something was sent on, or waits to be sent.
        if (tried_.empty() && !socket_.has_output()) {
          move_to(*entry);
          return true;
        }
        tried_.push_back(entry->id);
        continue;
      }
      id = entry->id;
    }
    tried_.push_back(*id);
    Tunnel* tunnel = plane_.find_tunnel(*id);
    if (tunnel != nullptr && open(*tunnel)) return true;
  }
}

bool ProxyClient::open(Tunnel& tunnel) {
  protocol::Open message;
  message.kind = exchange_->asked.is_connect ? protocol::Open::Kind::host : protocol::Open::Kind::http;
  message.name = exchange_->head.authority.host;
  message.port = exchange_->head.authority.port;
  const auto stream = tunnel.open(message, *this);
  if (!stream) return false;
  ++streams_;
  if (state_ == State::reading) {
    state_ = State::exchanging;
    socket_.use(parser_.used());
  }
  tunnel_ = &tunnel;
  stream_ = *stream;
  exchange_->replayed = 0;
  if (exchange_->asked.is_connect) return true;
  tunnel.send_head(stream_, http::to_message(exchange_->head));
  tunnel.set_readable(stream_);
  return true;
}

/// The whole connection, with the request still unread: it is parsed again there.
void ProxyClient::move_to(const TunnelDirectory::Entry& entry) {
  plane_.worker().poller().remove(socket_.fd(), *this);
  auto [socket, read_ahead] = socket_.release();
  auto setup = std::make_shared<Setup>(Setup{
      around_, socket.release(), std::move(read_ahead), source_, std::move(place_), entry.id, {}, std::move(inside_)});
  DataPlane& there = around_->planes.plane(entry.plane);
  there.worker().post([&there, setup] { start(there, std::move(*setup)); });
  die();
}

// ---- the request's body

StreamEnd::Pull ProxyClient::pull(std::span<std::byte> room) {
  if (state_ != State::exchanging) return {0, Source::blocked};
  Exchange& now = *exchange_;
  // What the client sends next may be another protocol: only the answer tells whether the request ends here.
  const bool may_become_raw = now.asked.is_connect || !now.asked.upgrade.empty();
  if (may_become_raw && !now.is_raw && !now.response) return {0, Source::blocked};
  if (now.replayed < now.replay.size()) {
    const auto rest = std::span(now.replay).subspan(now.replayed);
    const std::size_t bytes = std::min(rest.size(), room.size());
    std::ranges::copy(rest.first(bytes), room.begin());
    now.replayed += bytes;
    if (now.is_answered) forget_replayed();
    return {bytes, Source::more};
  }
  const auto outcome = socket_.pull(room, now.body);
  if (outcome.bytes > 0) {
    now.pace.came(outcome.bytes);
    now.is_invited = true;  // It does not wait to be.
  }
  if (!now.is_answered && outcome.bytes > 0) {
    now.replay.insert(now.replay.end(), room.begin(), room.begin() + static_cast<std::ptrdiff_t>(outcome.bytes));
    now.replayed = now.replay.size();
  }
  switch (outcome.state) {
    case SocketState::ready: return {outcome.bytes, Source::more};
    case SocketState::blocked: readable_ = false; return {outcome.bytes, Source::blocked};
    case SocketState::ended: break;
    case SocketState::cut:
    case SocketState::failed:
      // The stream ends with this; on_forgotten() does the rest.
      now.broke_off = true;
      return {0, Source::aborted, Reason::cancelled};
  }
  if (!now.body.trailers().empty()) {
    if (outcome.bytes > 0) return {outcome.bytes, Source::more};
    if (!std::exchange(now.sent_trailers, true)) {
      tunnel_->send_head(stream_, http::to_message(now.body.trailers()));
      return {0, Source::more};
    }
  }
  // The end goes with the last bytes: an answer to them must not find the request unfinished.
  now.course.request_is_complete = true;
  if (now.is_raw && now.course.response_is_complete) touch();
  return {outcome.bytes, Source::ended};
}

// ---- the response

void ProxyClient::on_accepted() {
  if (!exchange_) return;
  exchange_->is_answered = true;
  forget_replayed();
  if (exchange_->asked.is_connect) begin_raw("HTTP/1.1 200 Connection established\r\n\r\n");
}

/// The answer may overtake what is still to be sent again.
void ProxyClient::forget_replayed() {
  if (exchange_->replayed < exchange_->replay.size()) return;
  exchange_->replay = std::vector<std::byte>();
  exchange_->replayed = 0;
}

/// From here on the connection carries bytes that are nobody's HTTP but the two ends'.
void ProxyClient::begin_raw(std::string_view said) {
  socket_.write(said);
  exchange_->is_raw = true;
  exchange_->body = http::BodyReader(http::Transfer::until_close, 0);
  exchange_->response.emplace(http::Transfer::until_close, 0);
  exchange_->course.request_is_complete = false;
  tunnel_->set_readable(stream_);
  touch();
}

void ProxyClient::on_rejected(const protocol::Reject& reject) {
  if (state_ != State::exchanging) return;
  tunnel_ = nullptr;  // on_forgotten() follows, for the window's sake.
  exchange_->sent_trailers = false;
  if (reject.reason == Reason::speaks_http && exchange_->asked.is_connect) {
    // The agent wants to see each request: they are parsed here, and go one by one.
    inside_ = Inside{exchange_->head.authority, exchange_->route};
    parser_ = http::RequestParser(http::Role::origin);
    socket_.write("HTTP/1.1 200 Connection established\r\n\r\n");
    exchange_.reset();
    tried_.clear();
    state_ = State::reading;
    return touch();
  }
  if (reject.retryable && tried_.size() < attempts_max && place()) return;
  answer(error_of(reject.reason));
}

void ProxyClient::on_head(Bytes message) {
  if (tunnel_ != nullptr) tunnel_->take(stream_, message.size());
  if (state_ != State::exchanging) return;
  auto came = http::read_answer(message, exchange_->asked);
  if (!came) return cut(Reason::aborted);
  if (came->is_trailers) {
    exchange_->trailers = std::move(came->trailers);
    return;
  }
  if (exchange_->response) return cut(Reason::aborted);
  if (http::is_interim(came->head.status)) {
    exchange_->is_invited = true;
    if (exchange_->course.request.version == http::Version::http_1_0) return;
    std::string text;
    http::write_response(text, came->head, http::Transfer::none, http::AfterThis::keep);
    socket_.write(text);
    return touch();
  }
  begin_response(std::move(came->head));
}

void ProxyClient::begin_response(http::ResponseHead head) {
  Exchange& now = *exchange_;
  plane_.counters().http_responses(head.status).add();
  const auto transfer = http::transfer_of(head, now.asked, now.course.request.version);
  now.course.status = head.status;
  now.course.response = {http::Version::http_1_1, transfer, transfer == http::Transfer::until_close};
  // A request whose body is still coming will not be read to its end: nobody wants it.
  const bool keeps = !now.course.request.close && now.course.request_is_complete && !client_ended_;
  const auto after = keeps || head.status == 101 ? http::AfterThis::keep : http::AfterThis::close;
  now.course.response.close |= after == http::AfterThis::close;
  head.fields.set("Via", "1.1 culvert");
  std::string text;
  http::write_response(text, head, transfer, after);
  if (head.status == 101) return begin_raw(text);
  socket_.write(text);
  now.response.emplace(transfer, head.framing.length);
  if (!now.asked.upgrade.empty() && tunnel_ != nullptr) tunnel_->set_readable(stream_);
  touch();
}

void ProxyClient::push(std::span<const Bytes> pieces) {
  std::size_t size = 0;
  for (const Bytes piece : pieces) size += piece.size();
  if (state_ != State::exchanging) {
    if (tunnel_ != nullptr) tunnel_->take(stream_, size);
    return;
  }
  const std::size_t waited = socket_.waiting() + size;
  auto& response = exchange_->response;
  if (!response || !socket_.write_body(pieces, *response)) return cut(Reason::aborted);
  exchange_->untaken_bytes += size;
  settle_taken(waited);
  touch();
}

/// What the socket has taken may be replaced by the agent: credit.
void ProxyClient::settle_taken(std::size_t waited_before) {
  if (!exchange_ || tunnel_ == nullptr) return;
  const std::size_t waiting = socket_.waiting();
  const std::uint64_t gone = waiting == 0 ? exchange_->untaken_bytes : waited_before - std::min(waited_before, waiting);
  const std::uint64_t taken = std::min(exchange_->untaken_bytes, gone);
  if (taken == 0) return;
  exchange_->untaken_bytes -= taken;
  tunnel_->take(stream_, taken);
}

void ProxyClient::on_finished(bool aborted) {
  if (state_ != State::exchanging) return;
  std::string end;
  auto& response = exchange_->response;
  if (aborted || !response || !response->finish(end, exchange_->trailers)) return cut(Reason::target_reset);
  socket_.write(end);
  exchange_->course.response_is_complete = true;
  touch();
  if (!exchange_->is_raw) end_exchange();
}

void ProxyClient::on_reset(Reason reason) {
  if (state_ == State::exchanging) cut(reason);
}

void ProxyClient::on_stopped(Reason) {}

void ProxyClient::on_forgotten(std::uint64_t window_bytes) {
  plane_.memory().give(window_bytes);
  --streams_;
  // A refused stream may have a successor already.
  if (tunnel_ != nullptr && !tunnel_->knows(stream_)) tunnel_ = nullptr;
  if (state_ == State::gone && streams_ == 0) return plane_.bury_end(id_);
  if (state_ != State::exchanging || tunnel_ != nullptr) return;
  if (exchange_->broke_off) {
    if (exchange_->response || exchange_->body.is_intact()) {
      socket_.reset();
      return die();
    }
    return answer(error_of(exchange_->body.refusal()));
  }
  if (exchange_->course.response_is_complete) end_exchange();
}

}  // namespace culvert::server
