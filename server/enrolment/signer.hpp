// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include <boost/asio/awaitable.hpp>

#include "common/tls/authority.hpp"
#include "server/enrolment/agent_store.hpp"

namespace culvert::server {

/// Makes certificates for agents: with a key of our own, or by an issuer of the cluster. Used at home; every coroutine
/// throws operation_aborted when it is stopped.
class Signer {
 public:
  virtual ~Signer() = default;
  /// Signs a request that check_request() has accepted for `identity`. Denied: enrolment_unavailable, retryable if
  /// trying again may help.
  virtual boost::asio::awaitable<Granted<SignedCertificate>> sign(std::vector<std::byte> request, std::string identity,
                                                                  std::chrono::seconds lifetime) = 0;
};

}  // namespace culvert::server
