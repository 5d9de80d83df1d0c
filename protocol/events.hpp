// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "protocol/enrolment.hpp"
#include "protocol/frame.hpp"
#include "protocol/messages.hpp"
#include "protocol/reason.hpp"

// What Session::next_event() reports. `user` is the pointer that the driver gave to open() or attach().

namespace culvert::protocol {

/// Server: the agent's HELLO. Answer with welcome() or close().
struct Greeted {
  Hello hello;
};
/// Agent: the server's WELCOME. Streams may be opened.
struct Welcomed {
  Welcome welcome;
};
/// The peer opened a stream: attach(), then accept() or reject() it, now or later.
struct Opened {
  StreamId stream = 0;
  Open open;
};
/// The peer accepted a stream that we opened.
struct Accepted {
  StreamId stream = 0;
  void* user = nullptr;
};
/// The peer is still dialling the target of a stream that we opened, and may need this long from now on.
struct Pending {
  StreamId stream = 0;
  void* user = nullptr;
  std::chrono::milliseconds time{0};
};
/// The peer refused, or will never see, a stream that we opened. Forgotten follows.
struct Rejected {
  StreamId stream = 0;
  void* user = nullptr;
  Reject reject;
};
/// Bytes of a stream, in order. Report them with take() when the sink has accepted them.
struct Data {
  StreamId stream = 0;
  void* user = nullptr;
  std::span<const std::byte> bytes;
};
/// One HEAD of a stream, encoded (decode_head()), at its position among the stream's Data. Report its size with take().
struct HeadCame {
  StreamId stream = 0;
  void* user = nullptr;
  std::span<const std::byte> message;
};
/// No more Data of this stream. `aborted`: the bytes are cut off and must never be shown as complete.
struct Finished {
  StreamId stream = 0;
  void* user = nullptr;
  bool aborted = false;
};
/// The peer ended both directions. Forgotten follows.
struct WasReset {
  StreamId stream = 0;
  void* user = nullptr;
  Reason reason = Reason::none;
};
/// The peer wants no more of our bytes. The session has answered FIN(ABORTED); the source need not be read any more.
struct Stopped {
  StreamId stream = 0;
  void* user = nullptr;
  Reason reason = Reason::none;
};
/// The session keeps nothing of the stream any more; `window_bytes` return to the memory budget.
struct Forgotten {
  StreamId stream = 0;
  void* user = nullptr;
  std::uint64_t window_bytes = 0;
};
/// The stream is limited by its window. Answer with grow_window(), or not at all.
struct WindowWanted {
  StreamId stream = 0;
  std::uint64_t more_bytes = 0;
};
/// Agent: the server's sending is limited by congestion; one more tunnel in the link would help (SPEC 8.4).
struct WidenWanted {};
/// Agent: the server processes that are ready now (SPEC 5.8).
struct ReplicasChanged {
  std::vector<std::string> names;
};
/// Server, on a join connection: answer() it, once.
struct JoinAsked {
  Join join;
};
/// Server: answer() it, once. On a tunnel another one may follow after the answer.
struct RenewAsked {
  Renew renew;
};
/// Agent: the answer to renew().
struct RenewAnswered {
  Enrolled answer;
};
/// The peer accepts no new streams; leave within `delay`.
struct PeerDraining {
  Reason reason = Reason::none;
  std::chrono::milliseconds delay{0};
};
/// The tunnel has ended. Send what next_outgoing() still has (our GOAWAY), then close.
struct Ended {
  Reason reason = Reason::none;
  bool by_peer = false;
  std::string text;
};

using Event = std::variant<Greeted, Welcomed, Opened, Accepted, Pending, Rejected, Data, HeadCame, Finished, WasReset,
                           Stopped, Forgotten, WindowWanted, WidenWanted, ReplicasChanged, JoinAsked, RenewAsked,
                           RenewAnswered, PeerDraining, Ended>;

}  // namespace culvert::protocol
