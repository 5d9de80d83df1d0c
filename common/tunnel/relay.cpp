// SPDX-License-Identifier: Apache-2.0
#include "common/tunnel/relay.hpp"

#include <algorithm>
#include <utility>

#include <sys/epoll.h>

#include "common/net/socket_options.hpp"

namespace culvert {

using protocol::Reason;
using protocol::Source;

Relay::Relay(DataPlane& plane) : plane_(plane) {}

Relay::~Relay() {
  if (watched_ && socket_) plane_.worker().poller().forget(*this);
  queue_.clear();
  count_queue();
}

void Relay::open(DataPlane& plane, Accepted accepted) {
  Relay& relay = plane.relays().add(std::make_unique<Relay>(plane));
  relay.socket_ = DataSocket(std::move(accepted.socket));
  relay.connection_ = std::move(accepted.connection);
  relay.opener_ = std::move(accepted.opener);
  relay.refused_ = std::move(accepted.on_refused);
  relay.opener_->start(plane, relay, relay, relay.stream_);
}

void Relay::dial(DataPlane& plane, Stream stream, TargetDialer& dialer, const StreamTarget& target,
                 std::chrono::milliseconds patience, const LinkQuota& link, const LinkLimits& limits) {
  auto admission = dialer.admit(target, link, limits);
  if (!admission) return stream.reject(admission.error());
  Relay& relay = plane.relays().add(std::make_unique<Relay>(plane));
  relay.stream_ = std::move(stream);
  relay.stream_.join(relay);  // Before the dial, so that early bytes are delivered.
  relay.admission_ = std::move(*admission);
  if (target.connect_time_max > patience) relay.stream_.announce_dial_time(target.connect_time_max);
  relay.dial_ = dialer.dial(target, link, limits, TargetDialer::WhenFull::refuse,
                            [&relay](auto outcome) { relay.on_dialed(std::move(outcome)); });
}

void Relay::join(DataPlane& plane, Stream stream, UniqueFd socket, Permit connection) {
  Relay& relay = plane.relays().add(std::make_unique<Relay>(plane));
  relay.stream_ = std::move(stream);
  relay.stream_.join(relay);
  relay.socket_ = DataSocket(std::move(socket));
  relay.connection_ = std::move(connection);
  if (!relay.watch()) relay.end(Reason::overloaded);
}

// ---- opener side

void Relay::move_to(DataPlane& there) {
  // The descriptor lives on, so the poller must be told.
  if (std::exchange(watched_, false)) plane_.worker().poller().remove(socket_.fd(), *this);
  auto moved = std::make_shared<Accepted>(
      Accepted{socket_.release(), std::move(connection_), std::move(opener_), std::move(refused_)});
  there.worker().post([&there, moved] { open(there, std::move(*moved)); });
  plane_.relays().retire(*this);
}

void Relay::on_placed() {
  // On a second tunnel: no event comes for what was readable before, be it the client's end alone.
  if (watched_) return stream_.set_readable();
  if (!watch()) end(Reason::overloaded);
}

void Relay::on_accepted() {
  if (opener_->is_done()) opener_.reset();
}

/// Resets the socket: a connection that did not get to its target must not look like one that ended normally.
void Relay::on_refused(const OpenRefusal& refusal) {
  drop_socket(true);
  if (refused_) refused_(refusal);
  plane_.relays().retire(*this);
}

// ---- acceptor side

void Relay::on_dialed(std::expected<Dialed, protocol::Reject> outcome) {
  const auto refuse = [this](const protocol::Reject& reject) {
    stream_.reject(reject);
    plane_.relays().retire(*this);
  };
  if (!outcome) {
    dial_.reset();
    return refuse(outcome.error());
  }
  socket_ = std::move(outcome->socket);
  connection_ = std::move(outcome->connection);
  watched_ = outcome->watched_by != nullptr
                 ? plane_.worker().poller().hand_over(socket_.fd(), EPOLLIN | EPOLLOUT | EPOLLRDHUP,
                                                      *outcome->watched_by, *this)
                 : watch();
  dial_.reset();
  if (!watched_) {
    drop_socket(true);
    return refuse({Reason::overloaded, true, "the kernel's limit of watched sockets is reached"});
  }
  stream_.accept();
  flush();
}

// ---- the socket

bool Relay::watch() {
  return watched_ = plane_.worker().poller().add(socket_.fd(), EPOLLIN | EPOLLOUT | EPOLLRDHUP, *this);
}

void Relay::count_queue() {
  const std::size_t size = queue_.size();
  if (size == counted_) return;
  plane_.counters().buffered_bytes.add(static_cast<std::int64_t>(size) - static_cast<std::int64_t>(counted_));
  counted_ = size;
}

void Relay::on_ready(std::uint32_t events) {
  if (!socket_) return;
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) socket_.note_hangup();
  // Sent at once, even if nothing is read here: the other end must not wait for credit to learn of it.
  if ((events & EPOLLERR) != 0) return end(Reason::target_reset);
  if ((events & EPOLLOUT) != 0 && (!queue_.empty() || finishing_ || socket_.has_unsent())) flush();
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0) stream_.set_readable();
}

