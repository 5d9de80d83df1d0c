// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <vector>

#include "protocol/limits.hpp"
#include "protocol/reason.hpp"

namespace culvert::protocol {

using StreamId = std::uint32_t;

/// SPEC 4.2. Numbers below 0x80 are critical: an unknown one ends the tunnel. From 0x80 on they may be skipped.
enum class FrameType : std::uint8_t {
  hello = 0x01,
  welcome = 0x02,
  goaway = 0x03,
  ping = 0x04,
  widen = 0x05,
  replicas = 0x06,
  open = 0x10,
  accept = 0x11,
  reject = 0x12,
  data = 0x13,
  credit = 0x14,
  fin = 0x15,
  reset = 0x16,
  stop = 0x17,
  head = 0x18,
};

inline constexpr std::uint8_t flag_pong = 0x01;     ///< PING: this one answers.
inline constexpr std::uint8_t flag_aborted = 0x01;  ///< FIN: what came is cut off.

/// SPEC 4.1: type, flags, two reserved bytes, stream id, payload length; big-endian.
struct FrameHeader {
  FrameType type{};
  std::uint8_t flags = 0;
  StreamId stream = 0;
  std::uint32_t payload_bytes = 0;
};

void encode_header(const FrameHeader& header, std::span<std::byte, frame_header_bytes> out);

/// A header that may stand on the wire, nullopt for a frame of the ignorable range (only its length counts), or why the
/// tunnel must end: unknown critical type, flag or reserved bits, stream 0 where a stream is needed or the reverse, a
/// length that the type does not have. `greeted` is false until HELLO or WELCOME came: no frame is longer than 4 KiB
/// until then.
struct DecodedHeader {
  std::optional<FrameHeader> header;
  std::uint32_t payload_bytes = 0;
};
std::expected<DecodedHeader, Reason> decode_header(std::span<const std::byte, frame_header_bytes> bytes, bool greeted);

/// Cuts a byte stream into frames. Result independent of how the bytes were sliced (threats A3). DATA payload is handed
/// on in the parts that come, straight from the caller's bytes; what other frames carry is collected, at most
/// frame_payload_bytes_max.
class FrameReader {
 public:
  struct Part {
    FrameHeader header;
    std::span<const std::byte> payload;  ///< DATA: what is here. Other types: all of it. Valid until the next call.
    bool first = true;                   ///< DATA: the part with which the frame begins.
  };

  /// `bytes` must stay valid until next() wants more. Only when it does, feed again.
  void feed(std::span<const std::byte> bytes);
  std::expected<std::optional<Part>, Reason> next();
  void set_greeted() { greeted_ = true; }
  /// Frames of the ignorable range that were skipped.
  std::uint64_t skipped() const { return skipped_; }
  /// False in the middle of a frame.
  bool at_boundary() const { return !in_payload_ && header_bytes_ == 0; }

 private:
  std::expected<bool, Reason> read_header();

  std::span<const std::byte> input_;
  std::byte header_buffer_[frame_header_bytes]{};
  std::size_t header_bytes_ = 0;
  FrameHeader header_;
  bool in_payload_ = false;
  bool skipping_ = false;
  bool first_ = false;
  bool greeted_ = false;
  std::size_t remaining_ = 0;
  std::vector<std::byte> collected_;
  std::uint64_t skipped_ = 0;
};

}  // namespace culvert::protocol
