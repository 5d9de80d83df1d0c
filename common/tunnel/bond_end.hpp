// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "common/net/resident.hpp"
#include "common/tunnel/data_plane.hpp"
#include "common/tunnel/stream.hpp"
#include "common/tunnel/stream_end.hpp"

namespace culvert {

/// One side of a stream of kind bond (SPEC 5.10), which carries nothing: whatever arrives on it ends it. Owned by its
/// DataPlane; retires itself.
class BondEnd : public Resident, protected StreamEnd {
 public:
  /// Resets the stream.
  void end() {
    stream_.drop(protocol::Reason::cancelled);
    plane_.relays().retire(*this);
  }

 protected:
  explicit BondEnd(DataPlane& plane, Stream stream = {}) : plane_(plane), stream_(std::move(stream)) {}
  ~BondEnd() override = default;

  DataPlane& plane_;
  Stream stream_;

 private:
  // StreamEnd
  Pull pull(std::span<std::byte>) final { return {}; }
  void push(std::span<const Bytes>) final { end(); }
  void on_head(Bytes) final { end(); }
  void on_finished(bool) final { end(); }
  void on_reset(protocol::Reason) final { end(); }
  void on_over() final { end(); }
};

}  // namespace culvert
