// SPDX-License-Identifier: Apache-2.0
#include "common/tunnel/relay.hpp"

#include <algorithm>
#include <utility>

#include <sys/epoll.h>
#include <sys/socket.h>

#include "common/net/socket_options.hpp"
#include "protocol/check.hpp"

namespace culvert {

using protocol::Reason;
using protocol::Source;

namespace {

/// The acceptor's dial has its own deadline; this much later the opener stops believing in an answer (threats D7).
constexpr std::chrono::seconds answer_grace{5};

}  // namespace

Relay::Relay(Tunnel& tunnel) : plane_(tunnel.plane()), tunnel_(&tunnel), began_(DataPlane::now()) {}

Relay::~Relay() {
  if (socket_ || dial_) plane_.worker().poller().forget(*this);
  queue_.clear();
  count_queue();
  plane_.memory().give(window_bytes_);
  const protocol::Time now = DataPlane::now();
  if (admission_.churn) admission_.churn->note(now - began_, false, now);
}

bool Relay::open(Tunnel& tunnel, OpenAttempt& attempt) {
  auto relay = std::make_unique<Relay>(tunnel);
  const auto stream = tunnel.open(attempt.open, *relay);
  if (!stream) return false;
  Relay& opened = *relay;
  opened.stream_ = *stream;
  opened.socket_ = RelaySocket(std::move(attempt.socket));
  attempt.tried.push_back(tunnel.id());
  opened.attempt_ = std::make_unique<OpenAttempt>(std::move(attempt));
  opened.id_ = opened.plane_.add(std::move(relay));
  if (!opened.watch(opened.socket_.fd())) {
    opened.socket_failed(Reason::overloaded);
  } else if (!opened.attempt_->replay.empty()) {
    tunnel.set_readable(*stream);
  }
  return true;
}

Relay& Relay::accept(Tunnel& tunnel, protocol::StreamId stream, Admission admission) {
  auto relay = std::make_unique<Relay>(tunnel);
  Relay& accepted = *relay;
  accepted.stream_ = stream;
  accepted.admission_ = std::move(admission);
  accepted.id_ = accepted.plane_.add(std::move(relay));
  tunnel.attach(stream, accepted);
  return accepted;
}

void Relay::take_over(Tunnel& tunnel, protocol::StreamId stream, UniqueFd socket, Admission admission) {
  Relay& relay = accept(tunnel, stream, std::move(admission));
  relay.socket_ = RelaySocket(std::move(socket));
  if (!relay.watch(relay.socket_.fd())) relay.socket_failed(Reason::overloaded);
}

void Relay::connect(RelaySocket socket) {
  if (tunnel_ == nullptr) return socket.reset();
  socket_ = std::move(socket);
  if (!watch(socket_.fd())) return give_up({Reason::overloaded, true, "the kernel watches no more sockets"});
  tunnel_->accept(stream_);
  flush();
}

void Relay::wait_for(PendingDial dial) {
  dial_ = std::make_unique<PendingDial>(std::move(dial));
  if (watch(dial_->socket.get())) return;
  dial_.reset();
  give_up({Reason::overloaded, true, "the kernel watches no more sockets"});
}

/// The connection stands or failed: the kernel says which.
void Relay::settle(std::uint32_t events) {
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) == 0) return;
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(dial_->socket.get(), SOL_SOCKET, SO_ERROR, &error, &size);
  const auto dial = std::exchange(dial_, nullptr);
  if (error != 0) {
    plane_.worker().poller().forget(*this);
    return dial->on_failed(*this, error);
  }
  socket_ = RelaySocket(std::move(dial->socket));
  tunnel_->accept(stream_);
  flush();
  if ((events & EPOLLIN) != 0 && socket_) on_ready(events & ~EPOLLOUT);
}

void Relay::give_up(const protocol::Reject& reject) {
  if (tunnel_ != nullptr) tunnel_->reject(stream_, reject);
}

bool Relay::watch(int fd) {
  return plane_.worker().poller().add(fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP, *this);
}

void Relay::count_queue() {
  const std::size_t size = queue_.size();
  if (size == counted_) return;
  plane_.counters().buffered_bytes.add(static_cast<std::int64_t>(size) - static_cast<std::int64_t>(counted_));
  counted_ = size;
}

// ---- the socket

void Relay::on_ready(std::uint32_t events) {
  if (dial_) return settle(events);
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) socket_.note_hangup();
  if ((events & EPOLLERR) != 0) {
    // Said at once, also where nobody reads: the other end must not wait for credit to learn it.
    return socket_failed(Reason::target_reset);
  }
  if ((events & EPOLLOUT) != 0 && (!queue_.empty() || finishing_ || socket_.has_unsent())) flush();
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP)) != 0 && tunnel_ != nullptr) tunnel_->set_readable(stream_);
}

void Relay::socket_failed(Reason reason) {
  drop_socket(true);
  if (tunnel_ != nullptr) {
    tunnel_->reset(stream_, reason);
  } else {
    plane_.bury_end(id_);
  }
}

void Relay::drop_socket(bool by_reset) {
  queue_.clear();
  count_queue();
  if (!socket_ && !dial_) return;
  plane_.worker().poller().forget(*this);
  // The kernel may have connected it already: a target that heard of it must not see a clean end.
  if (dial_) reset_on_close(dial_->socket.get());
  dial_.reset();
  if (by_reset) {
    socket_.reset();
  } else {
    socket_.close();
  }
}

