// SPDX-License-Identifier: Apache-2.0
// The connection: its socket, its deadlines and its end. What goes over it is in proxy_client_exchange.cpp.
#include "server/proxy_client.hpp"

#include <utility>

#include <sys/epoll.h>

namespace culvert::server {

using protocol::Reason;
using SocketState = RelaySocket::State;

namespace {

constexpr std::chrono::seconds linger_time_max{2};
constexpr std::size_t linger_bytes_at_once = 256 << 10;

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
