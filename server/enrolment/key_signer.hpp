// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

#include "common/admin/log.hpp"
#include "common/net/offload.hpp"
#include "common/tls/authority.hpp"
#include "server/enrolment/signer.hpp"

namespace culvert::server {

/// Signs with the key of `[enrolment] authority_key`, on a thread of its own: an RSA key takes milliseconds.
class KeySigner final : public Signer {
 public:
  KeySigner(Authority authority, Log& log) : authority_(std::move(authority)), log_(log) {}

  boost::asio::awaitable<Granted<SignedCertificate>> sign(std::vector<std::byte> request, std::string identity,
                                                          std::chrono::seconds lifetime) override;

 private:
  const Authority authority_;
  Log& log_;
  Offload thread_;
};

}  // namespace culvert::server
