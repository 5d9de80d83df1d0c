// SPDX-License-Identifier: Apache-2.0
#include "server/auth/token.hpp"

#include <cstdint>
#include <utility>

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/parse.hpp>

#include "common/base/base64url.hpp"
#include "common/http/characters.hpp"

namespace culvert::server {

namespace json = boost::json;

namespace {

constexpr std::size_t depth_max = 8;

/// Counts the members and elements of a text while it is parsed, before anything is stored.
struct Count {
  static constexpr std::size_t max_object_size = SIZE_MAX;
  static constexpr std::size_t max_array_size = SIZE_MAX;
  static constexpr std::size_t max_key_size = SIZE_MAX;
  static constexpr std::size_t max_string_size = SIZE_MAX;
  using Code = json::error_code;
  using Text = json::string_view;

  std::size_t elements_max = 0;
  std::size_t elements = 0;
  std::size_t members = 0;

  bool one_more(Code& error) {
    if (++elements > elements_max) error = json::error::array_too_large;
    return !error;
  }
  bool on_document_begin(Code&) { return true; }
  bool on_document_end(Code&) { return true; }
  bool on_object_begin(Code& error) { return one_more(error); }
  bool on_object_end(std::size_t count, Code&) {
    members += count;
    return true;
  }
  bool on_array_begin(Code& error) { return one_more(error); }
  bool on_array_end(std::size_t, Code&) { return true; }
  bool on_key_part(Text, std::size_t, Code&) { return true; }
  bool on_key(Text, std::size_t, Code&) { return true; }
  bool on_string_part(Text, std::size_t, Code&) { return true; }
  bool on_string(Text, std::size_t, Code& error) { return one_more(error); }
  bool on_number_part(Text, Code&) { return true; }
  bool on_int64(std::int64_t, Text, Code& error) { return one_more(error); }
  bool on_uint64(std::uint64_t, Text, Code& error) { return one_more(error); }
  bool on_double(double, Text, Code& error) { return one_more(error); }
  bool on_bool(bool, Code& error) { return one_more(error); }
  bool on_null(Code& error) { return one_more(error); }
  bool on_comment_part(Text, Code&) { return true; }
  bool on_comment(Text, Code&) { return true; }
};

/// Number of members in the result: of two with the same name the parser keeps only the last.
std::size_t members_of(const json::value& value) {
  std::size_t count = 0;
  if (const json::array* items = value.if_array()) {
    for (const json::value& item : *items) count += members_of(item);
  } else if (const json::object* object = value.if_object()) {
    count = object->size();
    for (const auto& member : *object) count += members_of(member.value());
  }
  return count;
}

std::optional<TokenAlgorithm> algorithm_of(const json::object& header) {
  const json::value* name = header.if_contains("alg");
  if (name == nullptr || !name->is_string()) return std::nullopt;
  if (name->get_string() == "RS256") return TokenAlgorithm::rs256;
  if (name->get_string() == "PS256") return TokenAlgorithm::ps256;
  if (name->get_string() == "ES256") return TokenAlgorithm::es256;
  return std::nullopt;
}

}  // namespace

std::optional<json::value> parse_object(std::string_view text, std::size_t elements_max) {
  json::parse_options options;
  options.max_depth = depth_max;
  json::error_code error;
  json::basic_parser<Count> counter(options);
  counter.handler().elements_max = elements_max;
  counter.write_some(false, text.data(), text.size(), error);
  if (error) return std::nullopt;
  json::value value = json::parse(text, error, {}, options);
  if (error || !value.is_object() || members_of(value) != counter.handler().members) return std::nullopt;
  return value;
}

std::expected<Token, TokenFlaw> parse_token(std::string_view text) {
  if (text.size() > token_bytes_max) return std::unexpected(&token_refusals::too_long);
  const auto malformed = std::unexpected(&token_refusals::malformed);
  const std::size_t first = text.find('.');
  const std::size_t second = first == text.npos ? text.npos : text.find('.', first + 1);
  if (second == text.npos) return malformed;
  const auto header_text = decode_base64url(text.substr(0, first));
  const auto claims_text = decode_base64url(text.substr(first + 1, second - first - 1));
  const auto signature = decode_base64url(text.substr(second + 1));
  if (!header_text || !claims_text || !signature) return malformed;
  const auto header = parse_object(*header_text, token_elements_max);
  if (!header) return malformed;

  Token token;
  const auto algorithm = algorithm_of(header->get_object());
  if (!algorithm || header->get_object().contains("crit")) return std::unexpected(&token_refusals::algorithm);
  token.algorithm = *algorithm;
  if (const json::value* key_id = header->get_object().if_contains("kid")) {
    if (!key_id->is_string()) return malformed;
    token.key_id.emplace(key_id->get_string());
  }
  auto claims = parse_object(*claims_text, token_elements_max);
  if (!claims || signature->empty()) return malformed;
  token.claims = std::move(*claims);
  return token;
}

const json::string* text_at(const json::value& claims, std::string_view pointer) {
  json::error_code nowhere;
  const json::value* place = claims.find_pointer(pointer, nowhere);
  return place == nullptr ? nullptr : place->if_string();
}

std::expected<std::string_view, TokenFlaw> bearer_token(std::string_view value) {
  constexpr std::string_view scheme = "Bearer ";
  if (value.empty()) return std::unexpected(&token_refusals::missing);
  if (!http::is_equal_ignoring_case(value.substr(0, scheme.size()), scheme))
    return std::unexpected(&token_refusals::malformed);
  return value.substr(scheme.size());
}

}  // namespace culvert::server
