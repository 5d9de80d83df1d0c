// SPDX-License-Identifier: Apache-2.0
// The life of a tunnel, and its streams. What comes in goes through tunnel_receive.cpp, what goes out through
// tunnel_send.cpp.
#include "common/tunnel/tunnel.hpp"

#include <algorithm>
#include <utility>

#include <fmt/core.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "common/net/socket_options.hpp"
#include "protocol/check.hpp"

namespace culvert {

using protocol::Reason;

namespace {

/// What of a batch may wait in the kernel: so much as leaves within 10 ms.
constexpr std::uint64_t notsent_per_second = 100;
constexpr std::uint64_t notsent_bytes_min = 16 << 10;
constexpr std::uint64_t notsent_bytes_max = 128 << 10;
/// Below it a tunnel is not in use: nothing limits it.
constexpr std::uint64_t busy_bytes_per_second = 64 << 10;
constexpr int user_timeout_ms = 12'000;
/// How long a closing tunnel waits for the peer to read our GOAWAY.
constexpr int closing_ticks_max = 2;

StreamEnd& end_of(void* user) {
  return *static_cast<StreamEnd*>(user);
}

}  // namespace

Tunnel::Tunnel(DataPlane& plane, Setup setup, TunnelOwner& owner)
    : plane_(plane),
      owner_(owner),
      id_(setup.id),
      peer_(std::move(setup.peer)),
      fd_(std::move(setup.fd)),
      engine_(std::move(setup.ssl)),
      session_(std::move(setup.session), DataPlane::now()),
      load_(std::make_shared<TunnelLoad>()),
      notsent_bytes_(notsent_bytes_max),
      since_(std::chrono::steady_clock::now()) {
  second_.began = DataPlane::now();
  if (!setup.congestion_control.empty()) ask_for_congestion_control(fd_.get(), setup.congestion_control);
  engine_.set_key_update_bytes(setup.key_update_bytes);
}

Tunnel::~Tunnel() {
  plane_.worker().forget(*this);
  plane_.worker().poller().remove(fd_.get(), *this);
}

void Tunnel::start() {
  set_option(fd_.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd_.get(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, notsent_bytes_);
  set_option(fd_.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, user_timeout_ms);
  if (!plane_.worker().poller().add(fd_.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP, *this)) {
    return fail({"tunnel.unwatched", "the kernel watches no more sockets for us: raise fs.epoll.max_user_watches"});
  }
  shake_hands();
}

TunnelStatus Tunnel::status() const {
  const char* state = "closing";
  if (state_ == State::handshaking) state = "handshaking";
  if (state_ == State::running)
    state = !session_.is_greeted() ? "greeting" : session_.may_open() && !session_.is_draining() ? "up" : "draining";
  return {id_, state, peer_, session_.round_trip(), session_.streams(), bytes_in_, bytes_out_, since_};
}

void Tunnel::touch() {
  if (std::exchange(touched_, true)) return;
  plane_.worker().at_end_of_turn(*this);
}

void Tunnel::on_tick(protocol::Time now) {
  if (state_ == State::closed) return;
  if (state_ == State::closing && ++closing_ticks_ > closing_ticks_max) return finish();
  begin_second(now);
  if (now < session_.deadline()) return;
  if (state_ == State::handshaking)
    return fail({"tunnel.timed_out", fmt::format("{} did not finish the TLS handshake within 10 s", peer_)});
  session_.on_time(now);
  handle_events();
  touch();
}

/// How much it carries decides how much it may batch, and whether it should have company.
void Tunnel::begin_second(protocol::Time now) {
  const Second before = std::exchange(
      second_, {now, bytes_in_, bytes_out_, bytes_in_ - second_.began_in, bytes_out_ - second_.began_out});
  publish_load();
  if (refused_for_seconds_ > 0) --refused_for_seconds_;
  if (state_ != State::running || second_.last_out < busy_bytes_per_second) {
    congestion_ = {};
    return;
  }
  const auto notsent =
      static_cast<int>(std::clamp(rate_out() / notsent_per_second, notsent_bytes_min, notsent_bytes_max));
  if (notsent != notsent_bytes_) set_option(fd_.get(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, notsent_bytes_ = notsent);
  const auto progress = tcp_progress(fd_.get());
  if (progress && congestion_.is_limiting(*progress, now - before.began)) owner_.on_congested(*this);
}

std::chrono::microseconds Tunnel::tcp_round_trip() const {
  const auto progress = tcp_progress(fd_.get());
  return progress ? progress->round_trip_min : std::chrono::microseconds(0);
}

// ---- events of the socket

void Tunnel::on_ready(std::uint32_t events) {
  if (state_ == State::closed) return;
  if ((events & EPOLLOUT) != 0) writable_ = true;
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) hangup_ = true;
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
    readable_ = true;
    receive();
  }
  if (state_ != State::closed) touch();
}

void Tunnel::on_turn_end() {
  touched_ = false;
  if (state_ == State::closed) return;
  if (readable_) receive();
  if (state_ == State::closed) return;
  handle_events();
  send();
  if (state_ != State::closed) publish_load();
}

void Tunnel::publish_load() {
  load_->streams.store(static_cast<std::uint32_t>(session_.streams()), std::memory_order_relaxed);
  if (const auto round_trip = session_.round_trip())
    load_->round_trip_us.store(round_trip->count(), std::memory_order_relaxed);
  load_->queued_bytes.store(output_ ? output_->size() : 0, std::memory_order_relaxed);
  load_->recent_bytes.store(
      second_.last_in + second_.last_out + bytes_in_ - second_.began_in + bytes_out_ - second_.began_out,
      std::memory_order_relaxed);
}

// ---- the tunnel

void Tunnel::welcome(const protocol::Welcome& message) {
  session_.welcome(message);
  touch();
}

void Tunnel::ask_to_widen() {
  session_.ask_to_widen();
  touch();
}

void Tunnel::tell_replicas(std::vector<std::string> names) {
  session_.tell_replicas(std::move(names));
  touch();
}

void Tunnel::drain(Reason reason, std::chrono::milliseconds delay) {
  session_.drain(reason, delay);
  touch();
}

void Tunnel::close(Reason reason, std::string text) {
  if (state_ == State::handshaking)
    return fail({fmt::format("tunnel.{}", protocol::to_string(reason)), std::move(text)});
  session_.close(reason, std::move(text));
  touch();
}

/// The session is over: its streams end now, our last frames still go out.
void Tunnel::begin_closing(const Error& why) {
  if (state_ != State::running) return;
  state_ = State::closing;
  if (why_.code.empty()) why_ = why;
  for (const protocol::Session::Survivor& stream : session_.survivors()) {
    if (stream.user != nullptr) end_of(stream.user).on_reset(Reason::tunnel_lost);
    end_stream({stream.id, stream.user, stream.window_bytes});
  }
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
  // What TLS still wants to say is the alert that tells the peer why. It goes out, or nothing can be done about it.
  if (output_ && !output_->empty())
    (void)::send(fd_.get(), output_->bytes().data(), output_->size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  output_.reset();
  ::shutdown(fd_.get(), SHUT_RDWR);
  owner_.on_closed(*this, why_);
  plane_.bury(*this);
}

// ---- streams

std::optional<protocol::StreamId> Tunnel::open(const protocol::Open& message, StreamEnd& end) {
  if (!may_open()) return std::nullopt;
  const std::uint64_t window = plane_.take_window(session_.window_bytes());
  if (window == 0) return std::nullopt;
  protocol::Open open = message;
  open.credit = window;
  const auto id = session_.open(open, &end);
  check(id.has_value(), "a session that may open does");
  begin_stream(window);
  plane_.counters().streams_opened.add();
  if (session_.is_draining()) owner_.on_draining(*this, std::chrono::milliseconds(0));
  touch();
  return id;
}

void Tunnel::attach(protocol::StreamId stream, StreamEnd& end) {
  session_.attach(stream, &end);
}

void Tunnel::accept(protocol::StreamId stream) {
  const std::uint64_t before = session_.window_bytes();
  const std::uint64_t window = plane_.take_window(before);
  session_.accept(stream, window);
  const std::uint64_t used = session_.window_bytes() - before;
  if (window > used) plane_.memory().give(window - used);
  plane_.counters().window_bytes.add(static_cast<std::int64_t>(used));
  touch();
}

void Tunnel::reject(protocol::StreamId stream, const protocol::Reject& reject) {
  plane_.counters().streams_rejected.add(reject.reason);
  session_.reject(stream, reject);
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

void Tunnel::reset(protocol::StreamId stream, Reason reason) {
  session_.reset(stream, reason);
  touch();
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
