// SPDX-License-Identifier: Apache-2.0
// The life of a tunnel, and its streams. tunnel_receive.cpp has the receiving side, tunnel_send.cpp the sending side.
#include "common/tunnel/tunnel.hpp"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "common/net/monotonic_time.hpp"
#include "protocol/check.hpp"

namespace culvert {

using protocol::Reason;

namespace {

/// How long a closing tunnel waits for the peer to read our GOAWAY.
constexpr int closing_ticks_max = 2;

}  // namespace

Tunnel::Tunnel(DataPlane& plane, Setup setup, TunnelOwner& owner)
    : plane_(plane),
      owner_(owner),
      id_(setup.id),
      peer_(std::move(setup.peer)),
      socket_(plane, std::move(setup.fd), std::move(setup.ssl), setup.key_update_bytes, setup.congestion_control),
      session_(setup.session, monotonic_now()),
      load_(std::make_shared<TunnelLoad>()),
      memory_holder_(std::move(setup.memory_holder)),
      since_(std::chrono::steady_clock::now()) {}

Tunnel::~Tunnel() {
  plane_.worker().forget(*this);
  socket_.unwatch(*this);
}

void Tunnel::start() {
  if (!socket_.watch(*this)) {
    return fail(
        {"tunnel.unwatched", "the kernel's limit of watched sockets is reached: raise fs.epoll.max_user_watches"});
  }
  shake_hands();
}

TunnelStatus Tunnel::status() const {
  const char* state = "closing";
  if (state_ == State::handshaking) state = "handshaking";
  if (state_ == State::running)
    state = !session_.is_greeted() ? "greeting" : session_.may_open() && !session_.is_draining() ? "up" : "draining";
  return {id_,   state, peer_, session_.round_trip(), session_.streams(), socket_.bytes_in(), socket_.bytes_out(),
          since_};
}

void Tunnel::touch() {
  if (std::exchange(touched_, true)) return;
  plane_.worker().at_end_of_turn(*this);
}

void Tunnel::on_tick(protocol::Time now) {
  if (state_ == State::closed) return;
  if (state_ == State::closing && ++closing_ticks_ > closing_ticks_max) return finish();
  traffic_.begin_second();
  publish_load();
  socket_.begin_second(now);
  if (state_ == State::running && socket_.is_congested()) owner_.on_congested(*this);
  if (now < session_.deadline()) return;
  if (state_ == State::handshaking)
    return fail({"tunnel.timed_out", fmt::format("{} did not finish the TLS handshake within 10 s", peer_)});
  session_.on_time(now);
  handle_events();
  touch();
}

// ---- events of the socket

void Tunnel::on_ready(std::uint32_t events) {
  if (state_ == State::closed) return;
  socket_.note_ready(events);
  if (socket_.is_readable()) receive();
  if (state_ != State::closed) touch();
}

void Tunnel::on_turn_end() {
  touched_ = false;
  if (state_ == State::closed) return;
  if (socket_.is_readable()) receive();
  if (state_ == State::closed) return;
  handle_events();
  send();
  if (state_ != State::closed) publish_load();
}

void Tunnel::publish_load() {
  load_->streams.store(static_cast<std::uint32_t>(session_.streams()), std::memory_order_relaxed);
  if (const auto round_trip = session_.round_trip())
    load_->round_trip_us.store(round_trip->count(), std::memory_order_relaxed);
  load_->queued_bytes.store(socket_.queued_bytes(), std::memory_order_relaxed);
  load_->recent_bytes.store(traffic_.recent_bytes(), std::memory_order_relaxed);
  load_->busy_streams.store(traffic_.busy_streams(), std::memory_order_relaxed);
}

// ---- the tunnel

void Tunnel::close(Reason reason, std::string text) {
  if (state_ == State::handshaking)
    return fail({fmt::format("tunnel.{}", protocol::to_string(reason)), std::move(text)});
  session_.close(reason, std::move(text));
  touch();
}

/// The session has ended: ends its streams now; the last frames are still sent.
void Tunnel::begin_closing(const Error& why) {
  if (state_ != State::running) return;
  state_ = State::closing;
  if (why_.code.empty()) why_ = why;
  survivors_ = session_.survivors();
  // Iterates by index: an end may drop its stream, or another one later in the list.
  for (std::size_t i = 0; i < survivors_.size(); ++i) {
    const auto [id, user, window_bytes] = survivors_[i];
    end_stream({id, nullptr, window_bytes});
    Stream* stream = delivery_.stream_of(id, user);
    if (stream == nullptr) continue;
    release(*stream);
    stream->end().on_reset(Reason::tunnel_lost);
  }
  survivors_.clear();
  touch();
}

void Tunnel::fail(Error why) {
  if (state_ == State::closed) return;
  if (why_.code.empty()) why_ = std::move(why);
  if (state_ == State::handshaking) state_ = State::running;
  session_.close(Reason::tunnel_lost, "");
  handle_events();
  finish();
}

void Tunnel::finish() {
  if (state_ == State::closed) return;
  state_ = State::closed;
  load_->last_received_us.store(0, std::memory_order_relaxed);
  socket_.close();
  owner_.on_closed(*this, why_);
  plane_.retire(*this);
}

// ---- streams

bool Tunnel::open(const protocol::Open& message, Stream& stream, StreamEnd& end) {
  if (!may_open() || is_out_of_memory()) return false;
  const std::uint64_t window = plane_.take_window(session_.window_bytes());
  if (window == 0) return false;
  protocol::Open open = message;
  open.credit = window;
  const auto id = session_.open(open, nullptr);
  check(id.has_value(), "a session that may open a stream opens it");
  begin_stream(window);
  plane_.counters().streams_opened.add();
  stream = Stream(*this, *id);  // NOLINT(bugprone-unchecked-optional-access): checked above.
  stream.join(end);
  if (session_.is_draining()) owner_.on_draining(*this, std::chrono::milliseconds(0));
  touch();
  return true;
}

void Tunnel::attach(Stream& stream) {
  session_.attach(stream.id_, &stream);
  for (protocol::Session::Survivor& survivor : survivors_) {
    if (survivor.id == stream.id_) survivor.user = &stream;
  }
}

/// Separates the stream from the tunnel: its end is not called any more.
void Tunnel::release(Stream& stream) {
  session_.attach(stream.id_, nullptr);
  delivery_.release(stream.id_, stream);
  traffic_.end(stream.traffic_);
  stream.tunnel_ = nullptr;
}

void Tunnel::announce_dial_time(protocol::StreamId stream, std::chrono::milliseconds time) {
  session_.announce_dial_time(stream, time);
  touch();
}

void Tunnel::accept(protocol::StreamId stream) {
  const std::uint64_t before = session_.window_bytes();
  const std::uint64_t window = plane_.take_window(before);
  session_.accept(stream, window);
  const std::uint64_t used = session_.window_bytes() - before;
  if (window > used) plane_.memory().give(window - used);
  count_window(used);
  touch();
}

void Tunnel::reject(Stream& stream, const protocol::Reject& reject) {
  plane_.counters().streams_rejected.add(reject.reason);
  release(stream);
  session_.reject(stream.id_, reject);
  touch();
}

void Tunnel::send_head(protocol::StreamId stream, std::vector<std::byte> message) {
  session_.send_head(stream, std::move(message));
  touch();
}

void Tunnel::set_readable(protocol::StreamId stream) {
  session_.set_readable(stream);
  touch();
}

void Tunnel::take(protocol::StreamId stream, std::size_t bytes) {
  session_.take(stream, bytes);
  touch();
}

void Tunnel::reset(Stream& stream, Reason reason) {
  release(stream);
  session_.reset(stream.id_, reason);
  touch();
}

std::vector<std::pair<Stream*, std::uint64_t>> Tunnel::waiting_streams() const {
  std::vector<std::pair<Stream*, std::uint64_t>> all;
  for (const auto& [id, user, window_bytes] : session_.with_waiting_bytes()) {
    if (Stream* stream = delivery_.stream_of(id, user)) all.emplace_back(stream, window_bytes);
  }
  return all;
}

void close_all(DataPlane& plane, Reason reason, const std::string& text) {
  // A tunnel may end inside close(), and leave the table.
  std::vector<TunnelId> ids;
  for (const auto& [id, tunnel] : plane.tunnels()) ids.push_back(id);
  for (const TunnelId id : ids) {
    if (Tunnel* tunnel = plane.find_tunnel(id)) tunnel->close(reason, text);
  }
}

}  // namespace culvert
