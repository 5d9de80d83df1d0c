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

/// One stream as Session keeps it. A record without behaviour: its parts (credit, state table, scheduler) have theirs.
struct Stream {
  Stream(StreamId stream_id, StreamState first_state, std::uint64_t send_limit, std::uint64_t window, Time now)
      : id(stream_id), state(first_state), send(send_limit), receive(window, now) {}

  StreamId id;
  StreamState state;
  SendCredit send;
  ReceiveCredit receive;
  void* user = nullptr;

  // What its next turn owes the peer, in this order.
  std::vector<std::byte> owed_message;             ///< OPEN or REJECT, encoded; freed when it is out.
  std::vector<std::vector<std::byte>> owed_heads;  ///< HEADs, encoded, in order; they need credit.
  bool owes_open = false;
  bool owes_accept = false;
  bool owes_reject = false;
  bool owes_reset = false;
  bool owes_aborted_fin = false;
  bool readable = false;  ///< Its source has bytes, an end or a failure to give.
  // What goes first, ahead of all streams.
  bool owes_credit = false;
  bool owes_stop = false;

  bool discards = false;  ///< We sent STOP: what still comes is dropped.
  bool by_peer = false;   ///< The peer opened it.
  std::uint8_t empty_data_frames = 0;
  std::uint8_t heads_received = 0;
  Reason reset_reason = Reason::none;
  Reason stop_reason = Reason::none;

  // The scheduler's own.
  Stream* next = nullptr;
  Stream* previous = nullptr;
  enum class Ring : std::uint8_t { none, fresh, rounds } ring = Ring::none;
  bool ready = false;
  std::int32_t deficit = 0;
};

}  // namespace culvert::protocol
