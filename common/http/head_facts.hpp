// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/http/fields.hpp"
#include "common/http/head.hpp"
#include "common/http/head_limits.hpp"
#include "common/http/refusal.hpp"

namespace culvert::http {

/// What the hop-by-hop fields of one head say. Both parsers give it every field line; the other fields go on into
/// Fields. One per head: clear() before the next.
class HeadFacts {
 public:
  explicit HeadFacts(const HeadLimits& limits) : limits_(limits) {}
  void clear();

  /// One line "name: value". Never of more fields than the limit, ours included.
  Flaw take_line(std::string_view line, Fields& fields);

  /// What remains to be done when all lines are there: removes from `fields` what Connection lists (threats B17), and
  /// checks what only two fields together can break.
  Flaw finish(Version version, Fields& fields) const;

  std::optional<std::uint64_t> content_length() const { return content_length_; }
  bool is_chunked() const { return is_chunked_; }
  bool has_host() const { return has_host_; }
  const std::string& host() const { return host_; }
  const std::string& proxy_authorization() const { return proxy_authorization_; }
  bool expects() const { return has_expect_; }
  Flaw expect_flaw() const { return expect_is_bad_ ? &refusals::bad_expect : nullptr; }
  bool accepts_trailers() const { return accepts_trailers_; }
  bool has_close() const { return has_close_; }
  /// The protocols of Upgrade that may go on, if Connection names Upgrade too (RFC 9110 7.8).
  std::string_view upgrade() const { return has_upgrade_option_ ? std::string_view(upgrade_) : std::string_view(); }

 private:
  Flaw take_content_length(std::string_view value);
  Flaw take_transfer_encoding(std::string_view value);
  Flaw take_connection(std::string_view value);
  Flaw take_upgrade(std::string_view value);
  void take_te(std::string_view value);

  HeadLimits limits_;
  std::size_t lines_ = 0;
  std::optional<std::uint64_t> content_length_;
  bool is_chunked_ = false;
  bool has_host_ = false;
  bool has_proxy_authorization_ = false;
  bool has_expect_ = false;
  bool expect_is_bad_ = false;
  bool accepts_trailers_ = false;
  bool has_close_ = false;
  bool has_upgrade_option_ = false;
  std::size_t options_ = 0;
  std::string host_;
  std::string proxy_authorization_;
  std::string upgrade_;
  std::string listed_;  ///< Names that Connection lists, with a comma behind each.
};

/// "name: value" into its parts, the value without white space around it. RFC 9112 5.
Flaw split_field_line(std::string_view line, Fields::Field& field);

}  // namespace culvert::http
