// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>

#include "common/http/head_check.hpp"
#include "common/http/head_writer.hpp"
#include "common/http/response_parser.hpp"
#include "protocol/check.hpp"
#include "tests/fuzz/targets.hpp"

namespace culvert::fuzz {
namespace {

using namespace http;

Parsed parse(ResponseParser& parser, std::string_view wire, std::size_t slice) {
  for (std::size_t size = std::min(slice, wire.size());; size = std::min(size + slice, wire.size())) {
    const Parsed parsed = parser.parse(wire.substr(0, size));
    if (parsed != Parsed::need_more || size == wire.size()) return parsed;
  }
}

void survives(const ResponseHead& head, const Asked& asked) {
  if (asked.is_connect) return;
  check(flaw_of(head, asked) == nullptr, "what is parsed here is good enough where it came through a tunnel");
  std::string text;
  write_response(text, head, transfer_of(head, asked, Version::http_1_1), AfterThis::keep);
  HeadLimits limits;
  limits.fields_max += 10;
  limits.line_bytes_max += 10;
  limits.head_bytes_max *= 2;
  ResponseParser again;
  again.begin(asked, limits);
  check(again.parse(text + "rest") == Parsed::complete, "what is written can be read");
  check(again.used() == text.size(), "one head is written, and no more");
  check(again.head() == head, "what is written says what was read");
  check(again.hop().transfer == transfer_of(head, asked, Version::http_1_1), "and frames its body as it should");
}

}  // namespace

void http_response(std::span<const std::byte> input) {
  if (input.empty()) return;
  const auto how = static_cast<unsigned>(input[0]);
  const std::string_view wire(reinterpret_cast<const char*>(input.data()) + 1, input.size() - 1);
  Asked asked{.is_head = (how & 1) != 0, .is_connect = (how & 2) != 0};
  if ((how & 4) != 0) asked.upgrade = "websocket, x/1";
  ResponseParser whole;
  ResponseParser sliced;
  whole.begin(asked);
  sliced.begin(asked);
  const Parsed parsed = parse(whole, wire, wire.size() + 1);
  check(parse(sliced, wire, 1 + (how >> 3)) == parsed, "the outcome does not depend on slices");
  if (parsed == Parsed::refused) {
    check(whole.refusal() == sliced.refusal(), "nor does the refusal");
    check(whole.refusal().status == 502, "a back end's fault is a 502");
  }
  if (parsed != Parsed::complete) return;
  check(whole.used() == sliced.used() && whole.used() <= wire.size(), "nor what is used");
  check(whole.head() == sliced.head() && whole.hop() == sliced.hop(), "nor what is understood");
  survives(whole.head(), asked);
}

}  // namespace culvert::fuzz