/// Ends both: the socket with RST, the stream with `reason`.
void Relay::end(Reason reason) {
  drop_socket(true);
  stream_.drop(reason);
  plane_.relays().retire(*this);
}

void Relay::drop_socket(bool by_reset) {
  queue_.clear();
  count_queue();
  dial_.reset();
  if (!socket_) return;
  if (watched_) plane_.worker().poller().forget(*this);
  if (by_reset) {
    socket_.reset();
  } else {
    socket_.close();
  }
}

/// Writes the queue to the socket; half-closes when it is empty and the stream has ended.
void Relay::flush() {
  DataSocket::Outcome outcome;
  std::size_t taken = 0;
  do {
    outcome = socket_.write(queue_.front());
    queue_.drop(outcome.bytes);
    taken += outcome.bytes;
  } while (outcome.state == DataSocket::State::ready && !queue_.empty());
  if (taken > 0) {
    count_queue();
    stream_.take(taken);
  }
  if (outcome.state == DataSocket::State::failed) return end(Reason::target_reset);
  finish_if_flushed();
}

void Relay::finish_if_flushed() {
  if (!finishing_ || !queue_.empty() || socket_.has_unsent()) return;
  if (!finished_) finished_ = socket_.finish();
  if (!finished_ || stream_.is_open()) return;
  drop_socket(false);
  plane_.relays().retire(*this);
}

// ---- the stream

StreamEnd::Pull Relay::pull(std::span<std::byte> room) {
  if (!socket_) return {0, Source::blocked};
  if (!opener_) return read(room);
  const Pull pulled = opener_->pull(room, [this](std::span<std::byte> rest) { return read(rest); });
  if (opener_->is_done()) opener_.reset();
  return pulled;
}

StreamEnd::Pull Relay::read(std::span<std::byte> room) {
  const auto outcome = socket_.read(room);
  switch (outcome.state) {
    case DataSocket::State::ready: return {outcome.bytes, Source::more};
    case DataSocket::State::blocked: return {outcome.bytes, Source::blocked};
    case DataSocket::State::ended: return {outcome.bytes, Source::ended};
    case DataSocket::State::cut:
    case DataSocket::State::failed: break;
  }
  drop_socket(true);
  plane_.relays().retire(*this);
  return {0, Source::aborted, outcome.state == DataSocket::State::cut ? Reason::aborted : Reason::target_reset};
}

void Relay::push(std::span<const Bytes> pieces) {
  std::size_t sent = 0;
  if (socket_ && queue_.empty()) {
    const auto outcome = socket_.write(pieces);
    if (outcome.state == DataSocket::State::failed) return end(Reason::target_reset);
    sent = outcome.bytes;
    stream_.take(sent);
  }
  for (const Bytes piece : pieces) {
    const std::size_t here = std::min(sent, piece.size());
    sent -= here;
    if (here < piece.size()) queue_.append(piece.subspan(here));
  }
  count_queue();
}

/// A stream of plain bytes has no HEAD.
void Relay::on_head(Bytes) {
  end(Reason::aborted);
}

void Relay::on_tick(protocol::Time now) {
  if (opener_) return opener_->on_tick(now);
  if (dial_) return dial_->on_tick(now);
  if (connection_ && connection_->is_withdrawn()) end(Reason::not_exposed);
}

void Relay::on_finished(bool aborted) {
  if (aborted) return end(Reason::aborted);
  finishing_ = true;
  if (socket_) flush();
}

void Relay::on_reset(Reason reason) {
  if (reason != Reason::tunnel_lost) admission_.note_reset();
  if (opener_ && !opener_->is_accepted()) return opener_->on_reset(reason);
  drop_socket(true);
  plane_.relays().retire(*this);
}

void Relay::on_over() {
  // The stream's last bytes still wait for a slow socket.
  if (socket_ && finishing_ && !finished_) return;
  drop_socket(false);
  plane_.relays().retire(*this);
}

}  // namespace culvert
