// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/json/object.hpp>

#include "common/admin/log.hpp"
#include "server/kubernetes/api_client.hpp"
#include "server/kubernetes/lease_policy.hpp"

namespace culvert::server {

/// The Lease of coordination.k8s.io/v1 that says which replica writes, in the way of client-go's leader election.
/// LeasePolicy decides; this class asks the API server and waits. At home, in a task of its owner.
class Lease {
 public:
  /// `client` and `log` outlive it.
  Lease(const boost::asio::any_io_executor& executor, ApiClient& client, Log& log, std::string name_space,
        std::string name, std::string identity);

  /// Returns when leave() has had its effect; throws operation_aborted when it is stopped.
  boost::asio::awaitable<void> run();
  /// Gives the Lease up, for another replica to take at once, and does not take it again. Returns at once.
  void leave();
  /// After leave(): the Lease is given up, or the attempt has failed.
  bool has_left() const { return has_left_; }
  /// False as soon as our last renewal is so old that another replica might soon take the Lease.
  bool is_ours() const { return policy_.is_ours(std::chrono::steady_clock::now()); }

 private:
  boost::asio::awaitable<LeasePolicy::Outcome> carry_out(LeasePolicy::Step step);
  boost::asio::awaitable<LeasePolicy::Outcome> find();
  boost::asio::awaitable<LeasePolicy::Outcome> write(std::string_view method, std::string path,
                                                     boost::json::object lease);
  boost::asio::awaitable<Result<ApiAnswer>> call(std::string_view method, std::string path,
                                                 std::optional<boost::json::value> body = std::nullopt);
  boost::json::object record(boost::json::object metadata, std::string_view holder, std::int64_t transitions,
                             std::string_view acquired) const;
  boost::asio::awaitable<void> wait(std::chrono::steady_clock::duration time);
  LeasePolicy::Outcome failed(const Error& error);
  void log_holder();

  ApiClient& client_;
  Log& log_;
  const std::string collection_;
  const std::string name_;
  const std::string identity_;
  LeasePolicy policy_;
  boost::json::object metadata_;  ///< The Lease's, as last read.
  bool was_ours_ = false;         ///< As last logged.
  bool has_left_ = false;
  boost::asio::steady_timer wait_;
};

}  // namespace culvert::server
