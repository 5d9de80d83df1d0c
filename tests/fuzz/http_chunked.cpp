// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>
#include <string_view>

#include "common/http/body_reader.hpp"
#include "common/http/body_writer.hpp"
#include "common/http/head_check.hpp"
#include "protocol/check.hpp"
#include "tests/fuzz/targets.hpp"

namespace culvert::fuzz {
namespace {

using namespace http;

struct Outcome {
  std::string body;
  std::string_view refusal;
  std::size_t used = 0;  ///< Of a complete body.
  bool is_complete = false;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome read(BodyReader& reader, std::span<const std::byte> input, std::size_t slice) {
  using Kind = BodyReader::Piece::Kind;
  Outcome outcome;
  std::size_t used = 0;
  for (;;) {
    std::span<const std::byte> piece = input.subspan(used, std::min(slice, input.size() - used));
    for (;;) {
      const auto next = reader.next(piece);
      check(next.used <= piece.size(), "no more is used than there is");
      check(next.kind != Kind::need_more || next.used == piece.size(), "all is used before more is asked for");
      check(next.kind != Kind::data || !next.data.empty(), "data is something");
      piece = piece.subspan(next.used);
      used += next.used;
      outcome.body.append(reinterpret_cast<const char*>(next.data.data()), next.data.size());
      if (next.kind == Kind::refused) outcome.refusal = reader.refusal().code;
      if (next.kind == Kind::end) outcome.used = used;
      if (next.kind == Kind::refused || next.kind == Kind::end) {
        outcome.is_complete = next.kind == Kind::end;
        return outcome;
      }
      if (next.kind == Kind::need_more) break;
    }
    if (used == input.size()) return outcome;
  }
}

void survives(const Outcome& outcome, const Fields& trailers) {
  check(flaw_of_trailers(trailers) == nullptr, "what is read here is good enough where it came through a tunnel");
  BodyWriter writer(Transfer::chunked, 0);
  BodyWriter::Wrapping wrapping;
  std::string wire;
  check(writer.wrap(outcome.body.size(), wrapping), "chunks have no length to exceed");
  if (!outcome.body.empty()) wire.append(wrapping.before).append(outcome.body).append(wrapping.behind);
  check(writer.finish(wire, trailers), "nor one to fall short of");
  HeadLimits limits;
  limits.trailer_bytes_max *= 2;
  limits.line_bytes_max += 10;
  BodyReader reader(Transfer::chunked, 0, BodyReader::Padding::refused, limits);
  const Outcome again = read(reader, std::as_bytes(std::span(wire)), wire.size());
  check(again.is_complete && again.used == wire.size() && again.body == outcome.body,
        "what is sent on is the same body");
  check(reader.trailers() == trailers, "with the same trailers");
}

}  // namespace

void http_chunked(std::span<const std::byte> input) {
  if (input.empty()) return;
  // The highest bit: as a response's body is read.
  const auto padding =
      (input[0] & std::byte{0x80}) == std::byte{0} ? BodyReader::Padding::refused : BodyReader::Padding::taken;
  const auto slice = 1 + static_cast<std::size_t>(input[0] & std::byte{0x7f});
  input = input.subspan(1);
  BodyReader whole(Transfer::chunked, 0, padding);
  BodyReader sliced(Transfer::chunked, 0, padding);
  const Outcome outcome = read(whole, input, input.size() + 1);
  check(read(sliced, input, slice) == outcome, "the outcome does not depend on slices");
  if (!outcome.is_complete) return;
  check(whole.trailers() == sliced.trailers(), "nor do the trailers");
  survives(outcome, whole.trailers());
}

}  // namespace culvert::fuzz
