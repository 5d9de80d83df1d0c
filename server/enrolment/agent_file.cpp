// SPDX-License-Identifier: Apache-2.0
#include "server/enrolment/agent_file.hpp"

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <utility>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/core.h>

#include "common/base/utc_time.hpp"

namespace culvert::server {

namespace json = boost::json;

namespace {

constexpr std::size_t text_bytes_max = 255;
constexpr std::int64_t seconds_max = 10LL * 365 * 86'400;

std::string hex_text(const Sha256& digest) {
  std::string text;
  for (const std::byte byte : digest) text += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  return text;
}

std::optional<Sha256> parse_hex(std::string_view text) {
  Sha256 digest{};
  if (text.size() != 2 * digest.size()) return std::nullopt;
  for (std::size_t i = 0; i < digest.size(); ++i) {
    const std::string_view pair = text.substr(2 * i, 2);
    unsigned value = 0;
    const auto [end, error] = std::from_chars(pair.data(), pair.data() + pair.size(), value, 16);
    if (error != std::errc() || end != pair.data() + pair.size()) return std::nullopt;
    digest[i] = static_cast<std::byte>(value);
  }
  return digest;
}

/// Reads the members of one object, and notes the first fault.
class Members {
 public:
  Members(const json::value& value, std::string path, std::string& fault)
      : path_(std::move(path)), fault_(fault), object_(value.if_object()) {
    if (object_ == nullptr) note("", "is not an object");
  }

  bool has(std::string_view key) const { return object_ != nullptr && object_->contains(key); }
  /// nullptr: it is missing, which is noted.
  const json::value* get(std::string_view key) {
    const json::value* found = object_ == nullptr ? nullptr : object_->if_contains(key);
    if (found == nullptr) note(key, "is missing");
    if (found != nullptr) ++taken_;
    return found;
  }
  std::string text(std::string_view key) {
    const json::value* found = get(key);
    if (found == nullptr) return {};
    if (found->is_string() && found->get_string().size() <= text_bytes_max) return std::string(found->get_string());
    note(key, "is not a text of at most 255 bytes");
    return {};
  }
  /// An agent's name, or a part of its identity.
  std::string name(std::string_view key) {
    std::string name = text(key);
    if (!is_agent_name(name)) note(key, "is not a valid name");
    return name;
  }
  bool boolean(std::string_view key) {
    const json::value* found = get(key);
    if (found != nullptr && found->is_bool()) return found->get_bool();
    note(key, "is not true or false");
    return false;
  }
  std::chrono::seconds seconds(std::string_view key) {
    const json::value* found = get(key);
    if (found != nullptr && found->is_int64() && found->get_int64() > 0 && found->get_int64() <= seconds_max)
      return std::chrono::seconds(found->get_int64());
    note(key, "is not a number of seconds");
    return {};
  }
  std::chrono::sys_seconds time(std::string_view key) {
    const auto time = read_utc(text(key));
    if (!time) note(key, "is not a time like 2026-05-01T12:00:00Z");
    return time.value_or(std::chrono::sys_seconds{});
  }
  Sha256 digest(std::string_view key) {
    const auto digest = parse_hex(text(key));
    if (!digest) note(key, "is not a SHA-256 digest in hex");
    return digest.value_or(Sha256{});
  }
  /// Call it last, when each known member was read once.
  void refuse_others() {
    if (object_ != nullptr && taken_ != object_->size()) note("", "has members that this version does not know");
  }
  void note(std::string_view key, std::string_view what) {
    if (!fault_.empty()) return;
    const std::string_view dot = key.empty() || path_.empty() ? "" : ".";
    const std::string whole = fmt::format("{}{}{}", path_, dot, key);
    fault_ = whole.empty() ? fmt::format("it {}", what) : fmt::format("\"{}\" {}", whole, what);
  }

 private:
  std::string path_;
  std::string& fault_;
  const json::object* object_;
  std::size_t taken_ = 0;
};

CertificateNote read_certificate(const json::value& value, std::string& fault) {
  Members members(value, "certificate", fault);
  CertificateNote note;
  note.serial = members.text("serial");
  note.issued_at = members.time("issued_at");
  note.not_after = members.time("not_after");
  members.refuse_others();
  return note;
}

StoredToken read_token(const json::value& value, std::string& fault) {
  Members members(value, "token", fault);
  StoredToken token;
  token.id = members.text("id");
  token.secret = members.digest("secret_sha256");
  token.not_after = members.time("not_after");
  if (members.has("used_by")) {
    token.used_by = members.digest("used_by");
    token.used_at = members.time("used_at");
  }
  members.refuse_others();
  return token;
}

}  // namespace

bool is_agent_name(std::string_view text) {
  return text.size() <= agent_name_bytes_max && is_identity_segment(text);
}

std::string to_json(const StoredAgent& agent) {
  const AgentRecord& record = agent.record;
  json::object object{{"account", record.account},
                      {"location", record.location},
                      {"agent", record.agent},
                      {"enabled", record.enabled},
                      {"created", utc_text(agent.created)}};
  if (record.lifetime) object["lifetime"] = record.lifetime->count();
  if (agent.joined) object["joined"] = utc_text(*agent.joined);
  if (record.certificate) {
    object["certificate"] = json::object{{"serial", record.certificate->serial},
                                         {"issued_at", utc_text(record.certificate->issued_at)},
                                         {"not_after", utc_text(record.certificate->not_after)}};
  }
  if (agent.token) {
    json::object token{{"id", agent.token->id},
                       {"secret_sha256", hex_text(agent.token->secret)},
                       {"not_after", utc_text(agent.token->not_after)}};
    if (agent.token->used_by) token["used_by"] = hex_text(*agent.token->used_by);
    if (agent.token->used_at) token["used_at"] = utc_text(*agent.token->used_at);
    object["token"] = std::move(token);
  }
  return json::serialize(object) + "\n";
}

Result<StoredAgent> parse_agent(std::string_view name, std::string_view text) {
  boost::system::error_code error;
  const json::value value = json::parse({text.data(), text.size()}, error);
  if (error) return fail("enrolment.malformed", fmt::format("it is not JSON ({})", error.message()));
  std::string fault;
  Members members(value, "", fault);
  StoredAgent agent;
  AgentRecord& record = agent.record;
  record.name = name;
  record.account = members.name("account");
  record.location = members.text("location");
  if (!record.location.empty() && !is_agent_name(record.location)) members.note("location", "is not a valid name");
  record.agent = members.name("agent");
  record.enabled = members.boolean("enabled");
  agent.created = members.time("created");
  if (members.has("lifetime")) record.lifetime = members.seconds("lifetime");
  if (members.has("joined")) agent.joined = members.time("joined");
  if (members.has("certificate")) record.certificate = read_certificate(*members.get("certificate"), fault);
  if (members.has("token")) agent.token = read_token(*members.get("token"), fault);
  members.refuse_others();
  if (!fault.empty()) return fail("enrolment.malformed", std::move(fault));
  return agent;
}

}  // namespace culvert::server
