// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.hpp"
#include "server/kubernetes/agent_object.hpp"
#include "server/kubernetes/status_write.hpp"

// What the writer does about the cluster's Agents: which join token to make or to remove, which status to write. Pure:
// no network, no clock.

namespace culvert::server {

/// A tunnel's agent at one replica.
struct AgentConnection {
  std::string replica;
  std::string serial;    ///< Of the certificate that the newest tunnel has proved.
  std::string software;  ///< As the agent has named it, without blanks.
  friend bool operator==(const AgentConnection&, const AgentConnection&) = default;
};
/// By key_of() the identity; sorted by replica.
using AgentConnections = std::map<std::string, std::vector<AgentConnection>, std::less<>>;

/// What the writer does for one object, before its status is written.
struct AgentWork {
  enum class Kind : std::uint8_t {
    make_token,    ///< Note a new token in the status; then make its Secret, in the place of an older one.
    remove_secret  ///< Delete the Secret: its token was used, or its time is over, or it does not count any more.
  };
  Kind kind = Kind::make_token;
  AgentObject object;
  AgentRecord record;
};

class AgentPolicy {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Date = std::chrono::sys_seconds;
  /// After a failure.
  static constexpr std::chrono::seconds retry{10};
  /// How often a status that only says when the agent was seen is written anew.
  static constexpr std::chrono::hours seen_interval{1};

  /// From now on these are the objects. Both outlive the next call; `objects` may change meanwhile.
  void plan(const AgentObjects& objects, const PlannedAgents& planned);
  std::vector<std::string> keys() const;

  /// What is to be done for the object; call note_made(), note_removed() or note_failed(), then ask again.
  std::optional<AgentWork> next_work(const std::string& key, Time now, Date date);
  /// The write that makes `token` known. Only after it has succeeded may the Secret be made, so that a token that
  /// somebody can read is one that can be used.
  static StatusWrite token_write(const AgentWork& work, const TokenNote& token);
  /// The token's Secret exists now.
  void note_made(const std::string& key, const TokenNote& token);
  /// The Secret does not exist any more.
  void note_removed(const std::string& key);
  void note_failed(const std::string& key, const Error& error, Time now);

  /// The next write of the object's status, after next_work() returned nothing. `connections` are the agent's.
  std::optional<StatusWrite> next_status(const std::string& key, const std::vector<AgentConnection>& connections,
                                         Time now, Date date);
  /// Also for the write of a token. Until it comes back through the watch, nothing is done for the object.
  void note_written(const StatusWrite& write, Time now);

 private:
  enum class SecretIs : std::uint8_t { as_in_status, there, gone };
  /// What was done for an object, beyond what its status has.
  struct Left {
    std::string uid;
    std::string token;  ///< The id of the token that `secret` is about.
    SecretIs secret = SecretIs::as_in_status;
    std::string failure;
    Time again;
    std::string written;  ///< The resourceVersion that the last write was for.
    Time written_at;
  };
  /// Inputs for which the stored status is already correct, so that thousands of objects at rest cost little.
  struct Settled {
    std::string version;
    std::string reason;
    std::string message;
    std::string failure;
    std::vector<AgentConnection> connections;
    friend bool operator==(const Settled&, const Settled&) = default;
  };
  struct Rest {
    Settled inputs;
    Date until;  ///< When time alone makes another status.
  };
  const AgentObject* find(const std::string& key) const;
  PlannedAgent planned_now(const std::string& key, const AgentObject& object) const;
  bool is_awaited(const Left& left, const AgentObject& object, Time now) const;
  Left& left_for(const std::string& key, const AgentObject& object);
  static bool has_secret(const Left& left, const TokenNote& token);
  boost::json::object status_of(const AgentObject& object, const PlannedAgent& planned, const Left& left,
                                const std::vector<AgentConnection>& connections, Date date) const;

  const AgentObjects* objects_ = nullptr;
  const PlannedAgents* planned_ = nullptr;
  std::map<std::string, Left> left_;
  std::map<std::string, Rest> rest_;
};

}  // namespace culvert::server
