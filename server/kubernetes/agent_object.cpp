// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/agent_object.hpp"

#include <algorithm>
#include <charconv>
#include <tuple>
#include <utility>
#include <vector>

#include <boost/json/array.hpp>
#include <fmt/core.h>

#include "common/base/utc_time.hpp"
#include "protocol/limits.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {

namespace json = boost::json;
using protocol::Denied;
using protocol::Reason;

namespace {

constexpr std::chrono::seconds lifetime_min{60};
constexpr std::chrono::seconds lifetime_max{protocol::certificate_lifetime_s_max};
constexpr const char* rejoin_annotation = "culvert.dev/rejoin";

/// "90s", "30m", "12h", "30d", within the limits.
std::optional<std::chrono::seconds> parse_lifetime(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end + 1 != text.data() + text.size() || number < 1 || number > lifetime_max.count())
    return std::nullopt;
  std::int64_t unit = 0;
  switch (*end) {
    case 's': unit = 1; break;
    case 'm': unit = 60; break;
    case 'h': unit = 3'600; break;
    case 'd': unit = 86'400; break;
    default: return std::nullopt;
  }
  const std::chrono::seconds lifetime(number * unit);
  if (lifetime < lifetime_min || lifetime > lifetime_max) return std::nullopt;
  return lifetime;
}

std::optional<Sha256> digest_of(std::string_view hex) {
  Sha256 digest{};
  if (hex.size() != 2 * digest.size()) return std::nullopt;
  for (std::size_t i = 0; i < digest.size(); ++i) {
    unsigned value = 0;
    const char* begin = hex.data() + 2 * i;
    if (std::from_chars(begin, begin + 2, value, 16).ptr != begin + 2) return std::nullopt;
    digest.at(i) = static_cast<std::byte>(value);
  }
  return digest;
}

std::optional<CertificateNote> certificate_of(const json::object& status, const std::string& identity) {
  const json::object& certificate = object_at(status, "certificate");
  const auto issued_at = read_utc(text_at(certificate, "issuedAt"));
  const auto not_after = read_utc(text_at(certificate, "notAfter"));
  std::string serial = text_at(certificate, "serial");
  if (text_at(status, "joinedAs") != identity || serial.empty() || !issued_at || !not_after) return std::nullopt;
  return CertificateNote{std::move(serial), *issued_at, *not_after};
}

}  // namespace

std::string hex_of(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  return text;
}

AgentObject read_agent(const json::object& object) {
  const json::object& metadata = object_at(object, "metadata");
  const json::object& spec = object_at(object, "spec");
  const json::value* enabled = spec.if_contains("enabled");
  std::string name = text_at(metadata, "name");
  std::string agent = text_at(spec, "agent");
  return {.name_space = text_at(metadata, "namespace"),
          .name = name,
          .uid = text_at(metadata, "uid"),
          .version = text_at(metadata, "resourceVersion"),
          .created = text_at(metadata, "creationTimestamp"),
          .generation = number_at(metadata, "generation"),
          .account = text_at(spec, "account"),
          .location = text_at(spec, "location"),
          .agent = agent.empty() ? std::move(name) : std::move(agent),
          .enabled = enabled == nullptr || (enabled->is_bool() && enabled->get_bool()),
          .lifetime = text_at(spec, "lifetime"),
          .rejoin = text_at(object_at(metadata, "annotations"), rejoin_annotation),
          .status = object_at(object, "status"),
          .is_going = metadata.contains("deletionTimestamp")};
}

PlannedAgent plan_agent(const AgentObject& object) {
  PlannedAgent planned{.record = {.name = object.name,
                                  .account = object.account,
                                  .location = object.location,
                                  .agent = object.agent,
                                  .enabled = object.enabled,
                                  .lifetime = {},
                                  .certificate = {}},
                       .reason = "Accepted",
                       .message = {}};
  const auto refuse = [&planned](std::string_view reason, std::string message) {
    planned.reason = reason;
    planned.message = std::move(message);
    return planned;
  };
  const auto is_name = [](const std::string& text) {
    return text.size() <= protocol::name_bytes_max && is_identity_segment(text);
  };
  if (!is_name(object.account)) return refuse("BadAccount", "spec.account is missing or is not a valid name");
  if (!object.location.empty() && !is_name(object.location))
    return refuse("BadLocation", "spec.location is not a valid name");
  if (!is_name(object.agent)) return refuse("BadAgent", "spec.agent is not a valid name");
  if (!object.lifetime.empty()) {
    planned.record.lifetime = parse_lifetime(object.lifetime);
    if (!planned.record.lifetime)
      return refuse("BadLifetime", R"(spec.lifetime is not a time such as "12h" or "30d" from 60s to 366d)");
  }
  planned.record.certificate = certificate_of(object.status, key_of(planned.record));
  return planned;
}

