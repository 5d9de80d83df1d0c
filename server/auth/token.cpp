// SPDX-License-Identifier: Apache-2.0
#include "server/auth/token.hpp"

#include <utility>

#include "common/base/base64url.hpp"
#include "common/base/json_object.hpp"
#include "common/http/characters.hpp"

namespace culvert::server {

namespace json = boost::json;

namespace {

std::optional<TokenAlgorithm> algorithm_of(const json::object& header) {
  const json::value* name = header.if_contains("alg");
  if (name == nullptr || !name->is_string()) return std::nullopt;
  if (name->get_string() == "RS256") return TokenAlgorithm::rs256;
  if (name->get_string() == "PS256") return TokenAlgorithm::ps256;
  if (name->get_string() == "ES256") return TokenAlgorithm::es256;
  return std::nullopt;
}

}  // namespace

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
