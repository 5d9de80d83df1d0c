// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <expected>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <boost/asio/ip/address.hpp>

#include "common/http/fields.hpp"
#include "common/net/worker.hpp"
#include "server/auth/password_checker.hpp"
#include "server/auth/token.hpp"
#include "server/auth/token_check.hpp"
#include "server/config/config.hpp"
#include "server/config/route.hpp"

// The one question of every port that asks who its clients are: may this caller pass, and whose agents does it reach?
// The answer may take time; a method that needs none answers at once. A new method is another alternative of
// CallerCredentials, found by credentials_of(), and judged by ask_by().

namespace culvert::server {

// ---- what a caller shows; the texts are valid until ask() returns

/// Nothing: the port's own account.
struct NoCredentials {};
/// A token of a configured issuer, to be verified.
struct SignedToken {
  std::string_view text;
};
/// The account that a trusted caller names.
struct NamedAccount {
  std::string_view account;
};
/// A token of a trusted caller, which is read and not verified.
struct UnverifiedToken {
  std::string_view text;
};
/// `user` is "account" or "account/location".
struct Password {
  std::string_view user;
  std::string_view password;
};
using CallerCredentials = std::variant<NoCredentials, SignedToken, NamedAccount, UnverifiedToken, Password>;

struct CallerQuestion {
  CallerCredentials credentials;
  std::string location;  ///< That it asks for. Of no account with a password: `user` says it.
  boost::asio::ip::address source;
};

/// A caller that may pass.
struct Caller {
  Route route;
  /// Virtual hosts that it may reach; nullptr: all that the agents expose.
  std::shared_ptr<const std::vector<Endpoint>> virtual_hosts;
  // NOLINTNEXTLINE(readability-redundant-member-init): most callers have none, and need not say so.
  std::string subject = {};  ///< Of its verified token.

  bool may_reach(const Endpoint& host) const;
};
/// Why a caller may not pass. nullptr: it is not told.
using CallerFlaw = const TokenRefusal*;
using CallerAnswer = std::move_only_function<void(std::expected<Caller, CallerFlaw>)>;
/// Asks on `worker`, where the answer comes, once: before the call returns or later. Never, once the program stops.
using AskCaller = std::function<void(Worker& worker, const CallerQuestion& question, CallerAnswer answer)>;

/// Refuses every caller: the rule where there is no other.
void refuse_callers(Worker& worker, const CallerQuestion& question, CallerAnswer answer);

namespace caller_refusals {

inline constexpr TokenRefusal no_account{
    "request.no_account", "the request does not name its account, or not exactly once",
    "send the field that account_from of [http_proxy] names once, with an account"};

}  // namespace caller_refusals

/// The credentials in a request to the HTTP proxy, where `settings` expects them. They are views into `fields` and
/// `proxy_authorization`. Flaws: token_refusals::missing and malformed, caller_refusals::no_account.
std::expected<CallerCredentials, CallerFlaw> credentials_of(const http::Fields& fields,
                                                            std::string_view proxy_authorization,
                                                            const CallerSettings& settings);

/// The rules of one port.
struct CallerRules {
  std::string open_account;            ///< Of callers without credentials; empty: they may not pass.
  std::shared_ptr<TokenCheck> tokens;  ///< nullptr: no signed token is accepted.
  bool trusts_named_accounts = false;
  std::string account_claim;  ///< A JSON pointer into unverified tokens; empty: none is accepted.
  std::shared_ptr<const std::vector<Socks5Consumer>> consumers;  ///< With passwords; nullptr: none.

  // Which credentials can be accepted at all; a proxy offers these to its clients.
  bool accept_none() const { return !open_account.empty(); }
  bool accept_passwords() const { return consumers && !consumers->empty(); }
  bool accept_signed_tokens() const { return tokens != nullptr; }
};

/// The rules that the tables of the two proxies state. `tokens` is nullptr without issuers.
CallerRules rules_of(const CallerSettings& settings, std::shared_ptr<TokenCheck> tokens);
CallerRules rules_of(const Socks5ProxySettings& settings, const std::shared_ptr<TokenCheck>& tokens);

/// Answers by these rules. `passwords` outlives the function.
AskCaller ask_by(CallerRules rules, PasswordChecker& passwords);

}  // namespace culvert::server
