// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/json/array.hpp>

#include "common/admin/metrics.hpp"
#include "common/base/error.hpp"
#include "common/net/task_group.hpp"
#include "common/tls/authority.hpp"
#include "common/tls/tls_context.hpp"
#include "server/agents/agent_acceptor.hpp"
#include "server/config/config.hpp"
#include "server/enrolment/agents_command.hpp"
#include "server/enrolment/enrolment.hpp"
#include "server/enrolment/state_directory.hpp"

namespace culvert::server {

/// `[enrolment]` with its files loaded.
struct EnrolmentPlan {
  EnrolmentSettings settings;
  std::string trust_domain;
  std::optional<Authority> authority;  ///< None: the cluster's issuer signs.
  std::vector<std::byte> authorities;  ///< Authorities that agents must trust, in DER.
  Sha256 pin{};                        ///< What their tokens pin.
  std::vector<Sha256> issuers;         ///< Digests of the keys in authority_certificate.

  /// Blocks. Codes: those of Authority::load(); "enrolment.wrong_name" if the server's certificate is for none of the
  /// addresses that the tokens will name.
  static Result<EnrolmentPlan> load(const EnrolmentSettings& settings, const TunnelSettings& tunnel,
                                    const TlsContext& tls);
};

/// Enrols agents as a configuration says: joins the store of agents, the signer and the port for agents. Lives at home.
class Enrolling {
 public:
  Enrolling(Worker& home, Log& log, AgentAcceptor& agents);

  /// Once, when the service has started.
  void start();
  /// Opens what a plan needs and is not open yet; blocks. Codes: those of StateDirectory::open().
  struct Staged {
    std::unique_ptr<StateDirectory> directory;
  };
  Result<Staged> stage(const std::optional<EnrolmentPlan>& plan, bool has_cluster);
  /// `store` and `signer` are the cluster's, if there is one.
  void commit(const std::optional<EnrolmentPlan>& plan, Staged staged, std::shared_ptr<AgentStore> store,
              std::shared_ptr<Signer> signer);
  /// The store of the cluster has changed.
  void publish_agents();

  /// `culvert-server agents …`.
  void command(const std::string& arguments, std::function<void(Result<std::string>)> done);
  /// The text of a new agent's token.
  std::string token_text(const AgentRecord& agent, std::string_view id, const protocol::TokenSecret& secret) const;
  boost::json::array status() const;
  void collect(MetricsPage& page) const;

  void request_stop();
  bool is_over() const;

 private:
  boost::asio::awaitable<void> watch_certificates();
  boost::asio::awaitable<void> serve(std::string arguments, std::function<void(Result<std::string>)> done);

  Worker& home_;
  Log& log_;
  AgentAcceptor& agents_;
  std::optional<EnrolmentPlan> plan_;
  std::shared_ptr<StateDirectory> directory_;
  std::vector<std::shared_ptr<StateDirectory>> retired_;
  std::shared_ptr<AgentStore> store_;
  Enrolment enrolment_;
  TaskGroup tasks_;
};

}  // namespace culvert::server
