// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <boost/asio/steady_timer.hpp>

#include "common/admin/log.hpp"
#include "common/net/event.hpp"
#include "common/net/task_group.hpp"
#include "server/kubernetes/api_client.hpp"
#include "server/kubernetes/application_policy.hpp"
#include "server/kubernetes/cluster_secrets.hpp"
#include "server/kubernetes/informer.hpp"
#include "server/kubernetes/lease.hpp"
#include "server/kubernetes/status_writer.hpp"

namespace culvert::server {

/// The cluster's Applications: every replica makes targets of them and reads the Secrets that they name; the holder of
/// the Lease writes their status and Events. ApplicationPolicy and ClusterSecrets decide; this class watches, reads,
/// publishes and writes. At home; a part of the Cluster, which it does not outlive.
class ApplicationController {
 public:
  using Targets = std::shared_ptr<const std::vector<NamedTarget>>;

  /// `publish` is called with the targets whenever they have changed. Everything outlives it.
  ApplicationController(const boost::asio::any_io_executor& executor, ApiClient& client, Log& log,
                        ApplicationRules rules, const Lease& lease, std::function<void(Targets)> publish);

  void start(TaskGroup& tasks);
  /// The first targets are published.
  bool is_synced() const { return is_published_; }
  std::size_t objects() const { return informer_.objects().size(); }
  /// A target has refused its login: reads the Secrets now, but at most once in 5 s.
  void look_at_secrets();

 private:
  boost::asio::awaitable<void> keep_secrets();
  boost::asio::awaitable<void> read_secret(std::string name);
  boost::asio::awaitable<void> keep_targets();
  boost::asio::awaitable<void> keep_statuses();
  boost::asio::awaitable<void> write(std::string name, ApplicationWrite write);
  void note_change();
  void choose_specs();
  void plan();

  ApiClient& client_;
  Log& log_;
  const ApplicationRules rules_;
  const Lease& lease_;
  const std::function<void(Targets)> publish_;
  StatusWriter writer_;
  Informer<ApplicationObject> informer_;
  ClusterSecrets secrets_;
  boost::asio::steady_timer secrets_wait_;
  /// What is in force of each object: a change counts once the Secrets that it names have been read.
  std::map<std::string, ApplicationSpec> specs_;
  std::map<std::string, ApplicationSpec> planned_;  ///< Of the last plan.
  std::map<std::string, ApplicationReport> reports_;
  ApplicationPolicy policy_;
  bool is_published_ = false;
  bool have_secrets_changed_ = false;  ///< Since the last plan.
  bool has_changed_ = false;
  Event changed_;
};

}  // namespace culvert::server
