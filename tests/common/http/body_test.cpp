// SPDX-License-Identifier: Apache-2.0
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "common/http/body_reader.hpp"
#include "common/http/body_writer.hpp"
#include "common/http/head_check.hpp"

namespace culvert::http {
namespace {

using Kind = BodyReader::Piece::Kind;

std::span<const std::byte> bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}
std::string text(std::span<const std::byte> data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

/// All data of `wire`, which is read in slices.
std::string body_of(BodyReader& reader, std::string_view wire, std::size_t slice) {
  std::string body;
  while (!wire.empty() && !reader.is_complete()) {
    std::string_view piece = wire.substr(0, slice);
    for (;;) {
      const auto next = reader.next(bytes(piece));
      piece.remove_prefix(next.used);
      wire.remove_prefix(next.used);
      body += text(next.data);
      if (next.kind != Kind::data) break;
    }
  }
  return body;
}

TEST(BodyReader, gives_out_data_where_it_lies) {
  const std::string_view wire = "5\r\nhello\r\n3;x=y\r\nabc\r\n0\r\n\r\nnext";
  BodyReader reader(Transfer::chunked, 0);
  const auto first = reader.next(bytes(wire));
  EXPECT_EQ(first.kind, Kind::data);
  EXPECT_EQ(first.data.data(), bytes(wire).data() + 3);
  EXPECT_EQ(text(first.data), "hello");
  EXPECT_EQ(first.used, 8u);
  const auto second = reader.next(bytes(wire.substr(8)));
  EXPECT_EQ(text(second.data), "abc");
  const auto end = reader.next(bytes(wire.substr(8 + second.used)));
  EXPECT_EQ(end.kind, Kind::end);
  EXPECT_EQ(wire.substr(8 + second.used + end.used), "next");
}

TEST(BodyReader, reads_the_same_body_however_it_is_cut) {
  const std::string wire = "5\r\nhello\r\n0000a ; a=\"b\\\"c\" ; d\r\n0123456789\r\n000;x\r\nX: y\r\nZ:\ta \r\n\r\n";
  for (std::size_t slice = 1; slice <= wire.size(); ++slice) {
    BodyReader reader(Transfer::chunked, 0);
    EXPECT_EQ(body_of(reader, wire, slice), "hello0123456789") << slice;
    ASSERT_TRUE(reader.is_complete()) << slice;
    EXPECT_EQ(reader.trailers().find("X"), "y");
    EXPECT_EQ(reader.trailers().find("Z"), "a");
  }
}

TEST(BodyReader, takes_no_byte_behind_a_length) {
  BodyReader reader(Transfer::length, 5);
  const auto data = reader.next(bytes("hellonext"));
  EXPECT_EQ(text(data.data), "hello");
  EXPECT_EQ(data.used, 5u);
  EXPECT_TRUE(reader.is_complete()) << "nothing more needs to come";
  EXPECT_EQ(reader.next({}).kind, Kind::end);
}

TEST(BodyReader, knows_a_cut_off_body_from_a_whole_one) {
  BodyReader none(Transfer::none, 0);
  EXPECT_EQ(none.next(bytes("x")).kind, Kind::end);
  BodyReader until_close(Transfer::until_close, 0);
  EXPECT_EQ(until_close.next(bytes("x")).kind, Kind::data);
  EXPECT_FALSE(until_close.is_complete());
  EXPECT_TRUE(until_close.finish());
  BodyReader length(Transfer::length, 5);
  (void)length.next(bytes("hell"));
  EXPECT_FALSE(length.finish());
  const std::string_view wire = "1\r\nx\r\n0\r\nX: y\r\n\r\n";
  for (std::size_t size = 0; size <= wire.size(); ++size) {
    BodyReader chunked(Transfer::chunked, 0);
    (void)body_of(chunked, wire.substr(0, size), wire.size());
    EXPECT_EQ(chunked.finish(), size == wire.size()) << size;
  }
}

TEST(BodyReader, stays_refused) {
  BodyReader reader(Transfer::chunked, 0);
  EXPECT_EQ(reader.next(bytes("x")).kind, Kind::refused);
  EXPECT_EQ(reader.next(bytes("0\r\n\r\n")).kind, Kind::refused);
  EXPECT_EQ(reader.refusal().code, "http.bad_chunk");
  EXPECT_FALSE(reader.finish());
}

TEST(BodyReader, drops_trailers_that_come_too_late_to_be_obeyed) {
  const std::string wire =
      "0\r\nContent-Length: 1\r\nTransfer_Encoding: x\r\nHost: x\r\nAuthorization: x\r\nset_cookie: x\r\nVia: x\r\n"
      "X-Forwarded-For: x\r\nSAP-CP-X: x\r\nETag: kept\r\nConnection: x\r\n\r\n";
  BodyReader reader(Transfer::chunked, 0);
  (void)body_of(reader, wire, wire.size());
  ASSERT_TRUE(reader.is_complete());
  EXPECT_EQ(reader.trailers().size(), 1u);
  EXPECT_EQ(reader.trailers().find("etag"), "kept");
  EXPECT_EQ(flaw_of_trailers(reader.trailers()), nullptr);
}

TEST(ForeignTrailers, are_refused_where_no_reader_of_ours_could_have_made_them) {
  for (const auto& [name, value] : std::vector<Fields::Field>{
           {"Content-Length", "1"}, {"Authorization", "x"}, {"X Y", "z"}, {"X", "y\r\n"}, {"Via", "x"}}) {
    Fields trailers;
    trailers.add(name, value);
    EXPECT_NE(flaw_of_trailers(trailers), nullptr) << name;
  }
}

TEST(BodyWriter, wraps_chunks_that_a_reader_unwraps) {
  std::string wire;
  std::string sent;
  BodyWriter writer(Transfer::chunked, 0);
  for (const std::size_t size : {1u, 0u, 15u, 16u, 4'096u, 65'524u}) {
    BodyWriter::Wrapping wrapping;
    ASSERT_TRUE(writer.wrap(size, wrapping));
    const std::string data(size, 'x');
    wire.append(wrapping.before).append(data).append(wrapping.behind);
    sent += data;
  }
  Fields trailers;
  trailers.add("X", "y");
  ASSERT_TRUE(writer.finish(wire, trailers));
  EXPECT_TRUE(wire.starts_with("1\r\nx\r\nf\r\n"));
  BodyReader reader(Transfer::chunked, 0);
  EXPECT_EQ(body_of(reader, wire, 1'000), sent);
  EXPECT_TRUE(reader.is_complete());
  EXPECT_EQ(reader.trailers(), trailers);
}

TEST(BodyWriter, lets_no_body_be_longer_or_shorter_than_its_head_said) {
  BodyWriter::Wrapping wrapping;
  std::string out;
  BodyWriter length(Transfer::length, 5);
  EXPECT_TRUE(length.wrap(3, wrapping));
  EXPECT_EQ(wrapping.before, "");
  EXPECT_FALSE(length.wrap(3, wrapping));
  EXPECT_FALSE(length.finish(out, {}));
  EXPECT_TRUE(length.wrap(2, wrapping));
  EXPECT_TRUE(length.finish(out, {}));
  BodyWriter none(Transfer::none, 0);
  EXPECT_FALSE(none.wrap(1, wrapping));
  EXPECT_TRUE(none.finish(out, {}));
  BodyWriter until_close(Transfer::until_close, 0);
  EXPECT_TRUE(until_close.wrap(1, wrapping));
  EXPECT_TRUE(until_close.finish(out, {}));
  EXPECT_EQ(out, "");
}

TEST(BodyWriter, writes_the_largest_chunk_head_there_is) {
  BodyWriter::Wrapping wrapping;
  BodyWriter writer(Transfer::chunked, 0);
  ASSERT_TRUE(writer.wrap(SIZE_MAX, wrapping));
  EXPECT_EQ(wrapping.before, "ffffffffffffffff\r\n");
}

}  // namespace
}  // namespace culvert::http
