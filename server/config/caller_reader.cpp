// SPDX-License-Identifier: Apache-2.0
#include "server/config/caller_reader.hpp"

#include <map>
#include <utility>

#include <fmt/core.h>

#include "common/config/settings_reader.hpp"
#include "server/web/document_url.hpp"

namespace culvert::server {

using From = CallerSettings::Account;

namespace {

constexpr std::size_t text_bytes_max = 1'024;
/// The value of key `trust`: long, so that nobody writes it by accident.
constexpr std::string_view trust_words = "every client that can connect, without a token";

/// Keys account, account_from, account_claim, trust and issuer of [http_proxy], each checked by itself.
struct CallerKeys {
  CallerSettings settings;
  bool trusts_everybody = false;
  /// True if clients need a token, or key trust says that they do not: then allow_from is not required.
  bool are_guarded() const { return trusts_everybody || !settings.issuers.empty(); }
};

/// A text that a claim is compared with, unchanged.
Result<std::string> parse_claim_text(std::string_view text) {
  if (!text.empty() && text.size() <= text_bytes_max) return std::string(text);
  return fail("config.malformed", fmt::format("must be a text of 1 to {} bytes", text_bytes_max));
}

/// RFC 6901: "/a/b", with ~0 for a tilde and ~1 for a slash.
Result<std::string> parse_pointer(std::string_view text) {
  bool is_right = text.size() >= 2 && text.size() <= text_bytes_max && text.front() == '/';
  for (std::size_t at = text.find('~'); is_right && at != text.npos; at = text.find('~', at + 1))
    is_right = at + 1 < text.size() && (text[at + 1] == '0' || text[at + 1] == '1');
  if (is_right) return std::string(text);
  return fail(
      "config.malformed",
      "must be a JSON pointer to a claim, such as \"/zid\" or \"/ext_attr/subaccountid\"; ~1 stands for a slash");
}

Result<std::string> parse_jwks_url(std::string_view text) {
  auto url = parse_document_url(text);
  if (!url) return std::unexpected(url.error());
  return std::string(text);
}

std::vector<std::string> read_claim_texts(const TomlTable& table, std::string_view key) {
  const auto texts = table.parsed_list(key, parse_claim_text);
  if (texts && texts->empty()) table.fault(key, "is empty, so that no token is accepted; leave it out to accept any");
  return texts.value_or(std::vector<std::string>());
}

IssuerSettings read_issuer(const TomlTable& table) {
  table.require({"issuer"});
  IssuerSettings issuer;
  issuer.issuer = table.parsed("issuer", parse_claim_text).value_or("");
  issuer.jwks_file = read_file_path(table, "jwks_file");
  issuer.jwks_url = table.parsed("jwks_url", parse_jwks_url).value_or("");
  issuer.ca = read_file_path(table, "ca");
  issuer.audience = read_claim_texts(table, "audience");
  issuer.client_ids = read_claim_texts(table, "client_ids");
  issuer.subjects = read_claim_texts(table, "subjects");
  issuer.account = table.parsed("account", parse_name).value_or("");
  issuer.account_claim = table.parsed("account_claim", parse_pointer).value_or("");
  if (table.has("jwks_file") == table.has("jwks_url"))
    table.fault("", "needs either jwks_file or jwks_url: where the issuer's keys are");
  if (table.has("ca") && !issuer.jwks_url.starts_with("https://"))
    table.fault("ca", "is only for a jwks_url with https://");
  if (!table.has("audience") && !table.has("client_ids") && !table.has("subjects"))
    table.fault(
        "",
        "accepts every token of the issuer, whatever client and service it was issued for; add audience, client_ids or "
        "subjects");
  return issuer;
}

/// The account of an issuer's tokens is configured either in the issuer's table, or for all issuers in the proxy's.
void check_accounts(const TomlTable& table) {
  std::map<std::string, std::string> places;
  for (const TomlTable& issuer : table.tables("issuer")) {
    const int own = static_cast<int>(issuer.has("account")) + static_cast<int>(issuer.has("account_claim"));
    if (table.has("account") && own > 0)
      issuer.fault("", "has an account of its own, but the proxy has one for all; remove one of the two");
    if (!table.has("account") && own != 1)
      issuer.fault("", "needs either account or account_claim: the account of its tokens");
    const auto [earlier, is_new] = places.try_emplace(issuer.text("issuer").value_or(""), issuer.where());
    if (!is_new)
      issuer.fault("issuer",
                   fmt::format("is already used by another table ({}); use one table per issuer", earlier->second));
  }
}

CallerKeys read_callers(const TomlTable& table) {
  CallerKeys keys;
  keys.settings.account = table.parsed("account", parse_name).value_or("");
  keys.settings.account_from =
      table
          .word<From>("account_from", {{"SAP-Connectivity-ConsumerAccount", From::consumer_field},
                                       {"SAP-CP-Connectivity-Service-Token", From::service_token}})
          .value_or(From::fixed);
  keys.settings.account_claim = table.parsed("account_claim", parse_pointer).value_or("");
  keys.trusts_everybody = table.word<bool>("trust", {{trust_words, true}}).value_or(false);
  for (const TomlTable& each : table.tables("issuer")) {
    IssuerSettings issuer = read_issuer(each);
    if (issuer.account.empty() && issuer.account_claim.empty()) issuer.account = keys.settings.account;
    keys.settings.issuers.push_back(std::move(issuer));
  }
  return keys;
}

/// Checks rules that concern several of the keys. Only for a table that exists.
void check_callers(const TomlTable& table, const CallerKeys& keys) {
  if (!keys.settings.issuers.empty()) {
    for (const char* key : {"trust", "account_from", "account_claim"}) {
      if (table.has(key))
        table.fault(key, "is for a proxy without tokens, but there is an [[issuer]]; remove one of the two");
    }
    return check_accounts(table);
  }
  const bool is_named_by_client = keys.settings.account_from != From::fixed;
  if (table.has("account") == table.has("account_from"))
    table.fault("", "needs [[http_proxy.issuer]] to check tokens, or without that either account or account_from");
  if (is_named_by_client && !keys.trusts_everybody) {
    table.fault("account_from", fmt::format("lets each client choose the account unverified; if that is intended, add "
                                            "trust = \"{}\", else [[http_proxy.issuer]]",
                                            trust_words));
  }
  const bool needs_claim = keys.settings.account_from == From::service_token;
  if (needs_claim != table.has("account_claim"))
    table.fault("account_claim", needs_claim ? "is missing: the claim of the service token that names the account"
                                             : "is only for account_from = \"SAP-CP-Connectivity-Service-Token\"");
}

/// A text without a letter beyond "f" is an address or a network, or meant to be one.
bool is_network(std::string_view text) {
  return text.find_first_not_of("0123456789abcdefABCDEF.:/") == text.npos && text.find_first_of(".:") != text.npos;
}

void read_trust_forwarded(const TomlTable& table, HttpProxySettings& proxy) {
  (void)table.parsed_list("trust_forwarded", [&proxy](std::string_view text) -> Result<std::string> {
    if (is_network(text)) {
      if (auto added = proxy.forwarded_networks.add(text); !added) return std::unexpected(added.error());
    } else if (text.empty()) {
      return fail("", "is empty; name a network, or the subject of a token");
    } else {
      proxy.forwarded_subjects.emplace_back(text);
    }
    return std::string(text);
  });
  if (!proxy.forwarded_subjects.empty() && !table.has("issuer"))
    table.fault("trust_forwarded",
                fmt::format("names the subject \"{}\", but without [[http_proxy.issuer]] no token is "
                            "verified; name a network, or add an issuer",
                            proxy.forwarded_subjects.front()));
}

std::vector<Socks5Consumer> read_consumers(const TomlTable& proxy) {
  std::vector<Socks5Consumer> consumers;
  std::map<std::string, std::string> places;
  for (const TomlTable& table : proxy.tables("consumer")) {
    table.require({"name", "account", "virtual_hosts", "secret_hash"});
    Socks5Consumer consumer;
    consumer.name = table.parsed("name", parse_name).value_or("");
    consumer.account = table.parsed("account", parse_name).value_or("");
    if (const auto locations = table.parsed_list("locations", parse_location)) consumer.locations = *locations;
    const auto parse_host = [](std::string_view text) { return parse_endpoint(text); };
    consumer.virtual_hosts = table.parsed_list("virtual_hosts", parse_host).value_or(std::vector<Endpoint>());
    consumer.secret = table.parsed("secret_hash", SecretHash::parse).value_or(SecretHash());
    const auto [earlier, is_new] = places.try_emplace(consumer.name, table.where());
    if (!is_new) table.fault("name", fmt::format("is taken already ({}); choose another", earlier->second));
    consumers.push_back(std::move(consumer));
  }
  return consumers;
}

}  // namespace

std::optional<HttpProxySettings> read_http_proxy(const TomlTable& root, std::vector<PlacedListener>& listeners) {
  const TomlTable table = root.table("http_proxy");
  const bool is_there = root.has("http_proxy");
  HttpProxySettings proxy;
  const auto callers = read_callers(table);
  proxy.port = read_listen_settings(table, {.usual = proxy.port, .is_guarded = callers.are_guarded()});
  proxy.callers = callers.settings;
  if (const auto time = table.duration("abandoned_after", std::chrono::seconds(1), std::chrono::hours(24)))
    proxy.abandoned_after = *time;
  read_trust_forwarded(table, proxy);
  if (!is_there) return std::nullopt;
  check_callers(table, callers);
  listeners.push_back({proxy.port.listen, table});
  return proxy;
}

GatewayCallers read_gateway_callers(const TomlTable& table) {
  GatewayCallers callers;
  // An account is asked for, but nothing is decided by it here.
  callers.settings.account = "gateway";
  const bool trusts_everybody = table.word<bool>("trust", {{trust_words, true}}).value_or(false);
  for (const TomlTable& each : table.tables("issuer")) {
    IssuerSettings issuer = read_issuer(each);
    if (issuer.account_claim.empty() && issuer.account.empty()) issuer.account = callers.settings.account;
    callers.settings.issuers.push_back(std::move(issuer));
  }
  if (trusts_everybody && !callers.settings.issuers.empty())
    table.fault("trust", "is for a gateway without tokens, but there is an [[issuer]]; remove one of the two");
  callers.are_guarded = trusts_everybody || !callers.settings.issuers.empty();
  return callers;
}

std::optional<Socks5ProxySettings> read_socks5_proxy(const TomlTable& root, std::vector<PlacedListener>& listeners) {
  const TomlTable table = root.table("socks5_proxy");
  const bool is_there = root.has("socks5_proxy");
  Socks5ProxySettings proxy;
  proxy.port = read_listen_settings(table, {.usual = proxy.port});
  proxy.unauthenticated_account = table.parsed("unauthenticated_account", parse_name).value_or("");
  proxy.consumers = read_consumers(table);
  proxy.takes_tokens = table.boolean("tokens").value_or(false);
  if (!is_there) return std::nullopt;
  if (proxy.takes_tokens && !root.table("http_proxy").has("issuer"))
    table.fault("tokens", "are those of [[http_proxy.issuer]], but there is none; add one, or remove tokens");
  if (proxy.unauthenticated_account.empty() && proxy.consumers.empty() && !proxy.takes_tokens)
    table.fault("",
                "has no login: add a [[socks5_proxy.consumer]], or tokens = true, or unauthenticated_account if every "
                "client that can connect may use that account");
  listeners.push_back({proxy.port.listen, table});
  return proxy;
}

}  // namespace culvert::server
