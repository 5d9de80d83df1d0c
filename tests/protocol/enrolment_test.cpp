// SPDX-License-Identifier: Apache-2.0
#include "protocol/enrolment.hpp"

#include <algorithm>
#include <new>
#include <string>

#include <gtest/gtest.h>

#include "tests/testing/session_pair.hpp"

namespace culvert::protocol {
namespace {

using namespace std::chrono_literals;

Join some_join() {
  Join join{.token = "k7_-Z", .software = "culvert-agent 0.1.0", .request = bytes_of("request")};
  join.secret.fill(std::byte{0xa5});
  return join;
}

Issued some_issued() {
  return {.chain = bytes_of("chain"), .authorities = bytes_of("authorities"), .lifetime = 60s};
}

/// An encoded message of fewer than 15 pairs, with one pair more.
Bytes with_pair(Bytes message, std::string_view pair) {
  message[0] = static_cast<std::byte>(std::to_integer<unsigned>(message[0]) + 1);
  return joined({message, bytes_of(pair)});
}

TEST(Enrolment, each_message_decodes_to_what_was_encoded) {
  EXPECT_EQ(decode_join(encode(some_join())), some_join());
  const Renew on_tunnel{.request = bytes_of("request")};
  EXPECT_EQ(decode_renew(encode(on_tunnel)), on_tunnel);
  const Renew late{bytes_of("request"), bytes_of("certificate"), bytes_of("signature")};
  EXPECT_EQ(decode_renew(encode(late)), late);
  EXPECT_EQ(decode_issued(encode(some_issued())), some_issued());
  const Denied denied{Reason::too_many_attempts, true, "wait"};
  EXPECT_EQ(decode_denied(encode(denied)), denied);
}

TEST(Enrolment, join_refuses_one_beyond_each_limit) {
  const auto passes = [](auto&& change) {
    Join join = some_join();
    change(join);
    return decode_join(encode(join)).has_value();
  };
  EXPECT_TRUE(passes([](Join& j) { j.token.assign(token_id_bytes_max, 'x'); }));
  EXPECT_FALSE(passes([](Join& j) { j.token.assign(token_id_bytes_max + 1, 'x'); }));
  for (const char* id : {"", "a b", "a.b", "a/b", "../a", "a\n", "\xc3\xa4"})
    EXPECT_FALSE(passes([&](Join& j) { j.token = id; })) << id;
  EXPECT_TRUE(passes([](Join& j) { j.software.assign(name_bytes_max, 's'); }));
  EXPECT_FALSE(passes([](Join& j) { j.software.assign(name_bytes_max + 1, 's'); }));
  EXPECT_TRUE(passes([](Join& j) { j.request.resize(1); }));
  EXPECT_FALSE(passes([](Join& j) { j.request.clear(); }));
  EXPECT_TRUE(passes([](Join& j) { j.request.resize(certificate_request_bytes_max); }));
  EXPECT_FALSE(passes([](Join& j) { j.request.resize(certificate_request_bytes_max + 1); }));
}

TEST(Enrolment, join_needs_its_token_its_secret_of_32_bytes_and_its_request) {
  const std::string token("\xa5token\xa1x", 8);
  const std::string secret = "\xa6secret\xc4\x20" + std::string(32, 's');
  const std::string request("\xa7request\xc4\x01r", 11);
  const auto passes = [](const std::string& text) { return decode_join(bytes_of(text)).has_value(); };
  EXPECT_TRUE(passes("\x83" + token + secret + request)) << "software may be left out";
  EXPECT_FALSE(passes("\x82" + secret + request));
  EXPECT_FALSE(passes("\x82" + token + request));
  EXPECT_FALSE(passes("\x82" + token + secret));
  EXPECT_FALSE(passes("\x83" + token + "\xa6secret\xc4\x1f" + std::string(31, 's') + request));
  EXPECT_FALSE(passes("\x83" + token + "\xa6secret\xc4\x21" + std::string(33, 's') + request));
  EXPECT_FALSE(passes("\x83" + token + "\xa6secret\xd9\x20" + std::string(32, 's') + request)) << "a string";
}

TEST(Enrolment, renew_has_limits_and_a_certificate_only_with_its_signature) {
  const auto passes = [](std::size_t request, std::size_t certificate, std::size_t signature) {
    Bytes message{std::byte{0x83}};
    const auto add = [&](std::string_view key, std::size_t size) {
      const Bytes head{std::byte{0xc5}, static_cast<std::byte>(size >> 8), static_cast<std::byte>(size)};
      const Bytes shorter{std::byte{0xc4}, static_cast<std::byte>(size)};
      message = joined({message, bytes_of(key), size > 255 ? head : shorter, Bytes(size)});
    };
    add("\xa7request", request);
    add("\xab"
        "certificate",
        certificate);
    add("\xa9signature", signature);
    return decode_renew(message).has_value();
  };
  EXPECT_TRUE(passes(certificate_request_bytes_max, certificate_bytes_max, signature_bytes_max));
  EXPECT_FALSE(passes(certificate_request_bytes_max + 1, 1, 1));
  EXPECT_FALSE(passes(1, certificate_bytes_max + 1, 1));
  EXPECT_FALSE(passes(1, 1, signature_bytes_max + 1));
  EXPECT_FALSE(passes(0, 1, 1));
  EXPECT_FALSE(passes(1, 1, 0));
  EXPECT_FALSE(passes(1, 0, 1));
  EXPECT_TRUE(passes(1, 1, 1));
}

TEST(Enrolment, the_longest_renew_fits_into_its_frame_before_the_greeting) {
  const Renew longest{Bytes(certificate_request_bytes_max), Bytes(certificate_bytes_max), Bytes(signature_bytes_max)};
  FrameReader reader;
  const Bytes bytes = renew_frame(longest);
  reader.feed(bytes);
  const auto part = reader.next();
  ASSERT_TRUE(part && *part);
  EXPECT_EQ(decode_renew((**part).payload), longest);
}

TEST(Enrolment, issued_refuses_one_beyond_each_limit) {
  const auto passes = [](auto&& change) {
    Issued issued = some_issued();
    change(issued);
    return decode_issued(encode(issued)).has_value();
  };
  for (Bytes Issued::* list : {&Issued::chain, &Issued::authorities}) {
    EXPECT_TRUE(passes([&](Issued& i) { (i.*list).resize(certificates_bytes_max); }));
    EXPECT_FALSE(passes([&](Issued& i) { (i.*list).resize(certificates_bytes_max + 1); }));
    EXPECT_TRUE(passes([&](Issued& i) { (i.*list).resize(1); }));
    EXPECT_FALSE(passes([&](Issued& i) { (i.*list).clear(); }));
  }
  EXPECT_TRUE(passes([](Issued& i) { i.lifetime = 1s; }));
  EXPECT_FALSE(passes([](Issued& i) { i.lifetime = 0s; }));
  EXPECT_FALSE(passes([](Issued& i) { i.lifetime = -1s; }));
  EXPECT_TRUE(passes([](Issued& i) { i.lifetime = 366 * 24h; }));
  EXPECT_FALSE(passes([](Issued& i) { i.lifetime = 366 * 24h + 1s; }));
}

TEST(Enrolment, an_unknown_reason_of_a_denial_is_internal_and_its_text_is_cut) {
  EXPECT_EQ(decode_denied(bytes_of("\x81\xa6reason\xcd\x03\xe7")), (Denied{Reason::internal, false, ""}));
  EXPECT_FALSE(decode_denied(bytes_of("\x81\xa5retry\xc3"))) << "a reason is required";
  EXPECT_FALSE(decode_denied(bytes_of("\x82\xa6reason\x40\xa5retry\x01")));
  const std::string longest(text_bytes_max, 'x');
  EXPECT_EQ(decode_denied(encode(Denied{Reason::token_used, false, longest + "y"}))->text, longest);
  Bytes too_long = bytes_of("\x82\xa6reason\x40\xa4text\xda\x01\x01" + longest + "y");
  EXPECT_FALSE(decode_denied(too_long));
}

TEST(Enrolment, unknown_keys_are_ignored_and_no_key_comes_twice) {
  EXPECT_EQ(decode_join(with_pair(encode(some_join()), "\xa3new\x91\xc0")), some_join());
  EXPECT_TRUE(decode_renew(with_pair(encode(Renew{.request = bytes_of("r")}), "\xa3new\xc3")));
  EXPECT_EQ(decode_issued(with_pair(encode(some_issued()), "\xa3new\xa1x")), some_issued());
  EXPECT_TRUE(decode_denied(with_pair(encode(Denied{}), "\xa3new\x80")));
  EXPECT_FALSE(decode_join(with_pair(encode(some_join()), "\xa5token\xa1y")));
  EXPECT_FALSE(decode_join(joined({encode(some_join()), bytes_of("\xc0")})));
}

TEST(Enrolment, a_secret_is_gone_from_memory_after_its_destructor) {
  alignas(TokenSecret) std::byte memory[sizeof(TokenSecret)];
  auto* secret = new (memory) TokenSecret;
  secret->fill(std::byte{0xa5});
  secret->~TokenSecret();
  // Through a volatile view: nobody may read a dead object, and an optimiser knows it.
  const volatile std::byte* bytes = memory;
  for (std::size_t i = 0; i < sizeof memory; ++i) EXPECT_TRUE(bytes[i] == std::byte{0}) << i;
}

TEST(Enrolment, certificates_that_no_agent_would_take_become_a_denial) {
  const Bytes good = answer_frame(some_issued());
  EXPECT_EQ(good[0], std::byte{0x09});
  Issued wide = some_issued();
  wide.authorities.resize(certificates_bytes_max + 1);
  AnswerReader reader;
  const auto answer = reader.feed(answer_frame(wide));
  ASSERT_TRUE(answer && *answer);
  EXPECT_EQ(std::get<Denied>(**answer).reason, Reason::enrolment_unavailable);
}

/// What the reader says to `input` in slices of this size.
std::expected<std::optional<Enrolled>, Reason> read(const Bytes& input, std::size_t slice) {
  AnswerReader reader;
  for (std::size_t at = 0; at < input.size(); at += slice) {
    auto answer = reader.feed(std::span(input).subspan(at, std::min(slice, input.size() - at)));
    if (!answer || *answer) return answer;
  }
  return std::nullopt;
}

TEST(AnswerReader, gives_the_same_answer_however_its_input_is_cut) {
  const Bytes bye = frame(FrameType::goaway, 0, encode(Goaway{.kind = Goaway::Kind::final, .reason = Reason::none}));
  const Denied denied{Reason::token_refused, false, "no"};
  for (const Enrolled& sent : {Enrolled(some_issued()), Enrolled(denied)}) {
    const Bytes input = joined({answer_frame(sent), bye});
    for (std::size_t slice = 1; slice <= input.size(); ++slice) {
      const auto answer = read(input, slice);
      ASSERT_TRUE(answer && *answer) << slice;
      EXPECT_EQ(**answer, sent) << slice;
    }
  }
}

TEST(AnswerReader, takes_the_longest_answer) {
  const Issued longest{Bytes(certificates_bytes_max), Bytes(certificates_bytes_max), 366 * 24h};
  for (const std::size_t slice : {1UZ, 1'000UZ, 100'000UZ}) {
    const auto answer = read(answer_frame(longest), slice);
    ASSERT_TRUE(answer && *answer) << slice;
    EXPECT_EQ(std::get<Issued>(**answer), longest);
  }
}

TEST(AnswerReader, waits_for_the_whole_answer) {
  Bytes input = answer_frame(some_issued());
  input.pop_back();
  EXPECT_EQ(read(input, 1), std::nullopt);
  EXPECT_EQ(read({}, 1), std::nullopt);
}

TEST(AnswerReader, anything_but_an_answer_is_an_error) {
  const auto error = [](const Bytes& input) {
    const auto whole = read(input, input.size());
    EXPECT_EQ(read(input, 1), whole);
    EXPECT_FALSE(whole) << "an answer, or nothing";
    return whole ? Reason::none : whole.error();
  };
  const auto goaway = [](Goaway message) { return frame(FrameType::goaway, 0, encode(message)); };
  EXPECT_EQ(error(goaway({.kind = Goaway::Kind::final, .reason = Reason::timed_out})), Reason::timed_out);
  EXPECT_EQ(error(goaway({.kind = Goaway::Kind::final, .reason = Reason::none})), Reason::protocol);
  EXPECT_EQ(error(goaway({.kind = Goaway::Kind::draining, .reason = Reason::shutdown})), Reason::protocol);
  EXPECT_EQ(error(welcome_frame()), Reason::protocol);
  EXPECT_EQ(error(number_frame(FrameType::ping, 0, 1)), Reason::protocol);
  EXPECT_EQ(error(join_frame(some_join())), Reason::protocol);
  EXPECT_EQ(error(joined({frame(FrameType{0x99}, 0), answer_frame(some_issued())})), Reason::protocol)
      << "the ignorable range too";
  EXPECT_EQ(error(frame(FrameType::issued, 0, bytes_of("\x80"))), Reason::protocol);
  EXPECT_EQ(error(frame(FrameType::issued, 1, encode(some_issued()))), Reason::protocol);
  Bytes huge = frame(FrameType::issued, 0);
  std::fill(huge.begin() + 8, huge.end(), std::byte{0xff});
  EXPECT_EQ(error(huge), Reason::frame_too_large);
}

}  // namespace
}  // namespace culvert::protocol
