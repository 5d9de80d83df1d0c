// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/json/object.hpp>

#include "common/admin/log.hpp"
#include "server/kubernetes/api_client.hpp"

namespace culvert::server {

/// Which replica writes: a Lease of coordination.k8s.io/v1 (the way of client-go's leader election). A holder that has
/// not renewed for as long as the Lease says may be replaced; that time is measured by our own clock from the moment
/// when we saw the last change, never by the times in the record (threats D14). At home, in a task of its owner.
class Lease {
 public:
  static constexpr std::chrono::seconds duration{12};
  static constexpr std::chrono::seconds renewal{4};
  static constexpr std::chrono::seconds retry{2};  ///< Of those who wait for it.

  /// `client` and `log` outlive it.
  Lease(ApiClient& client, Log& log, std::string name_space, std::string name, std::string identity);

  /// Returns when it is stopped: throws operation_aborted.
  boost::asio::awaitable<void> run();
  /// Lets go of it, for another to take at once, and does not take it again. Returns when that is known, or has failed.
  boost::asio::awaitable<void> release();
  /// False as soon as our own renewal is too old for others to wait any longer.
  bool is_ours() const;
  const std::string& identity() const { return identity_; }

 private:
  using Clock = std::chrono::steady_clock;
  boost::asio::awaitable<Result<void>> try_to_hold();
  boost::asio::awaitable<Result<ApiAnswer>> call(std::string_view method, std::string path,
                                                 std::optional<boost::json::value> body = std::nullopt);
  boost::asio::awaitable<Result<void>> write(std::string_view method, const boost::json::object& metadata,
                                             std::int64_t transitions, std::string_view acquired);
  boost::json::object record(const boost::json::object& metadata, std::string_view holder, std::int64_t transitions,
                             std::string_view acquired) const;

  ApiClient& client_;
  Log& log_;
  const std::string collection_;
  const std::string name_;
  const std::string identity_;
  std::string seen_version_;
  Clock::time_point seen_at_;
  Clock::time_point renewed_;
  bool held_ = false;
  bool leaving_ = false;
};

}  // namespace culvert::server
