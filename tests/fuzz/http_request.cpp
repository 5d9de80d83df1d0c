// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <string>

#include "common/http/head_check.hpp"
#include "common/http/head_writer.hpp"
#include "common/http/request_parser.hpp"
#include "protocol/check.hpp"
#include "tests/fuzz/targets.hpp"

namespace culvert::fuzz {
namespace {

using namespace http;

Parsed parse(RequestParser& parser, std::string_view wire, std::size_t slice) {
  for (std::size_t size = std::min(slice, wire.size());; size = std::min(size + slice, wire.size())) {
    const Parsed parsed = parser.parse(wire.substr(0, size));
    if (parsed != Parsed::need_more || size == wire.size()) return parsed;
  }
}

void survives(const RequestHead& head) {
  if (head.method == "CONNECT" || head.authority.host.empty()) return;
  check(flaw_of(head) == nullptr, "what is parsed here is good enough where it came through a tunnel");
  std::string text;
  write_request(text, head, AfterThis::keep);
  // Its framing and a space behind each colon may be more than there was.
  HeadLimits limits;
  limits.fields_max += 10;
  limits.line_bytes_max += 10;
  limits.head_bytes_max *= 2;
  RequestParser again(Role::origin, limits);
  check(again.parse(text + "rest") == Parsed::complete, "what is written can be read");
  check(again.used() == text.size(), "one head is written, and no more");
  RequestHead expected = head;
  // A POST says that it has no body.
  if (head.framing == Framing{} && !again.head().framing.has_body()) expected.framing = again.head().framing;
  check(again.head() == expected, "what is written says what was read");
}

}  // namespace

void http_request(std::span<const std::byte> input) {
  if (input.empty()) return;
  const auto how = static_cast<unsigned>(input[0]);
  const std::string_view wire(reinterpret_cast<const char*>(input.data()) + 1, input.size() - 1);
  const Role role = (how & 1) != 0 ? Role::proxy : Role::origin;
  RequestParser whole(role);
  RequestParser sliced(role);
  const Parsed parsed = parse(whole, wire, wire.size() + 1);
  check(parse(sliced, wire, 1 + (how >> 1)) == parsed, "the outcome does not depend on slices");
  if (parsed == Parsed::refused) check(whole.refusal() == sliced.refusal(), "nor does the refusal");
  if (parsed != Parsed::complete) return;
  check(whole.used() == sliced.used() && whole.used() <= wire.size(), "nor what is used");
  check(whole.head() == sliced.head() && whole.hop() == sliced.hop(), "nor what is understood");
  survives(whole.head());
}

}  // namespace culvert::fuzz
