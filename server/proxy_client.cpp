// SPDX-License-Identifier: Apache-2.0
#include "server/proxy_client.hpp"

#include <algorithm>
#include <utility>

#include <fmt/core.h>
#include <sys/epoll.h>

#include "common/http/field_names.hpp"
#include "common/http/head_writer.hpp"

// The way of a request: on_ready -> read_requests -> begin_request -> place -> open; then its body by pull(). The way
// back: on_head, push and on_finished, each into the socket's output, which the end of the turn sends in one call.

namespace culvert::server {

using http::Parsed;
using protocol::Reason;
using protocol::Source;
using SocketState = RelaySocket::State;

namespace {

constexpr std::chrono::seconds linger_time_max{2};
constexpr std::size_t linger_bytes_at_once = 256 << 10;
constexpr std::size_t attempts_max = 3;

}  // namespace

void ProxyClient::start(DataPlane& plane, Setup setup) {
  auto client = std::make_unique<ProxyClient>(plane, std::move(setup));
  ProxyClient& started = *client;
  started.id_ = plane.add(std::move(client));
  if (!plane.worker().poller().add(started.socket_.fd(), EPOLLIN | EPOLLOUT | EPOLLRDHUP, started))
    return started.die();
  started.readable_ = true;
  started.read_requests();
}

ProxyClient::ProxyClient(DataPlane& plane, Setup setup)
    : plane_(plane),
      around_(std::move(setup.around)),
      source_(setup.source),
      place_(std::move(setup.place)),
      socket_(RelaySocket(std::move(setup.socket)), std::move(setup.read_ahead)),
      since_(DataPlane::now()),
      tried_(std::move(setup.tried)),
      wanted_tunnel_(setup.tunnel),
      inside_(std::move(setup.inside)) {
  if (inside_) parser_ = http::RequestParser(http::Role::origin);
}

ProxyClient::~ProxyClient() {
  plane_.worker().forget(*this);
  if (socket_) plane_.worker().poller().forget(*this);
}

void ProxyClient::touch() {
  if (std::exchange(touched_, true)) return;
  plane_.worker().at_end_of_turn(*this);
}

void ProxyClient::on_turn_end() {
  touched_ = false;
  if (state_ != State::gone) flush();
  if (state_ == State::reading) read_requests();
}

// ---- the socket

void ProxyClient::on_ready(std::uint32_t events) {
  if (state_ == State::gone) return;
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) socket_.note_hangup();
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) {
    // Nobody is there to be answered.
    give_up_stream(Reason::cancelled);
    return die();
  }
  if ((events & EPOLLOUT) != 0 && socket_.has_output()) flush();
  if ((events & (EPOLLIN | EPOLLRDHUP)) == 0) return;
  readable_ = true;
  if (state_ == State::reading) read_requests();
  if (state_ == State::exchanging && tunnel_ != nullptr) tunnel_->set_readable(stream_);
  if (state_ == State::lingering) linger();
}

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
      const auto entry = around_->directory.pick(exchange_->route.account + "/" + exchange_->route.location,
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

// ---- the ends

/// Both directions are over: the next request, or none.
void ProxyClient::end_exchange() {
  if (tunnel_ != nullptr) {
    // Whatever of the request was not sent is not wanted any more.
    if (!exchange_->course.request_is_complete) give_up_stream(Reason::cancelled);
    if (tunnel_ != nullptr) return;  // on_forgotten() comes back here.
  }
  if (exchange_->is_raw || !http::may_reuse_client(exchange_->course)) return leave();
  exchange_.reset();
  tried_.clear();
  parser_.reset();
  state_ = State::reading;
  since_ = DataPlane::now();
  touch();  // The next request is for the next turn, however many the client sent together.
}

/// An error of our own. Without a request nobody knows what the client meant: the connection closes.
void ProxyClient::answer(const ProxyError& error) {
  const bool understood = exchange_ != nullptr;
  const std::string id = understood ? exchange_->request_id : next_request_id();
  const bool keeps = understood && exchange_->course.request_is_complete && !exchange_->course.request.close &&
                     !exchange_->asked.is_connect;
  around_->log.limited(Log::Level::info, "request.failed",
                       {{"status", error.status}, {"code", error.code}, {"request_id", id}});
  plane_.counters().http_errors(error.status).add();
  socket_.write(write_error(error, id, !understood || !exchange_->asked.is_head, keeps));
  touch();
  give_up_stream(Reason::cancelled);
  if (!keeps) return leave();
  if (state_ == State::reading) socket_.use(parser_.used());
  state_ = State::exchanging;
  exchange_->course.status = error.status;
  exchange_->course.response = {http::Version::http_1_1, http::Transfer::length, false};
  exchange_->course.response_is_complete = true;
  end_exchange();
}

/// The response cannot be given as it should: an error while that can still be told, else a connection that breaks off,
/// so that nobody takes a part for the whole.
void ProxyClient::cut(Reason reason) {
  if (state_ != State::exchanging) return;
  give_up_stream(Reason::aborted);
  if (!exchange_->response && reason != Reason::cancelled) return answer(error_of(reason));
  socket_.reset();
  die();
}

void ProxyClient::give_up_stream(Reason reason) {
  if (tunnel_ != nullptr) tunnel_->reset(stream_, reason);
}

void ProxyClient::leave() {
  state_ = State::leaving;
  since_ = DataPlane::now();
  flush();
}

void ProxyClient::flush() {
  const std::size_t waited = socket_.waiting();
  if (!socket_.flush()) {
    give_up_stream(Reason::cancelled);
    return die();
  }
  settle_taken(waited);
  if (socket_.has_output()) return;
  const bool raw_end = state_ == State::exchanging && exchange_->is_raw && exchange_->course.response_is_complete;
  if (state_ != State::leaving && !raw_end) return;
  if (!socket_.finish()) return;
  if (raw_end && !exchange_->course.request_is_complete) return;  // A half-close: the other direction lives on.
  state_ = State::lingering;
  since_ = DataPlane::now();
  readable_ = true;
  linger();
}

/// To close with bytes unread would make a reset of it, which might overtake what we said last. So what still comes is
/// read and dropped, until the client closes or the time is over.
void ProxyClient::linger() {
  for (std::size_t dropped = 0; readable_ && dropped < linger_bytes_at_once;) {
    const SocketState state = socket_.read_ahead();
    dropped += socket_.input().size();
    socket_.use(socket_.input().size());
    if (state == SocketState::blocked) readable_ = false;
    if (state != SocketState::ready && state != SocketState::blocked) return die();
  }
  if (!readable_) return;
  // A client that sends on and on: others have their turn.
  plane_.worker().post([&plane = plane_, id = id_] {
    auto* client = static_cast<ProxyClient*>(plane.find_end(id));
    if (client != nullptr && client->state_ == State::lingering) client->linger();
  });
}

void ProxyClient::on_tick(protocol::Time now) {
  if (state_ == State::gone || !is_too_slow(now)) return;
  // Not inside the walk over all ends.
  plane_.worker().post([&plane = plane_, id = id_] {
    auto* client = static_cast<ProxyClient*>(plane.find_end(id));
    if (client != nullptr && client->state_ != State::gone) client->end_slow_client();
  });
}

bool ProxyClient::is_too_slow(protocol::Time now) {
  const bool is_raw = exchange_ && exchange_->is_raw;
  const bool something_waits = socket_.has_output() && !is_raw;
  if (taking_.is_stalled(something_waits, something_waits ? socket_.acknowledged() : 0, now)) return true;
  const bool has_read_all = !readable_ && socket_.input().empty();
  switch (state_) {
    case State::reading: return now - since_ >= (socket_.input().empty() ? idle_time_max : head_time_max);
    case State::exchanging:
      // Once the back end has begun to answer, how long that goes on is its own and its mapping's affair.
      return exchange_->pace.is_too_slow(has_read_all && exchange_->is_answered && exchange_->is_invited &&
                                             !exchange_->course.request_is_complete && !exchange_->response,
                                         now);
    case State::leaving: return false;
    case State::lingering: return now - since_ >= linger_time_max;
    case State::gone: return false;
  }
  return false;
}

void ProxyClient::end_slow_client() {
  // May have changed since the tick.
  if (!is_too_slow(DataPlane::now())) return;
  const bool owes = state_ == State::exchanging || (state_ == State::reading && !socket_.input().empty());
  if (owes && !socket_.has_output()) {
    return answer({408,
                   "request.too_slow",
                   "http_request_error",
                   "the request came too slowly",
                   "send a head within 10 s, and 256 bytes of a body per second",
                   {},
                   false});
  }
  give_up_stream(Reason::stalled);
  // What it has not taken must not look like the end.
  if (socket_.has_output()) socket_.reset();
  die();
}

void ProxyClient::die() {
  if (std::exchange(state_, State::gone) == State::gone) return;
  if (socket_) {
    plane_.worker().poller().forget(*this);
    socket_.close();
  }
  exchange_.reset();
  if (streams_ == 0) plane_.bury_end(id_);
}

}  // namespace culvert::server
