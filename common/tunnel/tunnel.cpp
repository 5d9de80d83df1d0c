// SPDX-License-Identifier: Apache-2.0
#include "common/tunnel/tunnel.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/core.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "common/net/socket_options.hpp"
#include "protocol/check.hpp"
#include "protocol/limits.hpp"

// Two ways through this file. In: on_ready -> receive -> feed -> handle, one DATA payload at a time straight to its
// socket. Out: whatever makes output calls touch(); at the end of the turn send() lets the session choose streams,
// fills one staging buffer from their sources, seals it, and hands it to the kernel in one call.

namespace culvert {

using protocol::Outgoing;
using protocol::Reason;

namespace {

/// What is sealed at once, and what of it may wait in the kernel: so much as leaves within 20 and 10 ms, so that a PING
/// or a small request does not wait longer behind it. The least is two records, the most is what batching gains from.
constexpr std::uint64_t batches_per_second = 50;
constexpr std::size_t batch_bytes_min = 16 << 10;
constexpr std::uint64_t notsent_per_second = 100;
constexpr std::uint64_t notsent_bytes_min = 16 << 10;
constexpr std::uint64_t notsent_bytes_max = 128 << 10;
/// Below it a tunnel is not in use: nothing limits it.
constexpr std::uint64_t busy_bytes_per_second = 64 << 10;
constexpr int user_timeout_ms = 12'000;
/// How long a closing tunnel waits for the peer to read our GOAWAY.
constexpr int closing_ticks_max = 2;

template <typename... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};

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

/// Bytes per second that leave: of the last second, or of this one where it has more already.
std::uint64_t Tunnel::rate_out() const {
  return std::max(second_.last_out, bytes_out_ - second_.began_out);
}

std::size_t Tunnel::batch_bytes() const {
  return std::clamp(static_cast<std::size_t>(rate_out() / batches_per_second), batch_bytes_min,
                    DataPlane::staging_bytes);
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

// ---- in

/// One read, then the others: what is left makes another turn.
void Tunnel::receive() {
  const auto ciphertext = plane_.ciphertext();
  const ssize_t size = ::recv(fd_.get(), ciphertext.data(), ciphertext.size(), 0);
  if (size < 0 && errno == EAGAIN) {
    readable_ = false;
    return;
  }
  if (size < 0 && errno == EINTR) return touch();
  if (size < 0)
    return fail({"tunnel.lost", fmt::format("the connection to {} broke: {}", peer_, std::strerror(errno))});
  if (size == 0) {
    readable_ = false;
    if (state_ == State::closing) return finish();
    return fail({"tunnel.lost", fmt::format("{} closed the connection without a word", peer_)});
  }
  const auto bytes = static_cast<std::size_t>(size);
  if (bytes_in_ == 0) tls_round_trip_ = DataPlane::now() - second_.began;
  bytes_in_ += bytes;
  plane_.counters().tunnel_bytes_in.add(bytes);
  load_->last_received_us.store(DataPlane::now().count(), std::memory_order_relaxed);
  if (!feed(ciphertext.first(bytes))) return;
  // A short read has emptied the socket, and what comes later makes a new event, but for an end that was announced
  // already.
  if (bytes < ciphertext.size() && !hangup_) {
    readable_ = false;
  } else {
    touch();
  }
}

/// False: the tunnel has ended, or does not read any more.
bool Tunnel::feed(std::span<const std::byte> ciphertext) {
  engine_.feed(ciphertext);
  if (state_ == State::handshaking) {
    shake_hands();
    if (state_ != State::running) return state_ == State::handshaking;
  }
  const auto plaintext = plane_.plaintext();
  for (;;) {
    engine_.set_output(output());
    const TlsEngine::Read read = engine_.read(plaintext);
    switch (read.step) {
      case TlsEngine::Step::wants_input: give_back_output(); return true;
      case TlsEngine::Step::failed: fail(engine_.error()); return false;
      case TlsEngine::Step::closed:
        if (state_ == State::closing) {
          finish();
        } else {
          fail({"tunnel.lost", fmt::format("{} ended TLS without GOAWAY", peer_)});
        }
        return false;
      case TlsEngine::Step::done: break;
    }
    if (state_ == State::closing) continue;  // Read on, so that the peer can read us.
    session_.feed(plaintext.first(read.bytes), DataPlane::now());
    handle_events();
    if (state_ == State::closed) return false;
  }
}

void Tunnel::shake_hands() {
  engine_.set_output(output());
  switch (engine_.handshake()) {
    case TlsEngine::Step::wants_input: (void)flush(); return;  // At once, or a crowd of agents holds a buffer each.
    case TlsEngine::Step::closed:
    case TlsEngine::Step::failed: return fail(engine_.error());
    case TlsEngine::Step::done: break;
  }
  state_ = State::running;
  if (auto secured = owner_.on_secured(*this); !secured) {
    // The peer learns a reason, not the details: those are for our log.
    why_ = secured.error();
    session_.close(Reason::denied, "this identity is not welcome; the log of the side that refuses tells why");
    handle_events();
  }
  touch();
}

void Tunnel::handle_events() {
  // What a delivery makes (credit, a reset) may be an event again.
  do {
    while (auto event = session_.next_event()) {
      if (!std::holds_alternative<protocol::Data>(*event)) (void)deliver_data();
      handle(*event);
      if (state_ == State::closed) return;
    }
  } while (deliver_data());
}

/// Frames of one stream that follow one another are given to its socket together: they are views into what was fed.
void Tunnel::gather(const protocol::Data& data) {
  if (gathered_.user != data.user || gathered_.count == gathered_.pieces.size()) (void)deliver_data();
  gathered_.user = data.user;
  gathered_.pieces[gathered_.count++] = data.bytes;
  plane_.counters().stream_bytes_in.add(data.bytes.size());
}

/// False: nothing was there.
bool Tunnel::deliver_data() {
  if (gathered_.count == 0) return false;
  const Gathered gathered = std::exchange(gathered_, {});
  end_of(gathered.user).push(std::span(gathered.pieces).first(gathered.count));
  return true;
}

void Tunnel::handle(protocol::Event& event) {
  std::visit(Overloaded{
                 [this](protocol::Data& data) { gather(data); },
                 [this](protocol::Greeted& greeted) { owner_.on_greeted(*this, greeted.hello); },
                 [this](protocol::Welcomed& welcomed) { owner_.on_welcomed(*this, welcomed.welcome); },
                 [this](protocol::Opened& opened) {
                   begin_stream(protocol::optimistic_bytes_max);
                   plane_.memory().charge(protocol::optimistic_bytes_max);
                   plane_.counters().streams_accepted.add();
                   if (plane_.memory().is_exhausted()) {
                     reject(opened.stream, {Reason::overloaded, true, "memory for streams is used up"});
                   } else {
                     owner_.on_opened(*this, opened.stream, opened.open);
                   }
                 },
                 [](protocol::Accepted& accepted) { end_of(accepted.user).on_accepted(); },
                 [this](protocol::Rejected& rejected) {
                   plane_.counters().streams_rejected.add(rejected.reject.reason);
                   end_of(rejected.user).on_rejected(rejected.reject);
                 },
                 [](protocol::HeadCame& head) { end_of(head.user).on_head(head.message); },
                 [](protocol::Finished& finished) { end_of(finished.user).on_finished(finished.aborted); },
                 [this](protocol::WasReset& reset) {
                   plane_.counters().streams_reset.add(reset.reason);
                   // A stream may end before anybody was joined with it.
                   if (reset.user != nullptr) end_of(reset.user).on_reset(reset.reason);
                 },
                 [](protocol::Stopped& stopped) { end_of(stopped.user).on_stopped(stopped.reason); },
                 [this](protocol::Forgotten& forgotten) { end_stream(forgotten); },
                 [this](protocol::WindowWanted& wanted) { grow_window(wanted); },
                 [this](protocol::WidenWanted&) { owner_.on_congested(*this); },
                 [this](protocol::PeerDraining& draining) { owner_.on_draining(*this, draining.delay); },
                 [this](protocol::Ended& ended) {
                   const char* who = ended.by_peer ? "the peer closed" : "we closed";
                   begin_closing({fmt::format("tunnel.{}", protocol::to_string(ended.reason)),
                                  fmt::format("{}: {}", who, ended.text)});
                 },
             },
             event);
}

void Tunnel::begin_stream(std::uint64_t window_bytes) {
  plane_.counters().window_bytes.add(static_cast<std::int64_t>(window_bytes));
  plane_.counters().streams.add();
}

void Tunnel::end_stream(const protocol::Forgotten& forgotten) {
  plane_.counters().window_bytes.sub(static_cast<std::int64_t>(forgotten.window_bytes));
  plane_.counters().streams.sub();
  if (forgotten.user != nullptr) {
    end_of(forgotten.user).on_forgotten(forgotten.window_bytes);
  } else {
    plane_.memory().give(forgotten.window_bytes);
  }
}

void Tunnel::grow_window(const protocol::WindowWanted& wanted) {
  if (plane_.memory().is_short() || !plane_.memory().take(wanted.more_bytes)) return;
  const std::uint64_t used = session_.grow_window(wanted.stream, wanted.more_bytes);
  plane_.memory().give(wanted.more_bytes - used);
  plane_.counters().window_bytes.add(static_cast<std::int64_t>(used));
}

// ---- out

SendBuffer& Tunnel::output() {
  if (!output_) output_ = plane_.take_send_buffer();
  return *output_;
}

/// Hands sealed records to the kernel. False: some are left.
bool Tunnel::flush() {
  while (output_ && !output_->empty()) {
    if (!writable_) return false;
    const auto bytes = output_->bytes();
    const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      output_->drop(static_cast<std::size_t>(sent));
      bytes_out_ += static_cast<std::uint64_t>(sent);
      plane_.counters().tunnel_bytes_out.add(static_cast<std::uint64_t>(sent));
    } else if (errno == EAGAIN) {
      writable_ = false;
      refused_for_seconds_ = 2;
    } else if (errno != EINTR) {
      fail({"tunnel.lost", fmt::format("the connection to {} broke: {}", peer_, std::strerror(errno))});
      return false;
    }
  }
  give_back_output();
  return true;
}

/// A turn may bring bytes to hundreds of tunnels: none keeps a buffer until its end that it put nothing into.
void Tunnel::give_back_output() {
  if (output_ && output_->empty()) plane_.give_send_buffer(std::move(output_));
}

/// Frames for one batch of records. 0: nobody has anything to send.
std::size_t Tunnel::fill(std::span<std::byte> staging) {
  std::size_t used = 0;
  for (;;) {
    const Outgoing out = session_.next_outgoing(staging.subspan(used));
    switch (out.kind) {
      case Outgoing::Kind::nothing: more_waits_ = false; return used;
      case Outgoing::Kind::full:
        more_waits_ = true;
        // A long HEAD may need more than a slow tunnel's batch.
        if (used > 0 || staging.size() == DataPlane::staging_bytes) return used;
        staging = plane_.staging();
        break;
      case Outgoing::Kind::frames: used += out.bytes; break;
      case Outgoing::Kind::slot: {
        const StreamEnd::Pull pull = end_of(out.slot.user).pull(out.slot.payload);
        plane_.counters().stream_bytes_out.add(pull.bytes);
        used +=
            pull.reset == Reason::none ? session_.commit(pull.bytes, pull.source) : session_.commit_reset(pull.reset);
        break;
      }
    }
  }
}

/// Whether the kernel takes more now. What is sealed too early stands before a small request that comes meanwhile:
/// where it has refused something lately it is worth a system call to ask first. Asking also makes the kernel tell us
/// when there is room.
bool Tunnel::has_room() {
  if (refused_for_seconds_ == 0) return true;
  pollfd socket{.fd = fd_.get(), .events = POLLOUT, .revents = 0};
  if (::poll(&socket, 1, 0) == 0) {
    writable_ = false;
    refused_for_seconds_ = 2;
  }
  return writable_;
}

/// One batch, then the others: who became ready meanwhile gets into the next.
void Tunnel::send() {
  if (!flush() || state_ == State::handshaking || state_ == State::closed) return;
  const auto staging = plane_.staging().first(batch_bytes());
  if (staging.size() < DataPlane::staging_bytes && !has_room()) return;
  const std::size_t used = fill(staging);
  handle_events();
  if (used == 0) {
    if (state_ != State::closing || sent_shutdown_) return;
    sent_shutdown_ = true;
    engine_.set_output(output());
    engine_.shutdown();
    if (flush()) ::shutdown(fd_.get(), SHUT_WR);
    return;
  }
  engine_.set_output(output());
  if (!engine_.write(staging.first(used))) return fail(engine_.error());
  if (flush() && more_waits_) touch();
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
