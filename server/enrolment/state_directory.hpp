// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>

#include "common/admin/log.hpp"
#include "common/base/error.hpp"
#include "common/config/durable_file.hpp"
#include "common/net/offload.hpp"
#include "common/net/task_group.hpp"
#include "server/enrolment/agent_file.hpp"
#include "server/enrolment/agent_store.hpp"
#include "server/enrolment/new_token.hpp"
#include "server/enrolment/state_files.hpp"

namespace culvert::server {

struct StateDirectoryOptions {
  std::chrono::seconds join_token_lifetime = std::chrono::hours(1);
  /// How long a change may take, with those before it in the queue. A later success still counts.
  std::chrono::milliseconds write_max = std::chrono::seconds(5);
  // Only tests change these.
  std::function<std::chrono::system_clock::time_point()> now = &std::chrono::system_clock::now;
  StateFiles::Write write = &write_durably;
};

/// The AgentStore of a server without a cluster: one file per agent, in a directory that one process owns. Lives at
/// home. Life: open(), ..., request_stop(), until is_over(). Changes are made one after the other: each is decided,
/// then written, and then known to check(), find() and agents().
class StateDirectory final : public AgentStore {
 public:
  static constexpr std::size_t changes_waiting_max = 4096;

  /// Reads everything; blocks. Codes as StateFiles. `log` must outlive it.
  static Result<std::unique_ptr<StateDirectory>> open(std::filesystem::path directory,
                                                      const boost::asio::any_io_executor& home, Log& log,
                                                      StateDirectoryOptions options = {});

  boost::asio::awaitable<Granted<AgentRecord>> check(TokenClaim claim) override;
  boost::asio::awaitable<Granted<void>> take(TokenClaim claim, AgentRecord record, CertificateNote note) override;
  boost::asio::awaitable<Granted<AgentRecord>> find(AgentIdentity identity) override;
  boost::asio::awaitable<void> note_renewal(AgentRecord record, CertificateNote note) override;
  std::shared_ptr<const EnrolledAgents> agents() const override { return agents_; }

  // For commands. Codes of all: "enrolment.unknown" (no agent of that name), "enrolment.not_written" (the change may
  // still be made), "file.not_written".

  /// An empty record.agent becomes the name. Codes: "enrolment.exists" (the name, or the same account, location and
  /// agent under another name), "enrolment.malformed" (a name has forbidden characters or is too long).
  boost::asio::awaitable<Result<NewToken>> add(AgentRecord record);
  /// Replaces the older token.
  boost::asio::awaitable<Result<NewToken>> new_token(std::string name);
  boost::asio::awaitable<Result<void>> set_enabled(std::string name, bool enabled);
  boost::asio::awaitable<Result<void>> remove(std::string name);
  Result<StoredAgent> show(std::string_view name) const;
  std::vector<StoredAgent> list() const;  ///< Sorted by name.

  /// Called at home after each change, when agents() has it.
  void set_on_change(std::function<void()> on_change) { on_change_ = std::move(on_change); }
  /// For tokens made from now on.
  void set_join_token_lifetime(std::chrono::seconds lifetime) { options_.join_token_lifetime = lifetime; }
  std::chrono::sys_seconds now() const;

  /// A change that is being written is finished by the destructor. Waiting callers get no answer: stop them too.
  void request_stop() { tasks_.request_stop(); }
  bool is_over() const { return tasks_.size() == 0; }

 private:
  /// What a change puts in the place of an agent; nothing: it is removed.
  struct Replacement {
    std::string name;
    std::optional<StoredAgent> agent;
  };
  using Decision = std::function<Result<Replacement>()>;
  struct Change;

  StateDirectory(StateFiles files, std::vector<StoredAgent> agents, const boost::asio::any_io_executor& home, Log& log,
                 StateDirectoryOptions options);

  /// Calls `decide` when it is this change's turn; it is not called after the caller has ended.
  boost::asio::awaitable<Result<void>> change(Decision decide);
  boost::asio::awaitable<void> write_changes();
  boost::asio::awaitable<Result<void>> carry_out(Decision& decide);
  /// Changes the memory.
  void put(Replacement replacement);
  void index(const StoredAgent& agent);
  void publish();

  Granted<const StoredAgent*> judge(const TokenClaim& claim) const;
  const StoredAgent* by_key(const std::string& key) const;
  Result<void> check_new(const AgentRecord& record) const;
  std::unexpected<Error> unknown(std::string_view name) const;

  StateFiles files_;
  Log& log_;
  StateDirectoryOptions options_;
  std::map<std::string, StoredAgent, std::less<>> by_name_;
  std::map<std::string, std::string, std::less<>> name_by_key_;
  std::map<std::string, std::string, std::less<>> name_by_token_;
  std::shared_ptr<const EnrolledAgents> agents_;
  std::function<void()> on_change_;
  boost::asio::any_io_executor home_;
  std::deque<std::weak_ptr<Change>> queue_;
  bool is_writing_ = false;  ///< write_changes() runs.
  Offload offload_;
  TaskGroup tasks_;
};

}  // namespace culvert::server
