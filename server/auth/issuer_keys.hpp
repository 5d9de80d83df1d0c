// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "common/admin/log.hpp"
#include "common/base/snapshot.hpp"
#include "common/net/dialer.hpp"
#include "common/net/task_group.hpp"
#include "common/net/worker.hpp"
#include "common/tls/digest.hpp"
#include "common/tls/tls_context.hpp"
#include "server/auth/key_set.hpp"
#include "server/config/config.hpp"
#include "server/web/document_url.hpp"

namespace culvert::server {

/// The keys of one issuer. All workers read them; home replaces them by newer ones.
class IssuerKeys {
 public:
  /// Loads the keys from the file; those of a URL are empty until they are fetched. Reads files, so it blocks. Errors:
  /// "jwks.unreadable", "jwks.malformed", those of TlsContext.
  static Result<std::shared_ptr<IssuerKeys>> load(const IssuerSettings& settings);

  // From any thread.
  /// The current keys; nullptr if none are known.
  std::shared_ptr<const KeySet> current() const { return current_.get(); }
  /// Notes that a token names an unknown key: the issuer may have new ones.
  void note_miss() { missed_.store(true, std::memory_order_relaxed); }

 private:
  friend class KeyFetcher;
  IssuerKeys() = default;

  IssuerSettings settings_;
  std::optional<DocumentUrl> url_;  ///< Empty if the keys are from a file.
  std::optional<TlsContext> tls_;
  Snapshot<KeySet> current_{nullptr};
  std::atomic<bool> missed_{false};
  // At home.
  std::chrono::steady_clock::time_point fetched_;  ///< Time of the last successful fetch.
  Sha256 document_{};  ///< Digest of current_'s document: the same document changes nothing.
};

/// Intervals of fetching. Jitter adds up to a fifth to the first three.
struct KeyTimes {
  std::chrono::milliseconds refresh = std::chrono::minutes(5);
  /// Minimum between two fetches: bounds what a flood of unknown keys costs the issuer.
  std::chrono::milliseconds between = std::chrono::seconds(30);
  /// After a failure while no keys are known; doubles up to `between`.
  std::chrono::milliseconds retry = std::chrono::seconds(1);
  std::chrono::milliseconds age_max = std::chrono::hours(24);  ///< Maximum age of keys that cannot be fetched again.
  std::chrono::milliseconds fetch_max = std::chrono::seconds(10);
  std::chrono::milliseconds look = std::chrono::milliseconds(250);  ///< Interval of checks for a missed key.
};

/// Keeps keys from URLs up to date, in the background. Lives at home. Life: keep() ..., request_stop(), until
/// is_over().
class KeyFetcher {
 public:
  KeyFetcher(Worker& home, Log& log, KeyTimes times = {});

  /// Keeps `keys` up to date as long as another object holds them. They begin with the keys of `older` if both have the
  /// same source.
  void keep(const std::shared_ptr<IssuerKeys>& keys, const IssuerKeys* older = nullptr);
  void request_stop() { tasks_.request_stop(); }
  bool is_over() const { return tasks_.size() == 0; }

 private:
  struct Schedule;
  boost::asio::awaitable<void> refresh(std::weak_ptr<IssuerKeys> watched);
  boost::asio::awaitable<void> fetch(std::shared_ptr<IssuerKeys> keys, Schedule& schedule);
  static Result<void> take(IssuerKeys& keys, std::string_view document);
  void settle(IssuerKeys& keys, const Result<void>& taken, Schedule& schedule);
  std::chrono::milliseconds with_jitter(std::chrono::milliseconds time) const;

  Log& log_;
  const KeyTimes times_;
  Dialer dialer_;
  TaskGroup tasks_;
};

}  // namespace culvert::server
