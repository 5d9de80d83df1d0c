// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/awaitable.hpp>

#include "agent/config/config.hpp"
#include "agent/identity/identity_directory.hpp"
#include "agent/identity/new_identity.hpp"
#include "common/admin/log.hpp"
#include "common/net/event.hpp"
#include "common/net/offload.hpp"
#include "common/net/task_group.hpp"
#include "common/net/worker.hpp"
#include "common/tls/tls_context.hpp"

namespace culvert::agent {

/// Keeps the certificate of one `[[server]] identity` valid: joins if there is none and a token file is named, renews
/// it in time through a tunnel, and by its old key when its time is over. A new one is on the disk before it is used.
/// Lives at home; keys, files and TLS contexts are made on the offload thread.
class IdentityKeeper {
 public:
  using Answer = std::function<void(protocol::Enrolled)>;
  struct Hooks {
    /// Asks through a tunnel that is up, and calls the Answer at home, or never if the tunnel ends. Returns false if
    /// no tunnel can ask.
    std::function<bool(const protocol::Renew& request, Answer answer)> ask_through_tunnel;
    /// Uses the new certificate for new tunnels, and replaces the tunnels that have shown the old one.
    std::function<void(const TlsContext& tls)> adopt;
  };

  /// `tls` has the certificate in force, if there is one that is still valid.
  IdentityKeeper(Worker& home, Log& log, Offload& offload, Server server, const std::optional<TlsContext>& tls,
                 Hooks hooks);

  void start();
  void request_stop() { tasks_.request_stop(); }
  bool is_over() const { return tasks_.size() == 0; }

  struct Status {
    std::optional<CertificateFacts> certificate;
    std::string last_error;  ///< Why the last renewal, or joining, failed; "" since the last success.
  };
  Status status() const { return {facts_, last_error_}; }
  const Server& server() const { return server_; }

 private:
  boost::asio::awaitable<void> run();
  boost::asio::awaitable<void> wait_until_due();
  /// One try to get a certificate, in the way that is open now.
  boost::asio::awaitable<Result<void>> enrol();
  boost::asio::awaitable<Result<void>> join();
  boost::asio::awaitable<Result<void>> renew();
  boost::asio::awaitable<Result<void>> renew_late();
  boost::asio::awaitable<Result<void>> keep(protocol::Enrolled answer, KeyAndRequest asked, std::string identity);
  boost::asio::awaitable<std::optional<protocol::Enrolled>> ask_through_tunnel(protocol::Renew request);
  boost::asio::awaitable<Result<KeyAndRequest>> new_key(std::string identity);
  std::string identity_name() const;
  void note_failure(const Error& why, std::chrono::seconds pause);
  std::chrono::seconds pause_after_failure();

  Worker& home_;
  Log& log_;
  Offload& offload_;
  const Server server_;
  const Hooks hooks_;
  std::optional<CertificateFacts> facts_;
  std::chrono::sys_seconds issued_at_;  ///< Of facts_.
  std::string last_error_;
  unsigned failures_ = 0;
  TaskGroup tasks_;
};

}  // namespace culvert::agent
