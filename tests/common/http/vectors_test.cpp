// SPDX-License-Identifier: Apache-2.0
// Every vector of vectors.txt: in one piece, byte by byte, and split in two at each position.
#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "common/http/body_reader.hpp"
#include "common/http/exchange_course.hpp"
#include "common/http/request_parser.hpp"
#include "common/http/response_parser.hpp"
#include "tests/testing/http_table.hpp"

namespace culvert::http {
namespace {

/// Feeds bytes in pieces, as the programs do: unused bytes stay, and more are added.
class Arriving {
 public:
  Arriving(std::string_view wire, std::size_t first, std::size_t then) : wire_(wire), arrived_(first), step_(then) {
    arrived_ = std::min(arrived_, wire_.size());
  }
  std::string_view here() const { return wire_.substr(used_, arrived_ - used_); }
  void use(std::size_t bytes) { used_ += bytes; }
  bool more() {
    if (arrived_ == wire_.size()) return false;
    arrived_ = std::min(wire_.size(), arrived_ + step_);
    return true;
  }
  std::size_t left() const { return wire_.size() - used_; }

 private:
  std::string_view wire_;
  std::size_t used_ = 0;
  std::size_t arrived_;
  std::size_t step_;
};

std::string text_of(const Framing& framing) {
  switch (framing.kind) {
    case Framing::Kind::none: return "none";
    case Framing::Kind::length: return "length:" + std::to_string(framing.length);
    case Framing::Kind::unknown: return "unknown";
  }
  return "?";
}

std::string text_of(const Refusal& refusal, int status) {
  return std::to_string(status) + " " + std::string(refusal.code);
}

template <typename Parser>
Parsed parse_as_it_comes(Parser& parser, Arriving& wire) {
  for (;;) {
    const Parsed parsed = parser.parse(wire.here());
    if (parsed != Parsed::need_more || !wire.more()) return parsed;
  }
}

struct Body {
  std::optional<Refusal> refusal;
  std::size_t bytes = 0;
  bool is_complete = false;
};
Body read_body(BodyReader reader, Arriving& wire) {
  Body body;
  for (;;) {
    const auto piece = reader.next(std::as_bytes(std::span(wire.here())));
    wire.use(piece.used);
    switch (piece.kind) {
      case BodyReader::Piece::Kind::data: body.bytes += piece.data.size(); break;
      case BodyReader::Piece::Kind::need_more:
        if (wire.more()) break;
        body.is_complete = reader.finish();
        return body;
      case BodyReader::Piece::Kind::end: body.is_complete = true; return body;
      case BodyReader::Piece::Kind::refused: body.refusal = reader.refusal(); return body;
    }
  }
}

std::string summary(const Body& body, const Arriving& wire, bool is_kept) {
  if (!body.is_complete) return " cut";
  return " body=" + std::to_string(body.bytes) + " rest=" + std::to_string(wire.left()) +
         (is_kept ? " keep" : " close");
}

std::string or_dash(std::string text) {
  return text.empty() ? "-" : text;
}

std::string verdict_on_request(Role role, Arriving wire) {
  RequestParser parser(role);
  switch (parse_as_it_comes(parser, wire)) {
    case Parsed::need_more: return "more";
    case Parsed::refused: return text_of(parser.refusal(), parser.refusal().status);
    case Parsed::complete: break;
  }
  wire.use(parser.used());
  const RequestHead& head = parser.head();
  const Body body = read_body({parser.hop().transfer, head.framing.length}, wire);
  if (body.refusal) return text_of(*body.refusal, body.refusal->status);
  std::string authority;
  if (!head.authority.host.empty()) append_authority(authority, head.authority, 0);
  return head.method + " " + or_dash(authority) + " " + or_dash(head.path + head.query) + " " + text_of(head.framing) +
         summary(body, wire, !parser.hop().close);
}

std::string verdict_on_response(const Asked& asked, Arriving wire) {
  ResponseParser parser;
  parser.begin(asked);
  std::string statuses;
  for (;;) {
    switch (parse_as_it_comes(parser, wire)) {
      case Parsed::need_more: return "more";
      case Parsed::refused: return text_of(parser.refusal(), parser.refusal().status);
      case Parsed::complete: break;
    }
    wire.use(parser.used());
    statuses += std::to_string(parser.head().status) + " ";
    if (!is_interim(parser.head().status)) break;
    parser.resume();
  }
  const ResponseHead& head = parser.head();
  const Body body = read_body({parser.hop().transfer, head.framing.length, BodyReader::Padding::taken}, wire);
  if (body.refusal) return text_of(*body.refusal, 502);
  const ExchangeCourse exchange{{}, parser.hop(), head.status, true, body.is_complete};
  return statuses + text_of(head.framing) + summary(body, wire, may_reuse_back_end(exchange, wire.left()));
}

std::string verdict(const std::string& section, Arriving wire) {
  if (section == "request origin") return verdict_on_request(Role::origin, wire);
  if (section == "request proxy") return verdict_on_request(Role::proxy, wire);
  Asked asked{.is_head = section == "response HEAD", .is_connect = section == "response CONNECT"};
  if (section == "response GET websocket") asked.upgrade = "websocket";
  return verdict_on_response(asked, wire);
}

TEST(HttpVectors, become_what_they_must_in_one_piece_and_byte_by_byte) {
  const auto rows = read_http_table("vectors.txt", 4);
  EXPECT_GE(rows.size(), 300u);
  for (const TableRow& row : rows) {
    SCOPED_TRACE("vectors.txt:" + std::to_string(row.line) + " " + row.cells.at(0));
    const std::string& wire = row.cells.at(3);
    EXPECT_EQ(verdict(row.section, Arriving(wire, wire.size(), 1)), row.cells.at(1));
    EXPECT_EQ(verdict(row.section, Arriving(wire, 0, 1)), row.cells.at(1)) << "byte by byte";
  }
}

TEST(HttpVectors, do_not_depend_on_where_they_are_cut) {
  constexpr std::size_t long_vector_bytes = 600;
  for (const TableRow& row : read_http_table("vectors.txt", 4)) {
    SCOPED_TRACE("vectors.txt:" + std::to_string(row.line) + " " + row.cells.at(0));
    const std::string& wire = row.cells.at(3);
    // The long vectors test limits; splitting them at every position would not test more.
    const std::size_t step = wire.size() < long_vector_bytes ? 1 : wire.size() / 40;
    for (std::size_t cut = 1; cut < wire.size(); cut += step) {
      ASSERT_EQ(verdict(row.section, Arriving(wire, cut, wire.size())), row.cells.at(1)) << "cut at " << cut;
    }
  }
}

}  // namespace
}  // namespace culvert::http
