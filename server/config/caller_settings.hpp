// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace culvert::server {

/// One [[http_proxy.issuer]]: an issuer whose tokens are accepted, and the account of its tokens. Exactly one of each
/// pair is set: jwks_file and jwks_url, account and account_claim.
struct IssuerSettings {
  std::string issuer;  ///< The claim `iss`.
  std::filesystem::path jwks_file;
  std::string jwks_url;
  std::filesystem::path ca;  ///< CA of jwks_url's server; empty: the system's store.
  // At least one of the next three is not empty.
  std::vector<std::string> audience;  ///< Accepted values of `aud`; empty accepts any. The same holds for the next two.
  std::vector<std::string> client_ids;  ///< Accepted values of `client_id`, `azp` and `cid`.
  std::vector<std::string> subjects;    ///< Accepted values of `sub`.
  std::string account;
  std::string account_claim;  ///< A JSON pointer.
  friend bool operator==(const IssuerSettings&, const IssuerSettings&) = default;
};

/// How a port determines the account whose agents a caller may reach.
struct CallerSettings {
  /// If there are any, every client needs a token of one of them, which determines the account.
  std::vector<IssuerSettings> issuers;
  // Without issuers:
  enum class Account : std::uint8_t { fixed, consumer_field, service_token };
  Account account_from = Account::fixed;
  std::string account;        ///< Account::fixed
  std::string account_claim;  ///< Account::service_token: a JSON pointer into a token that is not verified.
  friend bool operator==(const CallerSettings&, const CallerSettings&) = default;
};

}  // namespace culvert::server
