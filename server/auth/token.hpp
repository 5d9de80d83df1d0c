// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include <boost/json/value.hpp>

// Parses JSON Web Tokens (RFC 7519) in compact form. Nothing is verified here: TokenCheck does that.

namespace culvert::server {

/// Reasons for refusing a token. A closed list of constants, so that refusing allocates nothing and no byte of a token
/// gets into a text.
struct TokenRefusal {
  std::string_view code;  ///< Stable, listed in docs/errors.md.
  std::string_view text;  ///< What failed.
  std::string_view hint;  ///< What to do.
};
/// One of the constants below, which are never destroyed.
using TokenFlaw = const TokenRefusal*;

namespace token_refusals {

inline constexpr TokenRefusal missing{"request.token_missing", "a token is required, and there is none",
                                      "send Proxy-Authorization: Bearer with a token of a configured issuer"};
inline constexpr TokenRefusal malformed{"request.token_malformed",
                                        "not a signed JSON Web Token, or one with a duplicate name",
                                        "send Bearer, one space, and the token as its issuer gave it"};
inline constexpr TokenRefusal too_long{"request.token_too_long", "the token is longer than 8000 bytes",
                                       "ask the issuer for a token with fewer claims"};
inline constexpr TokenRefusal algorithm{"request.token_algorithm",
                                        "the token is not signed by RS256, PS256 or ES256, or has a critical extension",
                                        "configure the issuer to sign by one of the three"};
inline constexpr TokenRefusal wrong_issuer{"request.token_wrong_issuer", "the token's issuer is not trusted",
                                           "compare the token's iss with the key issuer, letter by letter"};
inline constexpr TokenRefusal keys_unavailable{"request.token_keys_unavailable",
                                               "the keys of the token's issuer are not known at this time",
                                               "try again; the server's log, event jwks.failed, says what is wrong"};
inline constexpr TokenRefusal unknown_key{"request.token_unknown_key", "the token's issuer has published no such key",
                                          "if the issuer has just changed its keys, try again in half a minute"};
inline constexpr TokenRefusal bad_signature{"request.token_bad_signature", "the token's signature is wrong",
                                            "fetch a new token, and send it unchanged"};
inline constexpr TokenRefusal expired{"request.token_expired", "the token has expired, or has no exp",
                                      "fetch a new token before each expires; check the clocks"};
inline constexpr TokenRefusal not_yet_valid{"request.token_not_yet_valid",
                                            "the token is not valid yet, with 5 minutes of leeway",
                                            "check the clocks of issuer and server"};
inline constexpr TokenRefusal wrong_audience{"request.token_wrong_audience", "the token is for another audience",
                                             "request a token with an audience that the key audience lists"};
inline constexpr TokenRefusal wrong_client{"request.token_wrong_client", "the token's client is not allowed",
                                           "add the token's client_id, azp or cid to the key client_ids, if it may"};
inline constexpr TokenRefusal wrong_subject{"request.token_wrong_subject", "the token's subject is not allowed",
                                            "add the token's sub to the key subjects, if it may"};
inline constexpr TokenRefusal no_account{"request.token_no_account", "the token names no account",
                                         "check the key account_claim against the token's claims"};

}  // namespace token_refusals

inline constexpr std::size_t token_bytes_max = 8'000;
/// Members and elements at any depth. Bounds the memory of a token's claims to ten times its size.
inline constexpr std::size_t token_elements_max = 500;

enum class TokenAlgorithm : std::uint8_t { rs256, ps256, es256 };

struct Token {
  TokenAlgorithm algorithm = TokenAlgorithm::rs256;
  std::optional<std::string> key_id;  ///< `kid`
  boost::json::value claims;          ///< An object.
};

/// Parses the three parts. Flaws: too_long, malformed, algorithm.
std::expected<Token, TokenFlaw> parse_token(std::string_view text);

/// The text at `pointer` (RFC 6901); nullptr if there is none.
const boost::json::string* text_at(const boost::json::value& claims, std::string_view pointer);

/// The token in a field value "Bearer <token>". Flaw for an empty value: missing.
std::expected<std::string_view, TokenFlaw> bearer_token(std::string_view value);

}  // namespace culvert::server
