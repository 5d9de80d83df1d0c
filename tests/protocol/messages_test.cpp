// SPDX-License-Identifier: Apache-2.0
#include "protocol/messages.hpp"

#include <string>

#include <gtest/gtest.h>

#include "protocol/reason.hpp"
#include "tests/testing/session_pair.hpp"

namespace culvert::protocol {
namespace {

Hello some_hello() {
  Hello hello{.version_min = 1,
              .version_max = 3,
              .capabilities = {"http", "x"},
              .epoch = UINT64_MAX,
              .slot = 255,
              .wanted_replica = "server-1",
              .software = "culvert-agent 0.1.0"};
  hello.instance[15] = std::byte{7};
  return hello;
}

TEST(Messages, each_decodes_to_what_was_encoded) {
  EXPECT_EQ(decode_hello(encode(some_hello())), some_hello());
  EXPECT_EQ(decode_hello(encode(Hello{})), Hello{});
  const Welcome welcome{.version = 1, .capabilities = {"a"}, .replica = "r", .replicas = {"q", "r"}, .software = "s"};
  EXPECT_EQ(decode_welcome(encode(welcome)), welcome);
  Open open{.kind = Open::Kind::host,
            .name = "erp",
            .port = 443,
            .credit = window_bytes_max,
            .dial_time_max = std::chrono::hours(1)};
  EXPECT_EQ(decode_open(encode(open)), open);
  open = {.kind = Open::Kind::service, .name = "echo", .credit = 0};
  EXPECT_EQ(decode_open(encode(open)), open);
  const Reject reject{Reason::target_refused, true, "no"};
  EXPECT_EQ(decode_reject(encode(reject)), reject);
  const Goaway goaway{Goaway::Kind::final, Reason::shutdown, stream_id_max, std::chrono::milliseconds(5), "bye"};
  EXPECT_EQ(decode_goaway(encode(goaway)), goaway);
  EXPECT_EQ(decode_replicas(encode(Replicas{{"q", "r"}})), (Replicas{{"q", "r"}}));
  EXPECT_EQ(decode_replicas(encode(Replicas{})), Replicas{});
}

TEST(Messages, a_list_of_replicas_has_its_limits_in_each_message_that_carries_one) {
  const auto passes = [](const std::vector<std::string>& names) {
    const bool alone = decode_replicas(encode(Replicas{names})).has_value();
    EXPECT_EQ(decode_welcome(encode(Welcome{.replicas = names})).has_value(), alone);
    return alone;
  };
  const std::string longest(name_bytes_max, 'r');
  EXPECT_TRUE(passes(std::vector(replicas_max, longest)));
  EXPECT_FALSE(passes(std::vector(replicas_max + 1, longest)));
  EXPECT_FALSE(passes({longest + "r"}));
  EXPECT_FALSE(passes({"a", ""}));
  EXPECT_FALSE(decode_replicas(bytes_of("\x81\xa8replicas\xa1x")));
}

TEST(Messages, hello_refuses_one_above_each_limit) {
  const auto passes = [](auto&& change) {
    Hello hello;
    change(hello);
    return decode_hello(encode(hello)).has_value();
  };
  EXPECT_TRUE(passes([](Hello& h) { h.capabilities.assign(capabilities_max, "c"); }));
  EXPECT_FALSE(passes([](Hello& h) { h.capabilities.assign(capabilities_max + 1, "c"); }));
  EXPECT_TRUE(passes([](Hello& h) { h.capabilities = {std::string(capability_bytes_max, 'c')}; }));
  EXPECT_FALSE(passes([](Hello& h) { h.capabilities = {std::string(capability_bytes_max + 1, 'c')}; }));
  EXPECT_TRUE(passes([](Hello& h) { h.wanted_replica.assign(name_bytes_max, 'r'); }));
  EXPECT_FALSE(passes([](Hello& h) { h.wanted_replica.assign(name_bytes_max + 1, 'r'); }));
  EXPECT_FALSE(passes([](Hello& h) { h.software.assign(name_bytes_max + 1, 's'); }));
  EXPECT_FALSE(passes([](Hello& h) { h.slot = 256; }));
  EXPECT_FALSE(passes([](Hello& h) { h.version_min = 2; }));
}

TEST(Messages, open_refuses_names_and_numbers_beyond_their_limits) {
  const auto passes = [](Open open) { return decode_open(encode(open)).has_value(); };
  EXPECT_TRUE(passes({.name = std::string(name_bytes_max, 'n')}));
  EXPECT_FALSE(passes({.name = std::string(name_bytes_max + 1, 'n')}));
  for (const char* name : {"", "a b", "a\n", "a\x7f", "\xc3\xa4", " a"}) EXPECT_FALSE(passes({.name = name})) << name;
  EXPECT_TRUE(passes({.name = "n", .credit = window_bytes_max}));
  EXPECT_FALSE(passes({.name = "n", .credit = window_bytes_max + 1}));
  EXPECT_FALSE(passes({.name = "n", .dial_time_max = std::chrono::milliseconds(3'600'001)}));
}

TEST(Messages, a_text_is_cut_between_two_characters) {
  const std::string text(text_bytes_max - 1, 'x');
  EXPECT_EQ(decode_reject(encode(Reject{Reason::internal, false, text + "yz"}))->text, text + "y");
  EXPECT_EQ(decode_reject(encode(Reject{Reason::internal, false, text + "\xc3\xa4"}))->text, text);
  EXPECT_EQ(decode_goaway(encode(Goaway{.text = text + "\xf0\x9f\x98\x80"}))->text, text);
}

TEST(Messages, a_text_that_is_not_utf8_is_made_readable_instead_of_ending_the_tunnel) {
  EXPECT_EQ(decode_reject(encode(Reject{Reason::internal, false, "caf\xe9"}))->text, "caf?");
  const std::string wild(1'000, '\xff');
  EXPECT_EQ(decode_reject(encode(Reject{Reason::internal, false, wild}))->text, std::string(text_bytes_max, '?'));
}

TEST(Messages, unknown_keys_are_ignored_and_unknown_reasons_are_internal) {
  Bytes reject = encode(Reject{Reason::stalled, true, ""});
  reject[0] = std::byte{0x84};
  const Bytes more = bytes_of("\xa3new\xc0");
  EXPECT_EQ(decode_reject(joined({reject, more}))->reason, Reason::stalled);
  // {"reason": 99}
  EXPECT_EQ(decode_reject(bytes_of("\x81\xa6reason\x63"))->reason, Reason::internal);
}

TEST(Messages, heads_decode_to_what_was_encoded_whichever_keys_are_left_out) {
  const std::string fields("a\0b\0", 4);
  const Head request{.kind = Head::Kind::request,
                     .method = "POST",
                     .host = "erp",
                     .port = 443,
                     .path = "/a",
                     .query = "?b",
                     .expects_continue = true,
                     .accepts_trailers = true,
                     .framing = Head::Framing::length,
                     .length = 1ull << 40,
                     .upgrade = "websocket",
                     .fields = std::as_bytes(std::span(fields))};
  const Head response{.kind = Head::Kind::response, .status = 200, .reason = "OK", .framing = Head::Framing::unknown};
  for (const Head& head : {request, response, Head{.kind = Head::Kind::interim, .status = 103},
                           Head{.kind = Head::Kind::trailers, .fields = request.fields},
                           Head{.kind = Head::Kind::failure, .reason = "why"}}) {
    const auto encoded = encode(head);
    const auto decoded = decode_head(encoded);
    ASSERT_TRUE(decoded);
    EXPECT_EQ(encode(*decoded), encoded);
    EXPECT_EQ(decoded->path, head.path);
    EXPECT_EQ(decoded->query, head.query);
    EXPECT_EQ(decoded->length, head.length);
    EXPECT_EQ(decoded->status, head.status);
    EXPECT_EQ(decoded->reason, head.reason);
    EXPECT_EQ(decoded->accepts_trailers, head.accepts_trailers);
    EXPECT_TRUE(std::ranges::equal(decoded->fields, head.fields));
  }
}

TEST(Messages, a_head_is_refused_beyond_its_limits) {
  const std::string longest(head_string_bytes_max, 'x');
  EXPECT_TRUE(decode_head(encode(Head{.path = longest})));
  EXPECT_FALSE(decode_head(encode(Head{.path = longest + "x"})));
  const std::vector<std::byte> fields(head_fields_bytes_max + 1);
  EXPECT_TRUE(decode_head(encode(Head{.fields = std::span(fields).subspan(1)})));
  EXPECT_FALSE(decode_head(encode(Head{.fields = fields})));
  for (const int kind : {0, 6}) EXPECT_FALSE(decode_head(encode(Head{.kind = static_cast<Head::Kind>(kind)})));
}

TEST(Messages, goaway_knows_two_kinds) {
  for (const int kind : {0, 1, 2, 3}) {
    Goaway goaway;
    goaway.kind = static_cast<Goaway::Kind>(kind);
    EXPECT_EQ(decode_goaway(encode(goaway)).has_value(), kind == 1 || kind == 2) << kind;
  }
}

TEST(Reason, every_number_of_the_list_has_its_own_word_and_no_other_number_has_one) {
  int known = 0;
  for (std::uint64_t number = 0; number < 1'000; ++number) {
    const auto reason = reason_of(number);
    if (!reason) continue;
    ++known;
    EXPECT_EQ(static_cast<std::uint64_t>(*reason), number);
    if (*reason != Reason::internal) EXPECT_NE(to_string(*reason), "internal");
  }
  EXPECT_EQ(known, 45);
  EXPECT_EQ(reason_of(UINT64_MAX), std::nullopt);
  EXPECT_EQ(reason_of((1ull << 32) + 1), std::nullopt);
}

}  // namespace
}  // namespace culvert::protocol
