// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "protocol/stream.hpp"

// Which stream sends next (SPEC 7.4): fair by bytes, as in FQ-CoDel (RFC 8290, 4.1). A stream that becomes ready after
// a pause goes ahead of the bulk streams for one quantum, so that a small request does not wait behind megabytes; when
// the quantum is spent, the stream joins the round. A stream that was served early and then paused stays in the round
// until its turn has passed, so that frequent pauses gain nothing.

namespace culvert::protocol {

class Scheduler {
 public:
  static constexpr std::int32_t quantum_bytes = 65'536;

  /// The stream has something to send. Idempotent.
  void activate(Stream& stream);
  /// The stream has nothing to send: no bytes, or no credit. Idempotent.
  void deactivate(Stream& stream) { stream.ready = false; }
  /// The stream will be destroyed: forgets it.
  void remove(Stream& stream);
  /// The stream whose turn it is; nullptr if none is ready. The turn lasts until charge() has used up its quantum.
  Stream* next();
  /// The stream sent this many bytes, frame headers included.
  void charge(Stream& stream, std::size_t bytes) { stream.deficit -= static_cast<std::int32_t>(bytes); }
  bool empty() const { return fresh_.head == nullptr && rounds_.head == nullptr; }

 private:
  struct Ring {
    Stream* head = nullptr;
    Stream* tail = nullptr;
  };
  Ring& ring_of(Stream::Ring ring) { return ring == Stream::Ring::fresh ? fresh_ : rounds_; }
  void append(Stream& stream, Stream::Ring ring);
  void unlink(Stream& stream);

  Ring fresh_;
  Ring rounds_;
};

}  // namespace culvert::protocol
