// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/error.hpp"
#include "common/tls/digest.hpp"
#include "server/enrolment/agent_store.hpp"

// The file of one agent in a state directory: a JSON object.

namespace culvert::server {

/// A join token as it is stored: without its secret.
struct StoredToken {
  std::string id;
  Sha256 secret{};  ///< Digest of the secret.
  std::chrono::sys_seconds not_after;
  std::optional<Sha256> used_by;  ///< Digest of the public key that joined with it.
  std::optional<std::chrono::sys_seconds> used_at;
  friend bool operator==(const StoredToken&, const StoredToken&) = default;
};

/// All that is stored about an agent.
struct StoredAgent {
  AgentRecord record;
  std::chrono::sys_seconds created;
  std::optional<std::chrono::sys_seconds> joined;  ///< Time of the last join; outlives the token that was used.
  std::optional<StoredToken> token;
  friend bool operator==(const StoredAgent&, const StoredAgent&) = default;
};

/// Longest name of an agent, and of each part of its identity.
constexpr std::size_t agent_name_bytes_max = 63;
/// Returns whether `text` may be an agent's name, or a part of its identity.
bool is_agent_name(std::string_view text);

/// The file's content; the name is not in it.
std::string to_json(const StoredAgent& agent);
/// Reads what to_json() writes, and nothing else: members that are missing, unknown or of another type are an error.
/// Code "enrolment.malformed"; the text says what is wrong, without naming the file, and quotes no value.
Result<StoredAgent> parse_agent(std::string_view name, std::string_view text);

}  // namespace culvert::server
