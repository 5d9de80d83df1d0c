// SPDX-License-Identifier: Apache-2.0
#include "protocol/scheduler.hpp"

namespace culvert::protocol {

void Scheduler::append(Stream& stream, Stream::Ring ring) {
  Ring& list = ring_of(ring);
  stream.ring = ring;
  stream.next = nullptr;
  stream.previous = list.tail;
  (list.tail != nullptr ? list.tail->next : list.head) = &stream;
  list.tail = &stream;
}

void Scheduler::unlink(Stream& stream) {
  Ring& list = ring_of(stream.ring);
  (stream.previous != nullptr ? stream.previous->next : list.head) = stream.next;
  (stream.next != nullptr ? stream.next->previous : list.tail) = stream.previous;
  stream.next = stream.previous = nullptr;
  stream.ring = Stream::Ring::none;
}

void Scheduler::activate(Stream& stream) {
  stream.ready = true;
  if (stream.ring != Stream::Ring::none) return;
  stream.deficit = quantum_bytes;
  append(stream, Stream::Ring::fresh);
}

void Scheduler::remove(Stream& stream) {
  stream.ready = false;
  if (stream.ring != Stream::Ring::none) unlink(stream);
}

Stream* Scheduler::next() {
  for (;;) {
    Stream* stream = fresh_.head != nullptr ? fresh_.head : rounds_.head;
    if (stream == nullptr) return nullptr;
    if (stream->ready && stream->deficit > 0) return stream;
    const bool served_early = stream->ring == Stream::Ring::fresh && rounds_.head != nullptr;
    unlink(*stream);
    if (stream->ready) {
      stream->deficit += quantum_bytes;
      append(*stream, Stream::Ring::rounds);
    } else if (served_early) {
      append(*stream, Stream::Ring::rounds);
    }
  }
}

}  // namespace culvert::protocol
