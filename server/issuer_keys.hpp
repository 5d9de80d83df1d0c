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
#include "common/http/head.hpp"
#include "common/net/dialer.hpp"
#include "common/net/task_group.hpp"
#include "common/net/worker.hpp"
#include "common/tls/digest.hpp"
#include "common/tls/tls_context.hpp"
#include "server/config.hpp"
#include "server/key_set.hpp"

namespace culvert::server {

/// The keys of one issuer: all workers read them, and home puts fresher ones in their place.
class IssuerKeys {
 public:
  /// From the file, or empty until they are fetched from the URL. Reads files, so it blocks. Errors: "jwks.unreadable",
  /// "jwks.malformed", those of TlsContext.
  static Result<std::shared_ptr<IssuerKeys>> load(const IssuerSettings& settings);

  // From any thread.
  /// nullptr: none are known.
  std::shared_ptr<const KeySet> current() const { return current_.get(); }
  /// A token names a key that is not among them: perhaps the issuer has new ones.
  void note_miss() { missed_.store(true, std::memory_order_relaxed); }

 private:
  friend class KeyFetcher;
  IssuerKeys() = default;

  IssuerSettings settings_;
  std::optional<http::RequestHead> request_;  ///< None: they come from a file.
  std::optional<TlsContext> tls_;
  Snapshot<KeySet> current_{nullptr};
  std::atomic<bool> missed_{false};
  // At home.
  std::chrono::steady_clock::time_point fetched_;  ///< When current_ came, or came again.
  Sha256 document_{};                              ///< What current_ was read from: the same again changes nothing.
};

/// How often keys are fetched. Jitter adds up to a fifth to the first three.
struct KeyTimes {
  std::chrono::milliseconds refresh = std::chrono::minutes(5);
  /// At least between two fetches: so much does a flood of unknown keys cost the issuer.
  std::chrono::milliseconds between = std::chrono::seconds(30);
  /// After a failure while no keys are known; doubles up to `between`.
  std::chrono::milliseconds retry = std::chrono::seconds(1);
  std::chrono::milliseconds age_max = std::chrono::hours(24);  ///< Of keys that cannot be fetched anew.
  std::chrono::milliseconds fetch_max = std::chrono::seconds(10);
  std::chrono::milliseconds look = std::chrono::milliseconds(250);  ///< How often it looks whether a key was missed.
};

/// Keeps the keys that come from URLs fresh, in the background. Lives at home. Life: keep() ..., request_stop(), until
/// is_over().
class KeyFetcher {
 public:
  KeyFetcher(Worker& home, Log& log, KeyTimes times = {});

  /// From now on, as long as somebody else holds `keys`. It begins with what `older` has, if both have one source.
  void keep(const std::shared_ptr<IssuerKeys>& keys, const IssuerKeys* older = nullptr);
  void request_stop() { tasks_.request_stop(); }
  bool is_over() const { return tasks_.size() == 0; }

 private:
  struct Course;
  boost::asio::awaitable<void> refresh(std::weak_ptr<IssuerKeys> watched);
  boost::asio::awaitable<void> fetch(std::shared_ptr<IssuerKeys> keys, Course& course);
  static Result<void> take(IssuerKeys& keys, std::string_view document);
  void settle(IssuerKeys& keys, const Result<void>& taken, Course& course);
  std::chrono::milliseconds with_jitter(std::chrono::milliseconds time) const;

  Log& log_;
  const KeyTimes times_;
  Dialer dialer_;
  TaskGroup tasks_;
};

}  // namespace culvert::server
