// SPDX-License-Identifier: Apache-2.0
// To the tunnel's socket: whatever makes output calls touch(); at the end of the turn send() lets the session choose
// streams, fills one staging buffer from their sources, seals it, and hands it to the kernel in one call.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>

#include "common/tunnel/tunnel.hpp"

namespace culvert {

using protocol::Outgoing;
using protocol::Reason;

namespace {

/// What is sealed at once: so much as leaves within 20 ms, so that a PING or a small request does not wait longer
/// behind it. The least is one record, the most is what batching gains from.
constexpr std::uint64_t batches_per_second = 50;
constexpr std::size_t batch_bytes_min = 16 << 10;

StreamEnd& end_of(void* user) {
  return *static_cast<StreamEnd*>(user);
}

}  // namespace

/// Bytes per second that leave: of the last second, or of this one where it has more already.
std::uint64_t Tunnel::rate_out() const {
  return std::max(second_.last_out, bytes_out_ - second_.began_out);
}

std::size_t Tunnel::batch_bytes() const {
  return std::clamp(static_cast<std::size_t>(rate_out() / batches_per_second), batch_bytes_min,
                    DataPlane::staging_bytes);
}

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

}  // namespace culvert
