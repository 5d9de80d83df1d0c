// SPDX-License-Identifier: Apache-2.0
#include "protocol/frame.hpp"

#include <map>
#include <string>

#include <gtest/gtest.h>

#include "tests/testing/session_pair.hpp"

namespace culvert::protocol {
namespace {

using Header = std::array<std::byte, frame_header_bytes>;

Header raw_header(unsigned type, unsigned flags, std::uint32_t stream, std::uint32_t payload, unsigned reserved = 0) {
  const auto byte = [](std::uint32_t value, int shift) { return static_cast<std::byte>(value >> shift & 0xff); };
  return {byte(type, 0),   byte(flags, 0),  byte(reserved, 8), byte(reserved, 0), byte(stream, 24), byte(stream, 16),
          byte(stream, 8), byte(stream, 0), byte(payload, 24), byte(payload, 16), byte(payload, 8), byte(payload, 0)};
}

/// A second copy of SPEC 4.2, deliberately not derived from the first.
struct Rule {
  bool on_stream;
  unsigned flags;
  std::uint32_t shortest;
  std::uint32_t longest;
};
const std::map<unsigned, Rule> rules{
    {0x01, {false, 0, 1, 4096}},  {0x02, {false, 0, 1, 4096}},  {0x03, {false, 0, 1, 65536}},
    {0x04, {false, 1, 8, 8}},     {0x07, {false, 0, 1, 4096}},  {0x08, {false, 0, 1, 8192}},
    {0x09, {false, 0, 1, 65536}}, {0x0a, {false, 0, 1, 65536}}, {0x05, {false, 0, 0, 0}},
    {0x10, {true, 0, 1, 65536}},  {0x11, {true, 0, 8, 8}},      {0x12, {true, 0, 1, 65536}},
    {0x13, {true, 0, 0, 65536}},  {0x14, {true, 0, 8, 8}},      {0x15, {true, 1, 0, 0}},
    {0x16, {true, 0, 4, 4}},      {0x17, {true, 0, 4, 4}},      {0x18, {true, 0, 1, 81920}},
    {0x90, {true, 0, 4, 4}},
};

enum class Verdict { frame, skipped, refused };
Verdict verdict_of(const Header& header, bool greeted = true) {
  const auto decoded = decode_header(header, greeted);
  if (!decoded) return Verdict::refused;
  return decoded->header ? Verdict::frame : Verdict::skipped;
}

TEST(Frame, header_has_its_golden_bytes) {
  Header bytes;
  encode_header({FrameType::fin, flag_aborted, 0x01020304, 0x0000'0506}, bytes);
  const Header golden = raw_header(0x15, 0x01, 0x01020304, 0x0506);
  EXPECT_EQ(bytes, golden);
  EXPECT_EQ(bytes[4], std::byte{1});
  EXPECT_EQ(bytes[11], std::byte{6});
}

TEST(Frame, accepts_or_refuses_each_of_256_types_and_256_flags_on_a_stream_and_on_the_tunnel) {  // threats A1
  for (unsigned type = 0; type < 256; ++type) {
    for (unsigned flags = 0; flags < 256; ++flags) {
      for (const std::uint32_t stream : {0U, 1U, 2U, stream_id_max}) {
        const auto rule = rules.find(type);
        Verdict expected = type >= 0x80 ? Verdict::skipped : Verdict::refused;
        std::uint32_t length = 0;
        if (rule != rules.end()) {
          length = rule->second.shortest;
          const bool good = (flags & ~rule->second.flags) == 0 && (stream != 0) == rule->second.on_stream;
          expected = good ? Verdict::frame : Verdict::refused;
        }
        ASSERT_EQ(verdict_of(raw_header(type, flags, stream, length)), expected)
            << "type " << type << " flags " << flags << " stream " << stream;
      }
    }
  }
}

TEST(Frame, enforces_each_types_shortest_and_longest_payload) {
  for (const auto& [type, rule] : rules) {
    const std::uint32_t stream = rule.on_stream ? 1 : 0;
    EXPECT_EQ(verdict_of(raw_header(type, 0, stream, rule.shortest)), Verdict::frame) << type;
    EXPECT_EQ(verdict_of(raw_header(type, 0, stream, rule.longest)), Verdict::frame) << type;
    EXPECT_EQ(verdict_of(raw_header(type, 0, stream, rule.longest + 1)), Verdict::refused) << type;
    if (rule.shortest > 0) EXPECT_EQ(verdict_of(raw_header(type, 0, stream, rule.shortest - 1)), Verdict::refused);
  }
}

TEST(Frame, refuses_each_reserved_bit_and_the_top_bit_of_the_stream_id) {
  for (int bit = 0; bit < 16; ++bit) {
    EXPECT_EQ(verdict_of(raw_header(0x13, 0, 1, 0, 1U << bit)), Verdict::refused) << bit;
  }
  EXPECT_EQ(verdict_of(raw_header(0x13, 0, stream_id_max + 1, 0)), Verdict::refused);
}

TEST(Frame, a_length_of_4_GiB_is_refused_from_the_header_alone) {  // threats A2
  for (unsigned type = 0; type < 256; ++type) {
    const auto decoded =
        decode_header(raw_header(type, 0, rules.contains(type) && rules.at(type).on_stream, UINT32_MAX), true);
    ASSERT_FALSE(decoded);
    EXPECT_EQ(decoded.error(), Reason::frame_too_large);
  }
  FrameReader reader;
  reader.set_greeted();
  const Header header = raw_header(0x10, 0, 1, UINT32_MAX);
  reader.feed(header);
  EXPECT_FALSE(reader.next());
}

TEST(Frame, before_the_greeting_no_frame_is_longer_than_4_KiB_and_none_is_skipped) {
  EXPECT_EQ(verdict_of(raw_header(0x03, 0, 0, 4096), false), Verdict::frame);
  EXPECT_EQ(decode_header(raw_header(0x03, 0, 0, 4097), false).error(), Reason::frame_too_large);
  EXPECT_EQ(verdict_of(raw_header(0x80, 0, 0, 0), false), Verdict::refused);
  EXPECT_EQ(decode_header(raw_header(0x07, 0, 0, 4097), false).error(), Reason::frame_too_large);
  EXPECT_EQ(verdict_of(raw_header(0x08, 0, 0, 8192), false), Verdict::frame) << "RENEW is the exception";
  EXPECT_EQ(decode_header(raw_header(0x08, 0, 0, 8193), false).error(), Reason::frame_too_large);
  EXPECT_EQ(decode_header(raw_header(0x09, 0, 0, 4097), false).error(), Reason::frame_too_large);
  EXPECT_EQ(verdict_of(raw_header(0x80, 0, 0, 0), true), Verdict::skipped);
  EXPECT_EQ(verdict_of(raw_header(0x80, 0, 0, 65'536), true), Verdict::skipped);
  EXPECT_EQ(verdict_of(raw_header(0x80, 0, 0, 65'537), true), Verdict::refused);
}

/// The type and whole payload of each frame; the parts of DATA are joined.
std::vector<std::string> frames_of(const Bytes& input, std::size_t slice, std::uint64_t* skipped = nullptr) {
  std::vector<std::string> frames;
  FrameReader reader;
  reader.set_greeted();
  for (std::size_t at = 0; at < input.size(); at += slice) {
    reader.feed(std::span(input).subspan(at, std::min(slice, input.size() - at)));
    for (;;) {
      const auto part = reader.next();
      if (!part) {
        frames.emplace_back("error");
        return frames;
      }
      if (!*part) break;
      const auto& [header, payload, first] = **part;
      if (first) frames.push_back(std::to_string(static_cast<int>(header.type)) + ":");
      frames.back().append(reinterpret_cast<const char*>(payload.data()), payload.size());
    }
  }
  EXPECT_TRUE(reader.at_boundary());
  if (skipped != nullptr) *skipped = reader.skipped();
  return frames;
}

TEST(FrameReader, gives_the_same_frames_however_its_input_is_cut) {
  const Bytes input =
      joined({frame(FrameType::data, 1, bytes_of("hello")), frame(FrameType::data, 1),
              frame(FrameType{0x99}, 7, bytes_of("to be skipped")), open_frame(3), number_frame(FrameType::ping, 0, 42),
              frame(FrameType{0xff}, 0), frame(FrameType::fin, 1)});
  std::uint64_t skipped = 0;
  const auto whole = frames_of(input, input.size(), &skipped);
  EXPECT_EQ(whole.size(), 5U);
  EXPECT_EQ(whole[0], "19:hello");
  EXPECT_EQ(skipped, 2U);
  for (std::size_t slice = 1; slice < input.size(); ++slice) EXPECT_EQ(frames_of(input, slice), whole) << slice;
}

TEST(FrameReader, passes_on_data_in_the_parts_that_come) {
  FrameReader reader;
  const Bytes input = frame(FrameType::data, 1, bytes_of("hello"));
  reader.feed(std::span(input).first(14));
  const auto part = reader.next();
  ASSERT_TRUE(part && *part);
  EXPECT_EQ((**part).payload.size(), 2U);
  EXPECT_FALSE(reader.at_boundary());
  EXPECT_FALSE((*reader.next()).has_value());
}

}  // namespace
}  // namespace culvert::protocol
