// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace culvert::protocol {

/// Where a stream is in its life (SPEC 6.2). "finished" after `opening` and `offered` means that the opener's FIN was
/// sent before the answer.
enum class StreamState : std::uint8_t {
  opening,           ///< We sent OPEN; no answer yet.
  opening_finished,  ///< The same, and we sent FIN.
  offered,           ///< The peer sent OPEN; we have not answered.
  offered_finished,  ///< The same, and the peer sent FIN.
  open,
  sent_fin,      ///< We may only receive.
  received_fin,  ///< We may only send.
  closed,        ///< Erased as soon as what we owe is sent.
};

enum class StreamEvent : std::uint8_t {
  send_accept,
  send_reject,
  send_data,
  send_fin,
  send_reset,
  send_stop,
  receive_accept,
  receive_reject,
  receive_data,
  receive_credit,
  receive_fin,
  receive_reset,
  receive_stop,
};

inline constexpr int stream_states = 8;
inline constexpr int stream_events = 13;

struct Transition {
  enum class Verdict : std::uint8_t {
    go,       ///< `next` is the new state.
    discard,  ///< The stream is gone: count the frame and continue.
    breach,   ///< The peer broke the protocol: the tunnel ends with Reason::protocol.
    defect,   ///< We would break the protocol: our own code is wrong.
  };
  Verdict verdict;
  StreamState next;
};

/// The table of SPEC 6.2, which defines every cell.
Transition transition(StreamState state, StreamEvent event);

}  // namespace culvert::protocol