PlannedAgents plan_agents(const AgentObjects& objects) {
  std::vector<const AgentObjects::value_type*> by_age;
  by_age.reserve(objects.size());
  for (const auto& entry : objects) by_age.push_back(&entry);
  std::ranges::sort(by_age, {}, [](const auto* each) { return std::tie(each->second.created, each->first); });
  PlannedAgents all;
  std::map<std::string, std::string> names;  // By identity.
  for (const auto* each : by_age) {
    PlannedAgent planned = plan_agent(each->second);
    if (planned.is_accepted() && !each->second.is_going) {
      const auto [older, is_first] = names.try_emplace(key_of(planned.record), each->second.name);
      if (!is_first) {
        planned.reason = "Duplicate";
        planned.message = fmt::format("the older object {} is the same account, location and agent", older->second);
      }
    }
    all.emplace(each->first, std::move(planned));
  }
  return all;
}

PlannedAgent plan_again(const AgentObject& object, const PlannedAgent* before) {
  PlannedAgent planned = plan_agent(object);
  const bool was_duplicate = before != nullptr && before->reason == "Duplicate";
  if (!planned.is_accepted() || !was_duplicate || key_of(before->record) != key_of(planned.record)) return planned;
  planned.reason = before->reason;
  planned.message = before->message;
  return planned;
}

EnrolledAgents enrolled_of(const AgentObjects& objects, const PlannedAgents& planned) {
  EnrolledAgents all;
  for (const auto& [key, each] : planned) {
    if (each.is_accepted() && !objects.at(key).is_going) all.enabled.emplace(key_of(each.record), each.record.enabled);
  }
  return all;
}

// ---- join tokens

std::optional<TokenNote> token_of(const AgentObject& object) {
  const json::object& token = object_at(object.status, "joinToken");
  const auto hash = digest_of(text_at(token, "secretSHA256"));
  const auto not_after = read_utc(text_at(token, "notAfter"));
  std::string id = text_at(token, "id");
  if (id.empty() || !hash || !not_after) return std::nullopt;
  return TokenNote{.id = std::move(id),
                   .hash = *hash,
                   .not_after = *not_after,
                   .identity = text_at(token, "identity"),
                   .secret_name = text_at(token, "secretName"),
                   .used_by = text_at(token, "usedBy")};
}

Granted<void> judge(const TokenNote* token, const PlannedAgent* planned, const TokenClaim& claim,
                    std::chrono::sys_seconds now) {
  static const Sha256 nobodys{};
  const bool is_right = are_equal(token == nullptr ? nobodys : token->hash, claim.secret);
  const bool counts = token != nullptr && planned != nullptr && token->id == claim.id && planned->is_accepted() &&
                      token->identity == key_of(planned->record);
  const auto deny = [](Reason reason, bool retryable, std::string text) {
    return std::unexpected(Denied{reason, retryable, std::move(text)});
  };
  if (!is_right || !counts)
    return deny(Reason::token_refused, false, "the server does not accept this join token; have a new one made there");
  if (!token->used_by.empty() && token->used_by != hex_of(claim.key))
    return deny(Reason::token_used, false, "the join token was used already; have a new one made on the server");
  if (now >= token->not_after)
    return deny(Reason::token_expired, false,
                "the join token was valid until " + utc_text(token->not_after) + "; have a new one made on the server");
  if (!planned->record.enabled)
    return deny(Reason::agent_disabled, true, "the agent is disabled on the server; enable it there");
  return {};
}

json::object with_certificate(json::object status, const AgentRecord& record, const CertificateNote& note) {
  status["certificate"] = {
      {"serial", note.serial}, {"notAfter", utc_text(note.not_after)}, {"issuedAt", utc_text(note.issued_at)}};
  status["joinedAs"] = key_of(record);
  return status;
}

json::object with_used_token(json::object status, const TokenClaim& claim, std::chrono::sys_seconds now) {
  json::object token = object_at(status, "joinToken");
  token["usedBy"] = hex_of(claim.key);
  if (!token.contains("usedAt")) token["usedAt"] = utc_text(now);
  status["joinToken"] = std::move(token);
  return status;
}

json::object with_new_token(json::object status, const TokenNote& token) {
  status["joinToken"] = {{"id", token.id},
                         {"secretSHA256", hex_of(token.hash)},
                         {"notAfter", utc_text(token.not_after)},
                         {"identity", token.identity}};
  return status;
}

std::string join_secret_name(const AgentObject& object) {
  return "culvert-join-" + object.name;
}

json::object join_secret_of(const AgentObject& object, const TokenNote& token, std::string_view text) {
  return {{"apiVersion", "v1"},
          {"kind", "Secret"},
          {"type", "Opaque"},
          {"metadata",
           {{"name", join_secret_name(object)},
            {"namespace", object.name_space},
            {"labels", {{"app.kubernetes.io/managed-by", "culvert-server"}}},
            {"annotations", {{"culvert.dev/not-after", utc_text(token.not_after)}}},
            {"ownerReferences", json::array{json::object{{"apiVersion", "culvert.dev/v1alpha1"},
                                                         {"kind", "Agent"},
                                                         {"name", object.name},
                                                         {"uid", object.uid},
                                                         {"controller", true},
                                                         {"blockOwnerDeletion", false}}}}}},
          {"stringData", {{"token", text}}}};
}

}  // namespace culvert::server
