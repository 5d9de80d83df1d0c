// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <utility>

#include "common/net/resident.hpp"
#include "common/tunnel/data_plane.hpp"
#include "common/tunnel/stream.hpp"
#include "common/tunnel/stream_end.hpp"
#include "tests/testing/tunnel_pair.hpp"

namespace culvert::testing {

/// A stream that the peer opened and that stays unanswered until the test refuses it. Early bytes are counted.
class HeldStream {
 public:
  /// Call it on the plane's worker.
  HeldStream(DataPlane& plane, Stream stream) : plane_(plane) {
    End& end = plane.relays().add(std::make_unique<End>(plane, early_bytes_));
    end_ = plane.relays().handle_of(end);
    end.stream = std::move(stream);
    end.stream.join(end);
  }
  std::size_t early_bytes() const { return *early_bytes_; }
  DataPlane& plane() { return plane_; }
  void announce_dial_time(std::chrono::milliseconds time) {
    on(plane_, [&](DataPlane& plane) {
      if (End* end = plane.relays().find(end_)) end->stream.announce_dial_time(time);
    });
  }
  void refuse(const protocol::Reject& reject) {
    on(plane_, [&](DataPlane& plane) {
      End* end = plane.relays().find(end_);
      if (end == nullptr) return;
      end->stream.reject(reject);
      plane.relays().retire(*end);
    });
  }

 private:
  class End final : public Resident, public StreamEnd {
   public:
    End(DataPlane& plane, std::shared_ptr<std::atomic<std::size_t>> bytes)
        : plane_(plane), early_bytes_(std::move(bytes)) {}
    Stream stream;

   private:
    Pull pull(std::span<std::byte>) override { return {}; }
    void push(std::span<const Bytes> pieces) override {
      for (const Bytes piece : pieces) *early_bytes_ += piece.size();
    }
    void on_head(Bytes) override {}
    void on_finished(bool) override {}
    void on_reset(protocol::Reason) override { plane_.relays().retire(*this); }
    void on_over() override { plane_.relays().retire(*this); }
    void on_tick(protocol::Time) override {}

    DataPlane& plane_;
    std::shared_ptr<std::atomic<std::size_t>> early_bytes_;
  };

  DataPlane& plane_;
  Handle<End> end_;
  std::shared_ptr<std::atomic<std::size_t>> early_bytes_ = std::make_shared<std::atomic<std::size_t>>(0);
};

}  // namespace culvert::testing
