// SPDX-License-Identifier: Apache-2.0
#include "server/caller_reader.hpp"

#include <map>
#include <utility>

#include <fmt/core.h>

#include "common/config/settings_reader.hpp"
#include "server/fetch_document.hpp"

namespace culvert::server {

using From = CallerSettings::Account;

namespace {

constexpr std::size_t text_bytes_max = 1'024;

/// What a claim is compared with: any text, as it stands.
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
  auto request = parse_document_url(text);
  if (!request) return std::unexpected(request.error());
  return std::string(text);
}

std::vector<std::string> read_claim_texts(const TomlTable& table, std::string_view key) {
  const auto texts = table.parsed_list(key, parse_claim_text);
  if (texts && texts->empty()) table.fault(key, "is empty, so that nobody passes; leave it out for anybody");
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
    table.fault("ca", "is for a jwks_url with https:// only");
  if (!table.has("audience") && !table.has("client_ids") && !table.has("subjects"))
    table.fault("",
                "would take every token of the issuer, whoever it was issued to and for; add audience, client_ids or "
                "subjects");
  return issuer;
}

/// The account of an issuer's tokens stands in one place: in its own table, or for all issuers in the proxy's.
void check_accounts(const TomlTable& table) {
  std::map<std::string, std::string> places;
  for (const TomlTable& issuer : table.tables("issuer")) {
    const int own = static_cast<int>(issuer.has("account")) + static_cast<int>(issuer.has("account_claim"));
    if (table.has("account") && own > 0)
      issuer.fault("", "has an account of its own, but the proxy has one for all; remove one of the two");
    if (!table.has("account") && own != 1)
      issuer.fault("", "needs either account or account_claim: for whom its tokens speak");
    const auto [earlier, is_new] = places.try_emplace(issuer.text("issuer").value_or(""), issuer.where());
    if (!is_new)
      issuer.fault("issuer", fmt::format("is that of another table ({}); an issuer has one", earlier->second));
  }
}

}  // namespace

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

void check_callers(const TomlTable& table, const CallerKeys& keys) {
  if (!keys.settings.issuers.empty()) {
    for (const char* key : {"trust", "account_from", "account_claim"}) {
      if (table.has(key)) table.fault(key, "is for a proxy without token check, but [[issuer]] asks for one");
    }
    return check_accounts(table);
  }
  const bool is_named_by_client = keys.settings.account_from != From::fixed;
  if (table.has("account") == table.has("account_from"))
    table.fault("", "needs [[http_proxy.issuer]] to check tokens, or without that either account or account_from");
  if (is_named_by_client && !keys.trusts_everybody) {
    table.fault("account_from",
                fmt::format("lets each client choose the account, and nobody checks it; add trust = \"{}\" "
                            "if that is meant, else [[http_proxy.issuer]]",
                            trust_words));
  }
  const bool needs_claim = keys.settings.account_from == From::service_token;
  if (needs_claim != table.has("account_claim"))
    table.fault("account_claim", needs_claim ? "is missing: the claim of the service token that names the account"
                                             : "goes with account_from = \"SAP-CP-Connectivity-Service-Token\"");
}

}  // namespace culvert::server
