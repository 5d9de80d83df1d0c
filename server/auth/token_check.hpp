// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/tls/digest.hpp"
#include "server/auth/issuer_keys.hpp"
#include "server/auth/token.hpp"
#include "server/config/config.hpp"

namespace culvert::server {

/// A trusted issuer and its keys.
struct TokenIssuer {
  IssuerSettings settings;
  std::shared_ptr<IssuerKeys> keys;
};

/// The account in the claim at `pointer`: a text that parse_name() accepts. Flaw: no_account.
std::expected<std::string, TokenFlaw> account_in(const boost::json::value& claims, std::string_view pointer);

/// Who a verified token speaks for.
struct TokenBearer {
  std::string account;
  std::string subject;  ///< The claim `sub`; empty if there is none.
};

/// Verifies a token and determines the account of its bearer. Each worker remembers the tokens that it has verified, so
/// that the next request with one costs a digest and not a signature. Never waits: missing keys are fetched in the
/// background, for later requests.
class TokenCheck {
 public:
  using Time = std::chrono::system_clock::time_point;

  TokenCheck(std::vector<TokenIssuer> issuers, std::size_t workers);

  /// Call it on the worker `worker`. Order of the checks: form, issuer, key, signature, exp (to the second), nbf (5
  /// minutes of leeway), aud, client, subject, account.
  std::expected<TokenBearer, TokenFlaw> bearer_of(std::string_view token, std::size_t worker, Time now);

  const std::vector<TokenIssuer>& issuers() const { return issuers_; }
  /// nullptr if there is no issuer of that name.
  const IssuerKeys* keys_of(std::string_view issuer) const;

 private:
  struct Verified {
    TokenBearer bearer;
    double expires;                      ///< Seconds since 1970.
    const TokenIssuer* issuer;           ///< One of issuers_.
    std::shared_ptr<const KeySet> keys;  ///< Keys that verified it; with other keys the entry is invalid.
  };
  struct FirstBytes {
    std::size_t operator()(const Sha256& digest) const;
  };
  using Memory = std::unordered_map<Sha256, Verified, FirstBytes>;

  std::expected<Verified, TokenFlaw> verify(std::string_view token, double now) const;
  static void remember(Memory& memory, const Sha256& digest, Verified verified, double now);

  std::vector<TokenIssuer> issuers_;
  std::vector<Memory> memories_;  ///< One per worker.
};

}  // namespace culvert::server
