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
#include "server/config.hpp"
#include "server/issuer_keys.hpp"
#include "server/token.hpp"

namespace culvert::server {

/// Whose tokens are taken, and which keys they are signed by.
struct TokenIssuer {
  IssuerSettings settings;
  std::shared_ptr<IssuerKeys> keys;
};

/// The account that the claim at `pointer` names: a text that parse_name() takes. Flaw: no_account.
std::expected<std::string, TokenFlaw> account_in(const boost::json::value& claims, std::string_view pointer);

/// From a token to the account that its bearer may speak for. Each worker remembers the tokens that it has verified, so
/// that the next request with one costs a digest and not a signature. Never waits: keys that are missing are fetched
/// aside, for whoever asks again.
class TokenCheck {
 public:
  using Time = std::chrono::system_clock::time_point;

  TokenCheck(std::vector<TokenIssuer> issuers, std::size_t workers);

  /// On that worker. Order of the checks: form, issuer, key, signature, exp (to the second), nbf (5 minutes of leeway),
  /// aud, client, subject, account.
  std::expected<std::string, TokenFlaw> account_of(std::string_view token, std::size_t worker, Time now);

  const std::vector<TokenIssuer>& issuers() const { return issuers_; }
  /// nullptr: no issuer of that name.
  const IssuerKeys* keys_of(std::string_view issuer) const;

 private:
  struct Verified {
    std::string account;
    double expires;                      ///< Seconds since 1970.
    const TokenIssuer* issuer;           ///< One of issuers_.
    std::shared_ptr<const KeySet> keys;  ///< By which it was verified: others make it count no more.
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
