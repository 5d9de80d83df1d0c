// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "protocol/credit.hpp"
#include "protocol/frame.hpp"
#include "protocol/reason.hpp"
#include "protocol/stream_state.hpp"

namespace culvert::protocol {

/// One stream, as Streams keeps it. A record: the behaviour is in its parts (credit, state table, scheduler).
struct Stream {
  Stream(StreamId stream_id, StreamState first_state, std::uint64_t send_limit, std::uint64_t window, Time now)
      : id(stream_id), state(first_state), send(send_limit), receive(window, now) {}

  /// Its next turn must write a frame other than HEAD and DATA.
  bool owes_frame() const { return owes_open || owes_accept || owes_reject || owes_reset || owes_aborted_fin; }

  StreamId id;
  StreamState state;
  SendCredit send;
  ReceiveCredit receive;
  void* user = nullptr;

  // What the stream sends in its next turns, in this order.
  std::vector<std::byte> owed_message;             ///< OPEN or REJECT, encoded; freed when it was written.
  std::vector<std::vector<std::byte>> owed_heads;  ///< HEADs, encoded, in order; they need credit.
  bool owes_open = false;
  bool owes_accept = false;
  bool owes_reject = false;
  bool owes_reset = false;
  bool owes_aborted_fin = false;
  bool readable = false;  ///< Its source has bytes, an end or a failure to give.
  // What is sent ahead of all streams' turns.
  bool owes_credit = false;
  bool owes_stop = false;
  bool owes_pending = false;

  bool discards = false;  ///< After stop(): what still comes is dropped, and no CREDIT is sent.
  bool by_peer = false;   ///< The peer opened it.
  std::uint8_t empty_data_frames = 0;
  Reason reset_reason = Reason::none;
  Reason stop_reason = Reason::none;
  std::uint32_t pending_ms = 0;

  // Used by the scheduler only.
  Stream* next = nullptr;
  Stream* previous = nullptr;
  enum class Ring : std::uint8_t { none, fresh, rounds } ring = Ring::none;
  bool ready = false;
  std::int32_t deficit = 0;
};

}  // namespace culvert::protocol
