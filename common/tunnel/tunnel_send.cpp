// SPDX-License-Identifier: Apache-2.0
// The sending side of a tunnel: functions that make output call touch(). At the end of the turn send() lets the session
// choose streams, fills one staging buffer from their sources, seals it, and hands it to the kernel in one call.
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/core.h>

#include "common/tunnel/tunnel.hpp"

namespace culvert {

using protocol::Outgoing;
using protocol::Reason;

/// Returns false if sealed records are left, or the tunnel has failed.
bool Tunnel::flush() {
  switch (socket_.flush()) {
    case TunnelSocket::Flushed::all: return true;
    case TunnelSocket::Flushed::some: return false;
    case TunnelSocket::Flushed::failed: break;
  }
  fail({"tunnel.lost", fmt::format("the connection to {} failed: {}", peer_, std::strerror(errno))});
  return false;
}

/// Fills one batch with frames and returns its size; 0 if there is nothing to send.
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
        // A stream that the session chooses has an end.
        Stream& stream = *delivery_.stream_of(out.slot.stream, out.slot.user);
        const StreamEnd::Pull pull = stream.end().pull(out.slot.payload);
        plane_.counters().stream_bytes_out.add(pull.bytes);
        traffic_.carry(stream.traffic_, pull.bytes);
        if (pull.reset == Reason::none) {
          used += session_.commit(pull.bytes, pull.source);
        } else {
          // An end that returns `reset` expects no more calls. It may have dropped the stream already.
          if (stream.tunnel_ != nullptr) release(stream);
          used += session_.commit_reset(pull.reset);
        }
        break;
      }
    }
  }
}

/// Sends one batch; data that becomes ready meanwhile is in the next one.
void Tunnel::send() {
  if (!flush() || state_ == State::handshaking || state_ == State::closed) return;
  const auto staging = plane_.staging().first(socket_.batch_bytes());
  if (staging.size() < DataPlane::staging_bytes && !socket_.has_room()) return;
  const std::size_t used = fill(staging);
  handle_events();
  if (used == 0) {
    if (state_ != State::closing || sent_shutdown_) return;
    sent_shutdown_ = true;
    socket_.seal_close();
    if (flush()) socket_.half_close();
    return;
  }
  if (!socket_.seal(staging.first(used))) return fail(socket_.tls().error());
  if (flush() && more_waits_) touch();
}

}  // namespace culvert
