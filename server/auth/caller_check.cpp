// SPDX-License-Identifier: Apache-2.0
#include "server/auth/caller_check.hpp"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "common/config/settings_reader.hpp"

namespace culvert::server {

namespace {

constexpr std::string_view account_field = "SAP-Connectivity-ConsumerAccount";
constexpr std::string_view service_token_field = "SAP-CP-Connectivity-Service-Token";

using Verdict = std::expected<Caller, CallerFlaw>;

/// The methods that know at once.
struct Judgement {
  const CallerRules& rules;
  const std::string& location;
  std::size_t worker;

  Verdict of_account(std::string account) const { return Caller{{std::move(account), location}, nullptr}; }

  Verdict operator()(const NoCredentials&) const {
    if (rules.open_account.empty()) return std::unexpected(&token_refusals::missing);
    return of_account(rules.open_account);
  }
  Verdict operator()(const SignedToken& token) const {
    if (!rules.tokens) return std::unexpected(nullptr);
    auto bearer = rules.tokens->bearer_of(token.text, worker, std::chrono::system_clock::now());
    if (!bearer) return std::unexpected(bearer.error());
    return Caller{{std::move(bearer->account), location}, nullptr, std::move(bearer->subject)};
  }
  Verdict operator()(const NamedAccount& named) const {
    if (!rules.trusts_named_accounts) return std::unexpected(&caller_refusals::no_account);
    auto account = parse_name(named.account);
    if (!account) return std::unexpected(&caller_refusals::no_account);
    return of_account(std::move(*account));
  }
  Verdict operator()(const UnverifiedToken& shown) const {
    if (rules.account_claim.empty()) return std::unexpected(&caller_refusals::no_account);
    const auto token = parse_token(shown.text);
    if (!token) return std::unexpected(token.error());
    auto account = account_in(token->claims, rules.account_claim);
    if (!account) return std::unexpected(&caller_refusals::no_account);
    return of_account(std::move(*account));
  }
  Verdict operator()(const Password&) const { return std::unexpected(nullptr); }
};

/// The answer comes from the checker's thread, back to the worker.
void ask_for_password(const CallerRules& rules, PasswordChecker& passwords, Worker& worker,
                      const CallerQuestion& question, const Password& shown, CallerAnswer answer) {
  if (!rules.consumers) return answer(std::unexpected(nullptr));
  const auto kept = std::make_shared<CallerAnswer>(std::move(answer));
  passwords.check(rules.consumers, std::string(shown.user), shown.password, question.source,
                  [&worker, kept](std::optional<ConsumerLogin> login) {
                    worker.post([kept, login = std::move(login)] {
                      if (!login) return (*kept)(std::unexpected(nullptr));
                      (*kept)(Caller{{login->consumer->account, login->location},
                                     {login->consumer, &login->consumer->virtual_hosts}});
                    });
                  });
}

}  // namespace

bool Caller::may_reach(const Endpoint& host) const {
  return !virtual_hosts || std::ranges::find(*virtual_hosts, host) != virtual_hosts->end();
}

void refuse_callers(Worker&, const CallerQuestion&, CallerAnswer answer) {
  answer(std::unexpected(nullptr));
}

std::expected<CallerCredentials, CallerFlaw> credentials_of(const http::Fields& fields,
                                                            std::string_view proxy_authorization,
                                                            const CallerSettings& settings) {
  using From = CallerSettings::Account;
  if (!settings.issuers.empty()) {
    const auto token = bearer_token(proxy_authorization);
    if (!token) return std::unexpected(token.error());
    return SignedToken{*token};
  }
  if (settings.account_from == From::fixed) return NoCredentials{};
  const bool by_token = settings.account_from == From::service_token;
  const std::string_view field = by_token ? service_token_field : account_field;
  if (fields.count(field) != 1) return std::unexpected(&caller_refusals::no_account);
  const std::string_view value = fields.find(field).value_or("");
  if (!by_token) return NamedAccount{value};
  return UnverifiedToken{bearer_token(value).value_or(value)};
}

CallerRules rules_of(const CallerSettings& settings, std::shared_ptr<TokenCheck> tokens) {
  using From = CallerSettings::Account;
  CallerRules rules;
  // With issuers, the account is from the token only.
  if (!tokens) {
    if (settings.account_from == From::fixed) rules.open_account = settings.account;
    rules.trusts_named_accounts = settings.account_from == From::consumer_field;
    if (settings.account_from == From::service_token) rules.account_claim = settings.account_claim;
  }
  rules.tokens = std::move(tokens);
  return rules;
}

CallerRules rules_of(const Socks5ProxySettings& settings, const std::shared_ptr<TokenCheck>& tokens) {
  CallerRules rules;
  rules.open_account = settings.unauthenticated_account;
  if (settings.takes_tokens) rules.tokens = tokens;
  rules.consumers = std::make_shared<const std::vector<Socks5Consumer>>(settings.consumers);
  return rules;
}

AskCaller ask_by(CallerRules rules, PasswordChecker& passwords) {
  return [rules = std::make_shared<const CallerRules>(std::move(rules)), &passwords](
             Worker& worker, const CallerQuestion& question, CallerAnswer answer) {
    if (const auto* shown = std::get_if<Password>(&question.credentials))
      return ask_for_password(*rules, passwords, worker, question, *shown, std::move(answer));
    answer(std::visit(Judgement{*rules, question.location, worker.index()}, question.credentials));
  };
}

}  // namespace culvert::server
