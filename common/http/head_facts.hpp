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

/// The content of the hop-by-hop fields of one head. Both parsers pass it every field line; it adds the other fields to
/// Fields. Call clear() before the next head.
class HeadFacts {
 public:
  /// Framing that is stated twice is accepted in a response if all readings agree; in a request never, since the hops
  /// before and behind us may read it differently.
  enum class RepeatedFraming : std::uint8_t { refuse, accept_if_alike };

  explicit HeadFacts(const HeadLimits& limits, RepeatedFraming repeated_framing = RepeatedFraming::refuse)
      : limits_(limits), repeated_framing_(repeated_framing) {}
  void clear();
  void set_limits(const HeadLimits& limits) { limits_ = limits; }

  /// Reads one line "name: value". Refuses more fields than the limit, hop-by-hop fields included.
  Flaw take_line(std::string_view line, Fields& fields);

  /// Call it after the last line. Removes from `fields` what Connection lists (threats B17), and checks rules that
  /// concern two fields.
  Flaw finish(Version version, Fields& fields) const;

  std::optional<std::uint64_t> content_length() const { return content_length_; }
  bool is_chunked() const { return is_chunked_; }
  /// The framing was stated twice, so the connection must not carry another message.
  bool is_doubtful() const { return is_doubtful_; }
  bool has_host() const { return has_host_; }
  const std::string& host() const { return host_; }
  const std::string& proxy_authorization() const { return proxy_authorization_; }
  bool expects() const { return has_expect_; }
  Flaw expect_flaw() const { return expect_is_bad_ ? &refusals::bad_expect : nullptr; }
  bool accepts_trailers() const { return accepts_trailers_; }
  bool has_close() const { return has_close_; }
  /// The timeout of Keep-Alive (RFC 2068 19.7.1.1). A max of 0 counts as has_close().
  std::optional<std::uint32_t> keep_alive_seconds() const { return keep_alive_seconds_; }
  /// The protocols of Upgrade that may be forwarded, if Connection names Upgrade too (RFC 9110 7.8).
  std::string_view upgrade() const { return has_upgrade_option_ ? std::string_view(upgrade_) : std::string_view(); }

 private:
  Flaw take_content_length(std::string_view value);
  Flaw take_length(std::string_view digits);
  Flaw take_transfer_encoding(std::string_view value);
  Flaw take_connection(std::string_view value);
  Flaw take_upgrade(std::string_view value);
  void take_te(std::string_view value);
  void take_keep_alive(std::string_view value);

  HeadLimits limits_;
  RepeatedFraming repeated_framing_;
  std::size_t lines_ = 0;
  std::optional<std::uint64_t> content_length_;
  bool is_chunked_ = false;
  bool is_doubtful_ = false;
  bool has_host_ = false;
  bool has_proxy_authorization_ = false;
  bool has_expect_ = false;
  bool expect_is_bad_ = false;
  bool accepts_trailers_ = false;
  bool has_close_ = false;
  std::optional<std::uint32_t> keep_alive_seconds_;
  bool has_upgrade_option_ = false;
  std::size_t options_ = 0;
  std::string host_;
  std::string proxy_authorization_;
  std::string upgrade_;
  std::string listed_;  ///< Names that Connection lists, each followed by a comma.
};

/// Splits "name: value"; the value is without surrounding white space. RFC 9112 5.
Flaw split_field_line(std::string_view line, Fields::Field& field);

}  // namespace culvert::http
