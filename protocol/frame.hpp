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

/// Which of the two programs a side of the tunnel is.
enum class Role : std::uint8_t { agent, server };

using StreamId = std::uint32_t;

/// SPEC 4.2. Numbers below 0x80 are critical: an unknown one ends the tunnel. Unknown ones from 0x80 on are skipped.
enum class FrameType : std::uint8_t {
  hello = 0x01,
  welcome = 0x02,
  goaway = 0x03,
  ping = 0x04,
  widen = 0x05,
  replicas = 0x06,
  join = 0x07,
  renew = 0x08,
  issued = 0x09,
  denied = 0x0a,
  open = 0x10,
  accept = 0x11,
  reject = 0x12,
  data = 0x13,
  credit = 0x14,
  fin = 0x15,
  reset = 0x16,
  stop = 0x17,
  head = 0x18,
  pending = 0x90,
};

inline constexpr std::uint8_t flag_pong = 0x01;     ///< PING: this is an answer.
inline constexpr std::uint8_t flag_aborted = 0x01;  ///< FIN: the bytes before it are cut off.

/// SPEC 4.1: type, flags, two reserved bytes, stream id, payload length; big-endian.
struct FrameHeader {
  FrameType type{};
  std::uint8_t flags = 0;
  StreamId stream = 0;
  std::uint32_t payload_bytes = 0;
};

void encode_header(const FrameHeader& header, std::span<std::byte, frame_header_bytes> out);

/// A decoded header. `header` is nullopt for a frame of the ignorable range, of which only the length counts.
struct DecodedHeader {
  std::optional<FrameHeader> header;
  std::uint32_t payload_bytes = 0;
};
/// Checks a header by SPEC 4.1. An error is why the tunnel must end: an unknown critical type, flag or reserved bits,
/// stream 0 where a stream is needed or the reverse, a length that the type does not have. `greeted` is false until
/// HELLO or WELCOME came; until then no frame is longer than 4 KiB, a RENEW 8 KiB.
std::expected<DecodedHeader, Reason> decode_header(std::span<const std::byte, frame_header_bytes> bytes, bool greeted);

/// Cuts a byte stream into frames. The result does not depend on how the bytes were sliced (threats A3). The payload of
/// DATA is passed on in the parts that come, as views of the caller's bytes. The payload of any other frame is
/// collected first; it has at most head_payload_bytes_max.
class FrameReader {
 public:
  struct Part {
    FrameHeader header;
    std::span<const std::byte>
        payload;        ///< DATA: the part that came. Other types: all of it. Valid until the next call.
    bool first = true;  ///< DATA: the part that begins the frame. Other types: always true.
  };

  /// `bytes` must stay valid until next() returns nullopt. Feed again only then.
  void feed(std::span<const std::byte> bytes);
  /// The next part; nullopt: more bytes are needed. An error is why the tunnel must end.
  std::expected<std::optional<Part>, Reason> next();
  void set_greeted() { greeted_ = true; }
  /// After the last part was handled: overwrites the copy of its payload, which had a secret.
  void wipe();
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
