// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace culvert {

/// What one stream has carried lately. A value in the Stream; only TunnelTraffic writes it.
struct StreamTraffic {
  std::uint32_t second = 0;        ///< The second in which `bytes` and `bulk_bytes` were carried.
  std::uint64_t bytes = 0;         ///< Bytes carried in `second`.
  std::uint64_t bytes_before = 0;  ///< Bytes carried in the second before it.
  std::uint64_t bulk_bytes = 0;    ///< Bytes carried in `second` in large pieces.
  std::uint32_t busy_second = 0;   ///< The last second in which the stream was busy; 0: none.
};

/// What the open streams of one tunnel have carried lately, for TunnelDirectory::pick(). The bytes of a stream are
/// subtracted when it ends, so that a tunnel is not avoided because of ended streams. Pure; the tunnel begins each
/// second.
class TunnelTraffic {
 public:
  /// A smaller piece counts as a message, however many there are in a second.
  static constexpr std::size_t bulk_piece_bytes = 4 << 10;
  /// A stream that carries this much in large pieces within a second is busy, in that second and the next.
  static constexpr std::uint64_t busy_bytes = 256 << 10;

  void begin_second() {
    ++second_;
    bytes_before_ = bytes_;
    busy_before_ = busy_;
    bytes_ = 0;
    busy_ = 0;
  }
  void carry(StreamTraffic& stream, std::size_t bytes) {
    bring_up_to_date(stream);
    stream.bytes += bytes;
    bytes_ += bytes;
    if (bytes < bulk_piece_bytes || stream.busy_second == second_) return;
    stream.bulk_bytes += bytes;
    if (stream.bulk_bytes < busy_bytes) return;
    if (is_busy_before(stream)) --busy_before_;
    stream.busy_second = second_;
    ++busy_;
  }
  void end(StreamTraffic& stream) {
    bring_up_to_date(stream);
    bytes_ -= stream.bytes;
    bytes_before_ -= stream.bytes_before;
    if (stream.busy_second == second_) {
      --busy_;
    } else if (is_busy_before(stream)) {
      --busy_before_;
    }
    stream = {};
  }
  /// Returns the bytes of the current second and the one before it.
  std::uint64_t recent_bytes() const { return bytes_ + bytes_before_; }
  std::uint32_t busy_streams() const { return busy_ + busy_before_; }

 private:
  bool is_busy_before(const StreamTraffic& stream) const {
    return stream.busy_second != 0 && stream.busy_second + 1 == second_;
  }
  void bring_up_to_date(StreamTraffic& stream) const {
    if (stream.second == second_) return;
    stream.bytes_before = stream.second + 1 == second_ ? stream.bytes : 0;
    stream.bytes = stream.bulk_bytes = 0;
    stream.second = second_;
  }

  std::uint32_t second_ = 1;
  std::uint64_t bytes_ = 0;
  std::uint64_t bytes_before_ = 0;
  std::uint32_t busy_ = 0;
  std::uint32_t busy_before_ = 0;  ///< Streams busy in the second before, and not yet in this one.
};

}  // namespace culvert
