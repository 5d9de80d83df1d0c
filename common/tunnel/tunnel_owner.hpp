// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "common/base/error.hpp"
#include "common/tunnel/stream.hpp"
#include "protocol/enrolment.hpp"
#include "protocol/messages.hpp"

namespace culvert {

class Tunnel;

/// Decides about a tunnel: the server's agent acceptor, or the agent's link to a server. Called on the tunnel's worker;
/// must outlive the tunnel.
class TunnelOwner {
 public:
  /// The TLS handshake is done: checks that the peer is the expected one. An error ends the tunnel.
  virtual Result<void> on_secured(Tunnel& tunnel) = 0;
  /// Server: the peer sent its greeting. Answer with welcome() or close(), now or later.
  virtual void on_greeted(Tunnel& tunnel, const protocol::Hello& hello) = 0;
  /// Agent: streams may be opened.
  virtual void on_welcomed(Tunnel& tunnel, const protocol::Welcome& welcome) = 0;
  /// The peer opens a stream: join it with an end and accept() it, now or later, or reject() it. A stream that is
  /// destroyed without either is rejected.
  virtual void on_opened(Tunnel& tunnel, Stream stream, const protocol::Open& open) = 0;
  /// Congestion limits one of the two sides on this tunnel: another tunnel in the link would help.
  virtual void on_congested(Tunnel& tunnel) = 0;
  /// Agent: the server sent the names of its replicas that are ready now.
  virtual void on_replicas(Tunnel& tunnel, const std::vector<std::string>& names) = 0;
  /// Server: an agent without a valid certificate asks for one on a join connection (`renew` with the proof of its last
  /// one), or for the next one on a tunnel. Tunnel::answer() it, now or later.
  virtual void on_join_asked(Tunnel& tunnel, protocol::Join& join) = 0;
  virtual void on_renew_asked(Tunnel& tunnel, protocol::Renew& renew) = 0;
  /// Agent: the answer to Tunnel::renew().
  virtual void on_renew_answered(Tunnel& tunnel, protocol::Enrolled& answer) = 0;
  /// This tunnel opens no more streams: the peer drains it, or it has no stream id left.
  virtual void on_draining(Tunnel& tunnel, std::chrono::milliseconds delay) = 0;
  /// The last call: the tunnel has ended, and every stream on it.
  virtual void on_closed(Tunnel& tunnel, const Error& why) = 0;

 protected:
  ~TunnelOwner() = default;
};

}  // namespace culvert
