// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <vector>

#include "protocol/check.hpp"
#include "protocol/frame.hpp"
#include "tests/fuzz/targets.hpp"

namespace culvert::fuzz {
namespace {

using protocol::FrameReader;

/// Types, streams and payloads of all frames in one row, and the verdict.
struct Summary {
  std::vector<std::byte> payloads;
  std::vector<std::uint32_t> heads;
  bool refused = false;
  std::uint64_t skipped = 0;
  friend bool operator==(const Summary&, const Summary&) = default;
};

Summary read(std::span<const std::byte> input, bool greeted, std::size_t slice) {
  Summary summary;
  FrameReader reader;
  if (greeted) reader.set_greeted();
  while (!input.empty()) {
    const auto piece = input.first(std::min(slice, input.size()));
    input = input.subspan(piece.size());
    reader.feed(piece);
    for (;;) {
      const auto part = reader.next();
      if (!part) {
        summary.refused = true;
        summary.skipped = reader.skipped();
        return summary;
      }
      if (!*part) break;
      const auto& [header, payload, first] = **part;
      check(payload.size() <= header.payload_bytes, "a part is no longer than its frame");
      check(header.payload_bytes <= protocol::frame_payload_bytes_max, "no frame is longer than its limit");
      if (first) {
        summary.heads.push_back(static_cast<std::uint32_t>(header.type) << 8 | header.flags);
        summary.heads.push_back(header.stream);
      }
      summary.payloads.insert(summary.payloads.end(), payload.begin(), payload.end());
    }
  }
  summary.skipped = reader.skipped();
  return summary;
}

}  // namespace

void frame_decode(std::span<const std::byte> input) {
  for (const bool greeted : {false, true}) {
    const Summary whole = read(input, greeted, SIZE_MAX);
    check(read(input, greeted, 1) == whole, "frames do not depend on slices of 1");
    check(read(input, greeted, 13) == whole, "frames do not depend on slices of 13");
  }
}

}  // namespace culvert::fuzz
