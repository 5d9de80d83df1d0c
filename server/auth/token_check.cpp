// SPDX-License-Identifier: Apache-2.0
#include "server/auth/token_check.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "common/config/settings_reader.hpp"

namespace culvert::server {

namespace json = boost::json;

namespace {

constexpr std::size_t remembered_max = 4'096;  ///< Tokens, per worker.
constexpr double not_before_leeway_s = 300;    // Threats D14.

bool contains(const std::vector<std::string>& allowed, std::string_view text) {
  return std::ranges::find(allowed, text) != allowed.end();
}

/// A NumericDate (RFC 7519 2). Nothing for any other value.
std::optional<double> date_of(const json::value& claim) {
  json::error_code no_number;
  const double seconds = claim.to_number<double>(no_number);
  // The JSON parser reads "0e999" as not a number, which would be neither before nor after any date.
  if (no_number || !std::isfinite(seconds)) return std::nullopt;
  return seconds;
}

TokenFlaw check_dates(const json::object& claims, double now) {
  const json::value* expires = claims.if_contains("exp");
  const json::value* not_before = claims.if_contains("nbf");
  const auto end = expires == nullptr ? std::nullopt : date_of(*expires);
  if (!end || now >= *end) return &token_refusals::expired;
  if (not_before == nullptr) return nullptr;
  const auto begin = date_of(*not_before);
  return begin && now + not_before_leeway_s >= *begin ? nullptr : &token_refusals::not_yet_valid;
}

bool is_meant_for(const json::object& claims, const std::vector<std::string>& audience) {
  const json::value* claim = claims.if_contains("aud");
  if (claim == nullptr) return false;
  if (const json::string* one = claim->if_string()) return contains(audience, *one);
  const json::array* several = claim->if_array();
  return several != nullptr && std::ranges::any_of(*several, [&](const json::value& each) {
           return each.is_string() && contains(audience, each.get_string());
         });
}

/// Each of the three claims that exists must be allowed, so that a token cannot hide its client behind another.
bool is_of_client(const json::object& claims, const std::vector<std::string>& clients) {
  bool names_one = false;
  for (const char* name : {"client_id", "azp", "cid"}) {
    const json::value* claim = claims.if_contains(name);
    if (claim == nullptr) continue;
    if (!claim->is_string() || !contains(clients, claim->get_string())) return false;
    names_one = true;
  }
  return names_one;
}

TokenFlaw check_claims(const json::object& claims, const IssuerSettings& settings) {
  if (!settings.audience.empty() && !is_meant_for(claims, settings.audience)) return &token_refusals::wrong_audience;
  if (!settings.client_ids.empty() && !is_of_client(claims, settings.client_ids)) return &token_refusals::wrong_client;
  if (settings.subjects.empty()) return nullptr;
  const json::value* subject = claims.if_contains("sub");
  const bool is_allowed =
      subject != nullptr && subject->is_string() && contains(settings.subjects, subject->get_string());
  return is_allowed ? nullptr : &token_refusals::wrong_subject;
}

}  // namespace

std::expected<std::string, TokenFlaw> account_in(const json::value& claims, std::string_view pointer) {
  const json::string* name = text_at(claims, pointer);
  auto account = name == nullptr ? fail("", "") : parse_name(*name);
  if (!account) return std::unexpected(&token_refusals::no_account);
  return std::move(*account);
}

std::size_t TokenCheck::FirstBytes::operator()(const Sha256& digest) const {
  std::size_t hash = 0;
  std::memcpy(&hash, digest.data(), sizeof hash);
  return hash;
}

TokenCheck::TokenCheck(std::vector<TokenIssuer> issuers, std::size_t workers)
    : issuers_(std::move(issuers)), memories_(workers) {}

const IssuerKeys* TokenCheck::keys_of(std::string_view issuer) const {
  const auto found =
      std::ranges::find_if(issuers_, [&](const TokenIssuer& each) { return each.settings.issuer == issuer; });
  return found == issuers_.end() ? nullptr : found->keys.get();
}

std::expected<TokenBearer, TokenFlaw> TokenCheck::bearer_of(std::string_view token, std::size_t worker, Time now_time) {
  const double now = std::chrono::duration<double>(now_time.time_since_epoch()).count();
  if (token.empty()) return std::unexpected(&token_refusals::missing);
  if (token.size() > token_bytes_max) return std::unexpected(&token_refusals::too_long);
  Memory& memory = memories_[worker];
  const Sha256 digest = sha256(token);
  const auto known = memory.find(digest);
  if (known != memory.end()) {
    const Verified& verified = known->second;
    if (now < verified.expires && verified.issuer->keys->current() == verified.keys) return verified.bearer;
    memory.erase(known);
  }
  auto verified = verify(token, now);
  if (!verified) return std::unexpected(verified.error());
  TokenBearer bearer = verified->bearer;
  remember(memory, digest, std::move(*verified), now);
  return bearer;
}

std::expected<TokenCheck::Verified, TokenFlaw> TokenCheck::verify(std::string_view text, double now) const {
  const auto token = parse_token(text);
  if (!token) return std::unexpected(token.error());
  const json::object& claims = token->claims.get_object();
  const json::value* name = claims.if_contains("iss");
  const auto issuer = std::ranges::find_if(issuers_, [&](const TokenIssuer& each) {
    return name != nullptr && name->is_string() && name->get_string() == each.settings.issuer;
  });
  if (issuer == issuers_.end()) return std::unexpected(&token_refusals::wrong_issuer);
  auto keys = issuer->keys->current();
  if (!keys) return std::unexpected(&token_refusals::keys_unavailable);
  if (!keys->has_key_of(*token)) {
    issuer->keys->note_miss();
    return std::unexpected(&token_refusals::unknown_key);
  }
  if (!keys->verifies(*token, text)) return std::unexpected(&token_refusals::bad_signature);
  if (const TokenFlaw flaw = check_dates(claims, now)) return std::unexpected(flaw);
  if (const TokenFlaw flaw = check_claims(claims, issuer->settings)) return std::unexpected(flaw);
  std::string account = issuer->settings.account;
  if (account.empty()) {
    auto named = account_in(token->claims, issuer->settings.account_claim);
    if (!named) return std::unexpected(named.error());
    account = std::move(*named);
  }
  const json::value* subject = claims.if_contains("sub");
  const bool has_subject = subject != nullptr && subject->is_string();
  TokenBearer bearer{std::move(account), has_subject ? std::string(subject->get_string()) : std::string()};
  return Verified{std::move(bearer), date_of(claims.at("exp")).value_or(now), &*issuer, std::move(keys)};
}

void TokenCheck::remember(Memory& memory, const Sha256& digest, Verified verified, double now) {
  if (memory.size() >= remembered_max) {
    std::erase_if(memory, [now](const auto& entry) { return entry.second.expires <= now; });
    // Only valid tokens get here, so that a client cannot evict others at will.
    if (memory.size() >= remembered_max) memory.clear();
  }
  memory.insert_or_assign(digest, std::move(verified));
}

}  // namespace culvert::server
