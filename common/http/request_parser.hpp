// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/http/head.hpp"
#include "common/http/head_facts.hpp"
#include "common/http/head_limits.hpp"
#include "common/http/head_lines.hpp"
#include "common/http/refusal.hpp"
#include "common/http/target.hpp"

namespace culvert::http {

enum class Parsed : std::uint8_t { need_more, complete, refused };

/// Reads request heads, strictly and once (RFC 9112; threats B1 to B9, B18). One per connection: (parse* reset)*. After
/// a refusal nothing further is read from the connection. Keeps its memory from head to head.
class RequestParser {
 public:
  explicit RequestParser(Role role, const HeadLimits& limits = {});

  /// `received` is all that has come since the end of the message before: what was there at the last call, and maybe
  /// more. Looks at no byte twice and copies what it needs; the result does not depend on how the bytes came.
  Parsed parse(std::string_view received);

  /// When complete: how many bytes the head had. What is behind them is the body, then the next request.
  std::size_t used() const { return lines_.used(); }
  /// When complete. The caller may change it, or move from it, until reset().
  RequestHead& head() { return head_; }
  const Hop& hop() const { return hop_; }
  /// The credentials for this hop, "" when there are none.
  const std::string& proxy_authorization() const { return facts_.proxy_authorization(); }
  /// When refused.
  const Refusal& refusal() const { return *flaw_; }

  void reset();

 private:
  Flaw take_request_line(std::string_view line);
  Flaw finish();
  Flaw take_host();
  Flaw take_framing();
  Flaw too_long() const;

  Role role_;
  HeadLimits limits_;
  HeadLines lines_;
  HeadFacts facts_;
  enum class Expected : std::uint8_t { empty_or_request_line, request_line, field, nothing };
  Expected expected_ = Expected::empty_or_request_line;
  RequestHead head_;
  Hop hop_;
  Flaw flaw_ = nullptr;
};

}  // namespace culvert::http
