// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/http/head.hpp"
#include "common/http/head_facts.hpp"
#include "common/http/head_limits.hpp"
#include "common/http/head_lines.hpp"
#include "common/http/refusal.hpp"
#include "common/http/request_parser.hpp"

namespace culvert::http {

/// Parses the response heads for one request after another, by the same rules as RequestParser (threats B19, B10). Per
/// request: begin (parse* resume)* parse*, where resume() continues with the head after an interim response.
class ResponseParser {
 public:
  ResponseParser();

  /// Call it when another request was sent.
  void begin(Asked asked, const HeadLimits& limits = {});
  /// Like RequestParser::parse().
  Parsed parse(std::string_view received);
  /// Continues with the next head after a complete interim one (is_interim()).
  void resume();

  std::size_t used() const { return lines_.used(); }
  ResponseHead& head() { return head_; }
  const Hop& hop() const { return hop_; }
  /// When refused. Its status is 502.
  const Refusal& refusal() const { return refusal_; }
  /// When refused: for an error, which byte, or which field with how many bytes. Often "".
  const std::string& detail() const { return detail_; }

 private:
  void clear();
  Flaw take_status_line(std::string_view line);
  Flaw finish();
  Flaw take_upgrade();
  Flaw take_framing();
  void note_too_long(std::string_view line);

  HeadLimits limits_;
  HeadLines lines_;
  HeadFacts facts_;
  Asked asked_;
  enum class Expected : std::uint8_t { status_line, field, nothing };
  Expected expected_ = Expected::status_line;
  ResponseHead head_;
  Hop hop_;
  Refusal refusal_;
  std::string detail_;
  bool is_refused_ = false;
};

}  // namespace culvert::http
