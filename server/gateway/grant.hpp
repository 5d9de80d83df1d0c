// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "common/admin/log.hpp"
#include "common/base/error.hpp"
#include "common/base/snapshot.hpp"
#include "common/http/fields.hpp"
#include "common/net/deadline.hpp"
#include "common/net/dialer.hpp"
#include "common/net/task_group.hpp"
#include "common/net/worker.hpp"

namespace culvert::server {

/// What a request needs beside its target's own rules, for a while: an access token, or a CSRF token with its cookies.
/// Its fields are secrets.
struct Grant {
  http::Fields fields;
  std::chrono::steady_clock::time_point renew;  ///< From then on a newer one is fetched, while this one is used.
  std::chrono::steady_clock::time_point ends;
};

/// Where grants of one kind come from. Shared by all targets that log in alike, on every worker.
class GrantSource {
 public:
  using Clock = std::chrono::steady_clock;

  /// `name` is for the log. Sources with the same `key` give the same; it is a digest, since it is made of secrets.
  GrantSource(std::string name, std::string key) : name_(std::move(name)), key_(std::move(key)) {}
  GrantSource(const GrantSource&) = delete;
  GrantSource& operator=(const GrantSource&) = delete;
  virtual ~GrantSource() = default;

  const std::string& name() const { return name_; }
  const std::string& key() const { return key_; }
  /// The grant in force; nullptr: there is none, so ask the keeper. From any thread.
  std::shared_ptr<const Grant> current(Clock::time_point now) const;
  /// Uses the grant of `older` too, which gives the same.
  void adopt(const GrantSource& older) { current_.publish(older.current_.get()); }

  /// How many fetches ended well, and how many did not. From any thread.
  std::uint64_t fetched() const { return fetched_.load(std::memory_order_relaxed); }
  std::uint64_t failed() const { return failed_.load(std::memory_order_relaxed); }

 protected:
  /// Fetches a grant, at home. The error is for the client: code "gateway.token_failed" or "gateway.csrf_failed", and a
  /// text without secrets; "gateway.login_refused": with another access token it may work at once. Throws
  /// operation_aborted when it is stopped.
  virtual boost::asio::awaitable<Result<Grant>> fetch(Dialer& dialer, Deadline deadline) = 0;

 private:
  friend class GrantKeeper;
  using Answer = std::move_only_function<void(Result<std::shared_ptr<const Grant>>)>;

  const std::string name_;
  const std::string key_;
  Snapshot<Grant> current_{nullptr};
  std::atomic<bool> is_asked_{false};  ///< A newer grant was asked for before the end of this one.
  std::atomic<std::uint64_t> fetched_{0};
  std::atomic<std::uint64_t> failed_{0};
  // At home.
  std::vector<Answer> waiting_;
  bool is_fetching_ = false;
  unsigned failures_ = 0;  ///< In a row.
  Clock::time_point retry_;
  Error last_error_;
};

/// Fetches grants for all workers: one fetch for all who wait for it, and after a failure none for a while, which grows
/// from 1 to 30 s. Lives at home. Life: ask() ..., request_stop(), until is_over().
class GrantKeeper {
 public:
  using Answer = GrantSource::Answer;

  GrantKeeper(Worker& home, Log& log);

  /// Asks for a grant that is newer than `refused` (nullptr: for any), from any worker. The answer comes on `here`; it
  /// never does once the program stops.
  void ask(Worker& here, std::shared_ptr<GrantSource> source, std::shared_ptr<const Grant> refused, Answer answer);
  /// Has the grant renewed if it is time. From any worker.
  void renew_in_time(const std::shared_ptr<GrantSource>& source, const Grant& grant);

  void request_stop() { tasks_.request_stop(); }
  bool is_over() const { return tasks_.size() == 0; }

 private:
  void take(std::shared_ptr<GrantSource> source, const std::shared_ptr<const Grant>& refused, Answer answer);
  boost::asio::awaitable<void> fetch(std::shared_ptr<GrantSource> source);
  void settle(GrantSource& source, Result<Grant> fetched);

  Worker& home_;
  Log& log_;
  Dialer dialer_;
  TaskGroup tasks_;
};

}  // namespace culvert::server
