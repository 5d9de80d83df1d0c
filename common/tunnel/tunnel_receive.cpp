// SPDX-License-Identifier: Apache-2.0
// The receiving side of a tunnel: receive -> feed -> handle; DATA goes directly to the end of its stream.
#include <cstring>
#include <utility>

#include <fmt/core.h>

#include "common/net/monotonic_time.hpp"
#include "common/tunnel/stream_opener.hpp"
#include "common/tunnel/tunnel.hpp"
#include "protocol/limits.hpp"

namespace culvert {

using protocol::Reason;

namespace {

template <typename... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};

// Events that concern an agent's certificate.
void report(TunnelOwner& owner, Tunnel& tunnel, protocol::JoinAsked& asked) {
  owner.on_join_asked(tunnel, asked.join);
}
void report(TunnelOwner& owner, Tunnel& tunnel, protocol::RenewAsked& asked) {
  owner.on_renew_asked(tunnel, asked.renew);
}
void report(TunnelOwner& owner, Tunnel& tunnel, protocol::RenewAnswered& answered) {
  owner.on_renew_answered(tunnel, answered.answer);
}

}  // namespace

/// Reads once, then lets other tunnels run; the rest is read in the next turn.
void Tunnel::receive() {
  using State = TunnelSocket::Received::State;
  const auto received = socket_.receive();
  switch (received.state) {
    case State::bytes: break;
    case State::nothing:
      if (socket_.is_readable()) touch();
      return;
    case State::ended:
      if (state_ == Tunnel::State::closing) return finish();
      return fail({"tunnel.lost", fmt::format("{} closed the connection without GOAWAY", peer_)});
    case State::failed:
      return fail(
          {"tunnel.lost", fmt::format("the connection to {} failed: {}", peer_, std::strerror(received.error))});
  }
  load_->last_received_us.store(monotonic_now().count(), std::memory_order_relaxed);
  if (feed(received.ciphertext) && socket_.is_readable()) touch();
}

/// Returns false if the tunnel has ended, or does not read any more.
bool Tunnel::feed(std::span<const std::byte> ciphertext) {
  socket_.feed(ciphertext);
  if (state_ == State::handshaking) {
    shake_hands();
    if (state_ != State::running) return state_ == State::handshaking;
  }
  const auto plaintext = plane_.plaintext();
  for (;;) {
    const TlsEngine::Read read = socket_.read(plaintext);
    switch (read.step) {
      case TlsEngine::Step::wants_input: return true;
      case TlsEngine::Step::failed: fail(socket_.tls().error()); return false;
      case TlsEngine::Step::closed:
        if (state_ == State::closing) {
          finish();
        } else {
          socket_.seal_close();
          (void)socket_.flush();
          fail({"tunnel.lost", fmt::format("{} ended TLS without GOAWAY", peer_)});
        }
        return false;
      case TlsEngine::Step::done: break;
    }
    if (state_ == State::closing) continue;  // Reads on, so that the peer can read our last frames.
    session_.feed(plaintext.first(read.bytes), monotonic_now());
    handle_events();
    if (state_ == State::closed) return false;
  }
}

void Tunnel::shake_hands() {
  switch (socket_.shake_hands()) {
    case TlsEngine::Step::wants_input:
      // Not at the end of the turn: thousands of agents would hold a buffer each.
      (void)flush();
      return;
    case TlsEngine::Step::closed:
    case TlsEngine::Step::failed: return fail(socket_.tls().error());
    case TlsEngine::Step::done: break;
  }
  state_ = State::running;
  if (auto secured = owner_.on_secured(*this); !secured) {
    // The peer gets the reason, but not the details: those are for our log.
    why_ = secured.error();
    session_.close(Reason::denied, "this identity is not accepted; the log of the refusing side has the reason");
    handle_events();
  }
  touch();
}

void Tunnel::handle_events() {
  // A delivery may cause new events (credit, a reset).
  do {
    while (auto event = session_.next_event()) {
      if (!std::holds_alternative<protocol::Data>(*event)) (void)delivery_.deliver();
      handle(*event);
      if (state_ == State::closed) return;
    }
  } while (delivery_.deliver());
  delivery_.forget_released();
}

