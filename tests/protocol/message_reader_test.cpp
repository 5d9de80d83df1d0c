// SPDX-License-Identifier: Apache-2.0
#include "protocol/message_reader.hpp"

#include <initializer_list>
#include <string>

#include <gtest/gtest.h>
#include <pthread.h>

#include "protocol/limits.hpp"
#include "tests/testing/session_pair.hpp"

namespace culvert::protocol {
namespace {

Bytes raw(std::initializer_list<int> values) {
  Bytes bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}
/// {"a": value}
Bytes map_of(const Bytes& value) {
  return joined({raw({0x81, 0xa1, 'a'}), value});
}
bool reads(const Bytes& payload) {
  return MessageReader::read(payload).has_value();
}
/// A map that holds arrays within arrays: `depth` containers in all.
Bytes nested(std::size_t depth) {
  Bytes arrays(depth - 1, std::byte{0x91});
  arrays.back() = std::byte{0x90};
  return map_of(arrays);
}

TEST(MessageReader, reads_each_kind_of_value_that_messages_use) {
  const Bytes payload =
      joined({raw({0x85}), raw({0xa1, 'n', 0xcd, 0x12, 0x34}), raw({0xa1, 'b', 0xc3}), raw({0xa1, 's', 0xa2, 'h', 'i'}),
              raw({0xa1, 'x', 0xc4, 2, 1, 2}), raw({0xa1, 'l', 0x92, 0xa1, 'p', 0xa1, 'q'})});
  auto reader = MessageReader::read(payload);
  ASSERT_TRUE(reader);
  EXPECT_EQ(reader->number("n", 0x1234), 0x1234U);
  EXPECT_TRUE(reader->boolean("b", false));
  EXPECT_EQ(reader->string("s", 2), "hi");
  EXPECT_EQ(reader->binary("x", 2).size(), 2U);
  EXPECT_EQ(reader->strings("l", 2, 1), (MessageReader::Strings{"p", "q"}));
  EXPECT_FALSE(reader->bad());
}

TEST(MessageReader, a_value_is_bad_one_above_its_limit) {
  const auto bad = [](auto&& ask) {
    const Bytes payload = joined(
        {raw({0x83, 0xa1, 'n', 9, 0xa1, 's', 0xa2, 'h', 'i'}), raw({0xa1, 'l', 0x92, 0xa1, 'p', 0xa2, 'q', 'r'})});
    auto reader = MessageReader::read(payload);
    ask(*reader);
    return reader->bad();
  };
  EXPECT_FALSE(bad([](auto& r) { r.number("n", 9); }));
  EXPECT_TRUE(bad([](auto& r) { r.number("n", 8); }));
  EXPECT_FALSE(bad([](auto& r) { r.string("s", 2); }));
  EXPECT_TRUE(bad([](auto& r) { r.string("s", 1); }));
  EXPECT_FALSE(bad([](auto& r) { r.strings("l", 2, 2); }));
  EXPECT_TRUE(bad([](auto& r) { r.strings("l", 1, 2); }));
  EXPECT_TRUE(bad([](auto& r) { r.strings("l", 2, 1); }));
}

TEST(MessageReader, a_key_may_be_missing_only_with_a_fallback_and_never_has_another_type) {
  const Bytes payload = map_of(raw({7}));
  auto reader = *MessageReader::read(payload);
  EXPECT_EQ(reader.number("z", 10, 5), 5U);
  EXPECT_FALSE(reader.bad());
  auto missing = reader;
  missing.number("z", 10);
  EXPECT_TRUE(missing.bad());
  auto other = reader;
  other.string("a", 10, "");
  EXPECT_TRUE(other.bad());
  auto boolean = reader;
  boolean.boolean("a", false);
  EXPECT_TRUE(boolean.bad());
}

TEST(MessageReader, a_list_that_holds_anything_but_strings_is_not_a_list_of_strings) {
  for (const Bytes& list : {raw({0x92, 0xa1, 'p', 1}), raw({0x92, 0xa1, 'p', 0x91, 0xa1, 'q'}),
                            raw({0x93, 0xa1, 'p', 0x80, 0xa1, 'q'}), raw({0x93, 0xa1, 'p', 0xc0, 0xa1, 'q'})}) {
    const Bytes payload = map_of(list);
    auto reader = *MessageReader::read(payload);
    reader.strings("a", 10, 10);
    EXPECT_TRUE(reader.bad());
  }
}

TEST(MessageReader, a_list_of_strings_has_at_most_64) {
  for (const int count : {64, 65}) {
    Bytes list = raw({0xdc, 0, count});
    list.insert(list.end(), static_cast<std::size_t>(count), std::byte{0xa0});
    const Bytes payload = map_of(list);
    auto reader = *MessageReader::read(payload);
    reader.strings("a", 1'000, 0);
    EXPECT_EQ(reader.bad(), count == 65) << count;
  }
}

TEST(MessageReader, depth_16_passes_17_is_refused) {  // threats A4
  EXPECT_TRUE(reads(nested(16)));
  EXPECT_FALSE(reads(nested(17)));
  EXPECT_FALSE(reads(nested(100)));
}

TEST(MessageReader, a_depth_of_a_million_is_refused_on_a_small_stack) {  // threats A4
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, 256 * 1024), 0);
  bool refused = false;
  pthread_t thread{};
  const auto body = [](void* out) -> void* {
    *static_cast<bool*>(out) = !reads(nested(1'000'000));
    return nullptr;
  };
  ASSERT_EQ(pthread_create(&thread, &attributes, body, &refused), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
  EXPECT_TRUE(refused);
}

TEST(MessageReader, a_declared_size_beyond_the_rest_of_the_payload_is_refused) {  // threats A5
  EXPECT_FALSE(reads(map_of(raw({0xdd, 0xff, 0xff, 0xff, 0xff}))));
  EXPECT_FALSE(reads(map_of(raw({0xdf, 0xff, 0xff, 0xff, 0xff}))));
  EXPECT_FALSE(reads(map_of(raw({0xdb, 0xff, 0xff, 0xff, 0xff}))));
  EXPECT_FALSE(reads(map_of(raw({0xc6, 0xff, 0xff, 0xff, 0xff}))));
  EXPECT_FALSE(reads(map_of(raw({0xc9, 0xff, 0xff, 0xff, 0xff}))));
  EXPECT_FALSE(reads(map_of(raw({0xdc, 0x00, 0x10, 1, 2, 3}))));
  EXPECT_FALSE(reads(raw({0xdf, 0xff, 0xff, 0xff, 0xff})));
  EXPECT_FALSE(reads(raw({0x82, 0xa1, 'a', 1})));
}

Bytes array16(std::size_t count) {
  Bytes bytes = raw({0xdc, static_cast<int>(count >> 8), static_cast<int>(count & 0xff)});
  bytes.insert(bytes.end(), count, std::byte{0});
  return bytes;
}
Bytes string16(std::size_t size) {
  Bytes bytes = raw({0xda, static_cast<int>(size >> 8), static_cast<int>(size & 0xff)});
  bytes.insert(bytes.end(), size, std::byte{'x'});
  return bytes;
}
Bytes map_with(std::size_t entries) {
  Bytes bytes = raw({0xde, static_cast<int>(entries >> 8), static_cast<int>(entries & 0xff)});
  for (std::size_t i = 0; i < entries; ++i) {
    bytes = joined({bytes, raw({0xa2, 'A' + static_cast<int>(i / 64), '0' + static_cast<int>(i % 64), 0})});
  }
  return bytes;
}

TEST(MessageReader, counts_and_sizes_pass_at_their_limit_and_fail_one_above) {
  EXPECT_TRUE(reads(map_of(array16(message_array_entries_max))));
  EXPECT_FALSE(reads(map_of(array16(message_array_entries_max + 1))));
  EXPECT_TRUE(reads(map_of(string16(message_string_bytes_max))));
  EXPECT_FALSE(reads(map_of(string16(message_string_bytes_max + 1))));
  EXPECT_TRUE(reads(map_with(message_map_entries_max)));
  EXPECT_FALSE(reads(map_with(message_map_entries_max + 1)));
  // {"a": [array, array, array, array of n]}: map, key, list, four arrays, their elements.
  const auto with_elements = [](std::size_t last) {
    return map_of(joined({raw({0x94}), array16(1'024), array16(1'024), array16(1'024), array16(last)}));
  };
  EXPECT_TRUE(reads(with_elements(message_elements_max - 3 * 1'024 - 7)));
  EXPECT_FALSE(reads(with_elements(message_elements_max - 3 * 1'024 - 6)));
}

TEST(MessageReader, refuses_ext_types_floats_and_c1) {
  EXPECT_FALSE(reads(map_of(raw({0xc1}))));
  EXPECT_FALSE(reads(map_of(raw({0xd4, 1, 2}))));
  EXPECT_FALSE(reads(map_of(raw({0xc7, 1, 2, 3}))));
  EXPECT_FALSE(reads(map_of(raw({0xca, 0x3f, 0x80, 0, 0}))));
  EXPECT_FALSE(reads(map_of(raw({0xcb, 0x3f, 0xf0, 0, 0, 0, 0, 0, 0}))));
}

TEST(MessageReader, refuses_duplicate_keys_at_every_level_and_keys_that_are_not_strings) {  // threats A6
  EXPECT_FALSE(reads(raw({0x82, 0xa1, 'a', 1, 0xa1, 'a', 1})));
  EXPECT_FALSE(reads(map_of(raw({0x82, 0xa1, 'b', 1, 0xa1, 'b', 2}))));
  EXPECT_TRUE(reads(map_of(raw({0x81, 0xa1, 'a', 1}))));
  EXPECT_TRUE(reads(map_of(raw({0x92, 0x81, 0xa1, 'b', 1, 0x81, 0xa1, 'b', 1}))));
  for (const Bytes& key : {raw({1}), raw({0xc0}), raw({0xc3}), raw({0x90}), raw({0x80}), raw({0xc4, 1, 'a'})}) {
    EXPECT_FALSE(reads(joined({raw({0x81}), key, raw({1})})));
  }
}

TEST(MessageReader, refuses_anything_but_one_whole_map) {
  EXPECT_FALSE(reads({}));
  EXPECT_TRUE(reads(raw({0x80})));
  EXPECT_FALSE(reads(raw({0x80, 0x80})));
  EXPECT_FALSE(reads(raw({0x80, 0xc1})));
  EXPECT_FALSE(reads(raw({0x90})));
  EXPECT_FALSE(reads(raw({0x07})));
  EXPECT_FALSE(reads(raw({0xa1, 'a'})));
}

TEST(MessageReader, refuses_every_form_longer_than_the_shortest) {
  for (const Bytes& value :
       {raw({0xcc, 0x7f}), raw({0xcd, 0, 0xff}), raw({0xce, 0, 0, 0xff, 0xff}),
        raw({0xcf, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}), raw({0xd0, 0xe0}), raw({0xd1, 0xff, 0x80}), raw({0xd0, 0x05}),
        raw({0xd9, 1, 'x'}), raw({0xda, 0, 1, 'x'}), raw({0xdb, 0, 0, 0, 1, 'x'}), raw({0xc5, 0, 1, 'x'}),
        raw({0xdc, 0, 1, 0}), raw({0xdd, 0, 0, 0, 1, 0}), raw({0xde, 0, 0})}) {
    EXPECT_FALSE(reads(map_of(value))) << static_cast<int>(value[0]);
  }
  for (const Bytes& value : {raw({0xcc, 0x80}), raw({0xcd, 1, 0}), raw({0xce, 0, 1, 0, 0}),
                             raw({0xcf, 0, 0, 0, 1, 0, 0, 0, 0}), raw({0xd0, 0xdf}), raw({0xd1, 0xff, 0x7f})}) {
    EXPECT_TRUE(reads(map_of(value))) << static_cast<int>(value[0]);
  }
}

TEST(MessageReader, two_wrong_sizes_do_not_cancel_out) {
  // One form is too long, and as many bytes are cut off elsewhere: the sum of the lengths is right.
  EXPECT_FALSE(reads(raw({0x82, 0xa1, 'a', 0xcc, 0x01, 0xa1, 'b'})));
}

TEST(MessageReader, every_truncation_of_a_message_is_refused) {
  const Bytes whole = encode(Open{.name = "web", .credit = 1'000'000});
  for (std::size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(reads(Bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size)))) << size;
  }
}

TEST(Utf8, follows_RFC_3629) {
  for (const char* good : {"", "plain", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
                           "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_TRUE(is_utf8(good)) << good;
  }
  for (const char* bad : {"\x80", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2x", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xe1\x80",
                          "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xf1\x80\x80"}) {
    EXPECT_FALSE(is_utf8(bad)) << bad;
  }
  EXPECT_TRUE(is_utf8(std::string_view("\0", 1)));
  EXPECT_FALSE(reads(map_of(raw({0xa1, 0x80}))));
}

}  // namespace
}  // namespace culvert::protocol
