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

/// Parses request heads, strictly and once (RFC 9112; threats B1 to B9, B18). One per connection: (parse* reset)*.
/// After a refusal nothing further is read from the connection. It keeps its memory from head to head.
class RequestParser {
 public:
  explicit RequestParser(Role role, const HeadLimits& limits = {});

  /// `received` is everything that has arrived since the end of the previous message: the bytes of the last call, and
  /// possibly more. Looks at no byte twice and copies what it needs; the result does not depend on how the bytes
  /// arrived.
  Parsed parse(std::string_view received);

  /// When complete: the size of the head. The body follows it, then the next request.
  std::size_t used() const { return lines_.used(); }
  /// When complete. The caller may change or move it until reset().
  RequestHead& head() { return head_; }
  const Hop& hop() const { return hop_; }
  /// The credentials for this hop; "" when there are none.
  const std::string& proxy_authorization() const { return facts_.proxy_authorization(); }
  /// When complete: whether the target has a host, and the host of the field Host (empty if there is none).
  bool is_target_absolute() const { return is_target_absolute_; }
  const Endpoint& host() const { return host_; }
  /// When refused.
  const Refusal& refusal() const { return *flaw_; }
  /// When refused for one byte: which, and where. Else "".
  const std::string& refused_byte() const { return refused_byte_; }

  void reset();

 private:
  Flaw take_request_line(std::string_view line);
  void note_refused_byte(std::string_view line);
  Flaw finish();
  Flaw take_host();
  Flaw take_framing();

  Role role_;
  HeadLimits limits_;
  HeadLines lines_;
  HeadFacts facts_;
  enum class Expected : std::uint8_t { empty_or_request_line, request_line, field, nothing };
  Expected expected_ = Expected::empty_or_request_line;
  RequestHead head_;
  bool is_target_absolute_ = false;
  Endpoint host_;
  Hop hop_;
  Flaw flaw_ = nullptr;
  std::string refused_byte_;
};

}  // namespace culvert::http