void Tunnel::handle(protocol::Event& event) {
  std::visit(Overloaded{
                 [this](protocol::Data& data) {
                   Stream* stream = delivery_.stream_of(data.stream, data.user);
                   if (stream == nullptr || !delivery_.gather(data, *stream)) return;
                   plane_.counters().stream_bytes_in.add(data.bytes.size());
                   traffic_.carry(stream->traffic_, data.bytes.size());
                 },
                 [this](protocol::Greeted& greeted) { owner_.on_greeted(*this, greeted.hello); },
                 [this](protocol::Welcomed& welcomed) { owner_.on_welcomed(*this, welcomed.welcome); },
                 [this](protocol::Opened& opened) {
                   begin_stream(protocol::optimistic_bytes_max);
                   plane_.memory().charge(protocol::optimistic_bytes_max);
                   plane_.counters().streams_accepted.add();
                   if (is_out_of_memory()) {
                     Stream stream(*this, opened.stream);
                     reject(stream, {Reason::overloaded, true, "memory for streams is used up"});
                   } else {
                     owner_.on_opened(*this, Stream(*this, opened.stream), opened.open);
                   }
                 },
                 [this](protocol::Accepted& accepted) {
                   Stream* stream = delivery_.stream_of(accepted.stream, accepted.user);
                   if (stream == nullptr || stream->opener_ == nullptr) return;
                   std::exchange(stream->opener_, nullptr)->on_accepted();
                 },
                 [this](protocol::Pending& pending) {
                   Stream* stream = delivery_.stream_of(pending.stream, pending.user);
                   if (stream != nullptr && stream->opener_ != nullptr) stream->opener_->on_pending(pending.time);
                 },
                 [this](protocol::Rejected& rejected) {
                   plane_.counters().streams_rejected.add(rejected.reject.reason);
                   Stream* stream = delivery_.stream_of(rejected.stream, rejected.user);
                   if (stream == nullptr) return;
                   release(*stream);
                   StreamOpener* opener = std::exchange(stream->opener_, nullptr);
                   if (opener != nullptr) return opener->on_rejected(rejected.reject);
                   stream->end().on_reset(rejected.reject.reason);
                 },
                 [this](protocol::HeadCame& head) {
                   if (Stream* stream = delivery_.stream_of(head.stream, head.user))
                     stream->end().on_head(head.message);
                 },
                 [this](protocol::Finished& finished) {
                   if (Stream* stream = delivery_.stream_of(finished.stream, finished.user))
                     stream->end().on_finished(finished.aborted);
                 },
                 [this](protocol::WasReset& reset) {
                   plane_.counters().streams_reset.add(reset.reason);
                   Stream* stream = delivery_.stream_of(reset.stream, reset.user);
                   if (stream == nullptr) return;
                   release(*stream);
                   stream->end().on_reset(reset.reason);
                 },
                 // The session itself stops sending bytes that the peer does not want any more.
                 [](protocol::Stopped&) {},
                 [this](protocol::Forgotten& forgotten) { end_stream(forgotten); },
                 [this](protocol::WindowWanted& wanted) { grow_window(wanted); },
                 [this](protocol::WidenWanted&) { owner_.on_congested(*this); },
                 [this](protocol::ReplicasChanged& changed) { owner_.on_replicas(*this, changed.names); },
                 [this](auto& of_enrolment) { report(owner_, *this, of_enrolment); },
                 [this](protocol::PeerDraining& draining) { owner_.on_draining(*this, draining.delay); },
                 [this](protocol::Ended& ended) {
                   const char* closer = ended.by_peer ? "the peer closed" : "we closed";
                   begin_closing({fmt::format("tunnel.{}", protocol::to_string(ended.reason)),
                                  fmt::format("{}: {}", closer, ended.text)});
                 },
             },
             event);
}

void Tunnel::begin_stream(std::uint64_t window_bytes) {
  count_window(window_bytes);
  plane_.counters().streams.add();
}

void Tunnel::count_window(std::uint64_t more_bytes) {
  plane_.counters().window_bytes.add(static_cast<std::int64_t>(more_bytes));
  if (memory_holder_) memory_holder_->add(static_cast<std::int64_t>(more_bytes));
}

void Tunnel::end_stream(const protocol::Forgotten& forgotten) {
  plane_.counters().window_bytes.sub(static_cast<std::int64_t>(forgotten.window_bytes));
  plane_.counters().streams.sub();
  Stream* stream = delivery_.stream_of(forgotten.stream, forgotten.user);
  if (stream == nullptr) {
    if (memory_holder_) memory_holder_->add(-static_cast<std::int64_t>(forgotten.window_bytes));
    return plane_.memory().give(forgotten.window_bytes);
  }
  // Bytes that still wait for a slow reader now belong to the end.
  traffic_.end(stream->traffic_);
  stream->hold(plane_, memory_holder_, forgotten.window_bytes);
  stream->end().on_over();
}

void Tunnel::grow_window(const protocol::WindowWanted& wanted) {
  if (plane_.memory().is_short() || !plane_.memory().take(wanted.more_bytes)) return;
  const std::uint64_t used = session_.grow_window(wanted.stream, wanted.more_bytes);
  plane_.memory().give(wanted.more_bytes - used);
  count_window(used);
}

}  // namespace culvert
