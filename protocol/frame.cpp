// SPDX-License-Identifier: Apache-2.0
#include "protocol/frame.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "protocol/bytes.hpp"

namespace culvert::protocol {
namespace {

constexpr std::uint8_t ignorable_types_from = 0x80;

/// One type's row in the table of SPEC 4.2.
struct Shape {
  bool on_stream;
  std::uint8_t flags;
  std::uint32_t payload_bytes_min;
  std::uint32_t payload_bytes_max;
};

std::optional<Shape> shape_of(std::uint8_t type) {
  constexpr auto any = static_cast<std::uint32_t>(frame_payload_bytes_max);
  switch (static_cast<FrameType>(type)) {
    case FrameType::hello:
    case FrameType::welcome:
    case FrameType::join: return Shape{false, 0, 1, greeting_payload_bytes_max};
    case FrameType::renew: return Shape{false, 0, 1, renew_payload_bytes_max};
    case FrameType::goaway:
    case FrameType::issued:
    case FrameType::denied:
    case FrameType::replicas: return Shape{false, 0, 1, any};
    case FrameType::ping: return Shape{false, flag_pong, 8, 8};
    case FrameType::widen: return Shape{false, 0, 0, 0};
    case FrameType::open:
    case FrameType::reject: return Shape{true, 0, 1, any};
    case FrameType::data: return Shape{true, 0, 0, any};
    case FrameType::accept:
    case FrameType::credit: return Shape{true, 0, 8, 8};
    case FrameType::fin: return Shape{true, flag_aborted, 0, 0};
    case FrameType::reset:
    case FrameType::stop:
    case FrameType::pending: return Shape{true, 0, 4, 4};
    case FrameType::head: return Shape{true, 0, 1, static_cast<std::uint32_t>(head_payload_bytes_max)};
  }
  return std::nullopt;
}

/// The limit that comes before all others, whatever the type allows.
std::size_t longest_payload(std::uint8_t type, bool greeted) {
  const bool is_head = type == static_cast<std::uint8_t>(FrameType::head);
  const bool is_renew = type == static_cast<std::uint8_t>(FrameType::renew);
  if (greeted) return is_head ? head_payload_bytes_max : frame_payload_bytes_max;
  return is_renew ? renew_payload_bytes_max : greeting_payload_bytes_max;
}

}  // namespace

void encode_header(const FrameHeader& header, std::span<std::byte, frame_header_bytes> out) {
  out[0] = static_cast<std::byte>(header.type);
  out[1] = static_cast<std::byte>(header.flags);
  store<std::uint16_t>(out.subspan<2>(), 0);
  store<std::uint32_t>(out.subspan<4>(), header.stream);
  store<std::uint32_t>(out.subspan<8>(), header.payload_bytes);
}

std::expected<DecodedHeader, Reason> decode_header(std::span<const std::byte, frame_header_bytes> bytes, bool greeted) {
  const auto type = static_cast<std::uint8_t>(bytes[0]);
  const auto flags = static_cast<std::uint8_t>(bytes[1]);
  const auto reserved = load<std::uint16_t>(bytes.subspan<2>());
  const auto stream = load<std::uint32_t>(bytes.subspan<4>());
  const auto payload_bytes = load<std::uint32_t>(bytes.subspan<8>());

  if (payload_bytes > longest_payload(type, greeted)) return std::unexpected(Reason::frame_too_large);
  const auto shape = shape_of(type);
  if (type >= ignorable_types_from) {
    if (!greeted) return std::unexpected(Reason::protocol);
    if (!shape) return DecodedHeader{std::nullopt, payload_bytes};
  }
  if (!shape || reserved != 0 || (flags & ~shape->flags) != 0 || stream > stream_id_max) {
    return std::unexpected(Reason::protocol);
  }
  if ((stream != 0) != shape->on_stream) return std::unexpected(Reason::protocol);
  if (payload_bytes < shape->payload_bytes_min || payload_bytes > shape->payload_bytes_max) {
    return std::unexpected(Reason::protocol);
  }
  return DecodedHeader{FrameHeader{static_cast<FrameType>(type), flags, stream, payload_bytes}, payload_bytes};
}

void FrameReader::feed(std::span<const std::byte> bytes) {
  input_ = bytes;
}

void FrameReader::wipe() {
  if (!collected_.empty()) explicit_bzero(collected_.data(), collected_.size());
}

std::expected<bool, Reason> FrameReader::read_header() {
  const std::size_t take = std::min(frame_header_bytes - header_bytes_, input_.size());
  if (take > 0) std::memcpy(header_buffer_ + header_bytes_, input_.data(), take);
  header_bytes_ += take;
  input_ = input_.subspan(take);
  if (header_bytes_ < frame_header_bytes) return false;

  header_bytes_ = 0;
  const auto decoded = decode_header(header_buffer_, greeted_);
  if (!decoded) return std::unexpected(decoded.error());
  const std::optional<FrameHeader>& known = decoded->header;
  skipping_ = !known;
  if (known) header_ = *known;
  if (skipping_) ++skipped_;
  remaining_ = decoded->payload_bytes;
  in_payload_ = true;
  first_ = true;
  collected_ = std::vector<std::byte>();  // An idle tunnel keeps no memory of a long frame.
  return true;
}

std::expected<std::optional<FrameReader::Part>, Reason> FrameReader::next() {
  for (;;) {
    if (!in_payload_) {
      const auto complete = read_header();
      if (!complete) return std::unexpected(complete.error());
      if (!*complete) return std::nullopt;
    }
    const auto here = input_.first(std::min(remaining_, input_.size()));
    const bool whole = here.size() == remaining_;
    if (here.empty() && !whole) return std::nullopt;
    input_ = input_.subspan(here.size());
    remaining_ -= here.size();
    in_payload_ = !whole;
    if (skipping_) continue;

    if (header_.type == FrameType::data) {
      const bool first = std::exchange(first_, false);
      return Part{header_, here, first};
    }
    if (whole && collected_.empty()) return Part{header_, here, true};
    collected_.insert(collected_.end(), here.begin(), here.end());
    if (whole) return Part{header_, collected_, true};
  }
}

}  // namespace culvert::protocol
