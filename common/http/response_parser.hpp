// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string_view>

#include "common/http/head.hpp"
#include "common/http/head_facts.hpp"
#include "common/http/head_limits.hpp"
#include "common/http/head_lines.hpp"
#include "common/http/refusal.hpp"
#include "common/http/request_parser.hpp"

namespace culvert::http {

/// Reads the response heads to one request after another, by the same rules as RequestParser (threats B19, B10). Per
/// request: begin (parse* resume)* parse*, where resume() goes on to the next head behind an interim one.
class ResponseParser {
 public:
  explicit ResponseParser(const HeadLimits& limits = {});

  /// Another request was sent.
  void begin(Asked asked);
  /// As RequestParser::parse().
  Parsed parse(std::string_view received);
  /// The head that is complete was an interim one (is_interim()): the next one follows right behind it.
  void resume();

  std::size_t used() const { return lines_.used(); }
  ResponseHead& head() { return head_; }
  const Hop& hop() const { return hop_; }
  /// When refused. Its status is 502.
  const Refusal& refusal() const { return refusal_; }

 private:
  void clear();
  Flaw take_status_line(std::string_view line);
  Flaw finish();
  Flaw take_upgrade();
  Flaw take_framing();

  HeadLimits limits_;
  HeadLines lines_;
  HeadFacts facts_;
  Asked asked_;
  std::size_t interims_ = 0;
  enum class Expected : std::uint8_t { status_line, field, nothing };
  Expected expected_ = Expected::status_line;
  ResponseHead head_;
  Hop hop_;
  Refusal refusal_;
  bool is_refused_ = false;
};

}  // namespace culvert::http
