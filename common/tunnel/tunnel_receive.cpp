// SPDX-License-Identifier: Apache-2.0
// From the tunnel's socket: receive -> feed -> handle, one DATA payload at a time straight to its stream's end.
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/core.h>
#include <sys/socket.h>

#include "common/tunnel/tunnel.hpp"
#include "protocol/limits.hpp"

namespace culvert {

using protocol::Reason;

namespace {

template <typename... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};

StreamEnd& end_of(void* user) {
  return *static_cast<StreamEnd*>(user);
}

}  // namespace

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
                 [this](protocol::ReplicasChanged& changed) { owner_.on_replicas(*this, changed.names); },
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

}  // namespace culvert
