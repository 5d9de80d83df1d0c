// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/address.hpp>

#include "common/admin/log.hpp"
#include "common/net/task_group.hpp"
#include "common/net/worker.hpp"
#include "common/tls/peer_identity.hpp"
#include "protocol/enrolment.hpp"
#include "server/auth/penalties.hpp"
#include "server/enrolment/agent_store.hpp"
#include "server/enrolment/signer.hpp"

namespace culvert::server {

/// What a configuration says of enrolment, and the two that it is done with. A reload replaces it.
struct EnrolmentRules {
  std::string trust_domain;
  std::vector<std::byte> authorities;  ///< Authorities that agents must trust: DER, one after the other.
  std::chrono::seconds lifetime{0};    ///< Of certificates, unless the agent's record has its own.
  std::chrono::seconds renew_grace{0};
  std::shared_ptr<AgentStore> store;
  std::shared_ptr<Signer> signer;
};

/// Answers agents that ask for a certificate (SPEC 8.6, 8.7), whatever knows the agents and whatever signs. Each answer
/// is logged, with agent, serial and source, and never with a secret. Used at home.
class Enrolment {
 public:
  using Answer = std::function<void(protocol::Enrolled)>;  ///< Called once, at home; not after request_stop().

  Enrolment(Worker& home, Log& log);

  void change(std::shared_ptr<const EnrolmentRules> rules) { rules_ = std::move(rules); }

  /// An agent shows a join token. A source that guesses is refused without a look at its token (threats E1).
  void join(protocol::Join join, const boost::asio::ip::address& source, Answer answer);
  /// An agent whose tunnel has proved `identity` asks for its next certificate.
  void renew(AgentIdentity identity, protocol::Renew renew, const boost::asio::ip::address& source, Answer answer);
  /// The same from a join connection, where the key of the agent's last certificate has proved `identity`; its time may
  /// be over, by renew_grace at most.
  void renew_late(AgentIdentity identity, protocol::Renew renew, const boost::asio::ip::address& source, Answer answer);
  /// Notes that a source has proved nothing.
  void note_failure(const boost::asio::ip::address& source);

  void request_stop() { tasks_.request_stop(); }
  bool is_over() const { return tasks_.size() == 0; }

  /// From any thread.
  struct Counts {
    std::atomic<std::uint64_t> joined{0};
    std::atomic<std::uint64_t> renewed{0};
    std::atomic<std::uint64_t> denied{0};
  };
  const Counts& counts() const { return counts_; }

 private:
  using Rules = std::shared_ptr<const EnrolmentRules>;
  static boost::asio::awaitable<Granted<protocol::Issued>> admit(Rules rules, protocol::Join join);
  static boost::asio::awaitable<Granted<protocol::Issued>> prolong(Rules rules, AgentIdentity identity,
                                                                   protocol::Renew renew);
  boost::asio::awaitable<void> serve_join(Rules rules, protocol::Join join, boost::asio::ip::address source,
                                          Answer answer);
  boost::asio::awaitable<void> serve_renewal(Rules rules, AgentIdentity identity, protocol::Renew renew,
                                             boost::asio::ip::address source, Answer answer);
  /// Who was refused: one that joins, by its token's id, or an agent, by its SPIFFE id.
  struct Asker {
    bool joins;
    std::string name;
    boost::asio::ip::address source;
  };
  void deny(const Asker& asker, const protocol::Denied& why, const Answer& answer);

  Log& log_;
  Rules rules_;
  Penalties penalties_;
  Counts counts_;
  TaskGroup tasks_;
};

}  // namespace culvert::server