/// Gives the queue to the socket, then what follows from its being empty.
void Relay::flush() {
  RelaySocket::Outcome outcome;
  std::size_t taken = 0;
  do {
    outcome = socket_.write(queue_.front());
    queue_.drop(outcome.bytes);
    taken += outcome.bytes;
  } while (outcome.state == RelaySocket::State::ready && !queue_.empty());
  if (taken > 0) {
    count_queue();
    if (tunnel_ != nullptr) tunnel_->take(stream_, taken);
  }
  if (outcome.state == RelaySocket::State::failed) return socket_failed(Reason::target_reset);
  finish_if_flushed();
}

void Relay::finish_if_flushed() {
  if (!finishing_ || !queue_.empty() || socket_.has_unsent()) return;
  if (!finished_) finished_ = socket_.finish();
  if (!finished_ || tunnel_ != nullptr) return;
  drop_socket(false);
  plane_.bury_end(id_);
}

// ---- the stream

StreamEnd::Pull Relay::pull(std::span<std::byte> room) {
  if (!socket_) return {0, Source::blocked};
  if (attempt_ && replayed_ < attempt_->replay.size()) return {pull_replay(room), Source::more};
  const auto outcome = socket_.read(room);
  if (attempt_) {
    attempt_->replay.insert(attempt_->replay.end(), room.begin(),
                            room.begin() + static_cast<std::ptrdiff_t>(outcome.bytes));
    replayed_ = attempt_->replay.size();
  }
  switch (outcome.state) {
    case RelaySocket::State::ready: return {outcome.bytes, Source::more};
    case RelaySocket::State::blocked: return {outcome.bytes, Source::blocked};
    case RelaySocket::State::ended: return {outcome.bytes, Source::ended};
    case RelaySocket::State::cut: drop_socket(true); return {0, Source::aborted, Reason::aborted};
    case RelaySocket::State::failed: drop_socket(true); return {0, Source::aborted, Reason::target_reset};
  }
  std::unreachable();
}

std::size_t Relay::pull_replay(std::span<std::byte> room) {
  const auto rest = std::span(attempt_->replay).subspan(replayed_);
  const std::size_t bytes = std::min(rest.size(), room.size());
  std::ranges::copy(rest.first(bytes), room.begin());
  replayed_ += bytes;
  if (accepted_) forget_attempt_if_replayed();
  return bytes;
}

void Relay::push(std::span<const Bytes> pieces) {
  if (tunnel_ == nullptr) return;
  std::size_t sent = 0;
  if (socket_ && queue_.empty()) {
    const auto outcome = socket_.write(pieces);
    if (outcome.state == RelaySocket::State::failed) return socket_failed(Reason::target_reset);
    sent = outcome.bytes;
    if (sent > 0) tunnel_->take(stream_, sent);
  }
  for (const Bytes piece : pieces) {
    const std::size_t here = std::min(sent, piece.size());
    sent -= here;
    if (here < piece.size()) queue_.append(piece.subspan(here));
  }
  count_queue();
}

/// Plain bytes have no heads.
void Relay::on_head(Bytes) {
  socket_failed(Reason::aborted);
}

void Relay::on_tick(protocol::Time now) {
  if (dial_ && now >= dial_->deadline) {
    plane_.worker().poller().forget(*this);
    const auto dial = std::exchange(dial_, nullptr);
    return dial->on_failed(*this, ETIMEDOUT);
  }
  if (admission_.mapping_place && admission_.mapping_place->is_withdrawn()) return socket_failed(Reason::not_exposed);
  if (!attempt_ || accepted_ || tunnel_ == nullptr || now - began_ < attempt_->open.dial_time_max + answer_grace)
    return;
  socket_failed(Reason::target_timed_out);
}

void Relay::on_accepted() {
  admission_.mapping_place = std::move(attempt_->place);
  accepted_ = true;
  forget_attempt_if_replayed();
}

/// The answer may overtake what is still to be sent again: a small batch takes a part of it only.
void Relay::forget_attempt_if_replayed() {
  if (replayed_ == attempt_->replay.size()) attempt_.reset();
}

void Relay::on_rejected(const protocol::Reject& reject) {
  if (!attempt_ || accepted_) return;
  plane_.worker().poller().remove(socket_.fd(), *this);
  attempt_->socket = socket_.release();
  auto attempt = std::move(*std::exchange(attempt_, nullptr));
  auto on_rejected = attempt.on_rejected;
  on_rejected(plane_, std::move(attempt), reject);
}

void Relay::on_finished(bool aborted) {
  if (aborted) return socket_failed(Reason::aborted);
  finishing_ = true;
  if (socket_) flush();
}

void Relay::on_reset(Reason reason) {
  drop_socket(true);
  if (reason == Reason::tunnel_lost || !admission_.churn) return;
  const protocol::Time now = DataPlane::now();
  std::exchange(admission_.churn, nullptr)->note(now - began_, true, now);
}

void Relay::on_stopped(Reason) {}

void Relay::on_forgotten(std::uint64_t window_bytes) {
  tunnel_ = nullptr;
  window_bytes_ = window_bytes;
  // The stream's last bytes may still be waiting for a slow socket; they are its own now.
  if (socket_ && finishing_ && !finished_) return;
  drop_socket(false);
  plane_.bury_end(id_);
}

}  // namespace culvert
