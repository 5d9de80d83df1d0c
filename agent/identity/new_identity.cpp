// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/new_identity.hpp"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "common/tls/authority.hpp"
#include "common/tls/verify_peer.hpp"

namespace culvert::agent {
namespace {

std::unexpected<Error> nonsense(std::string_view what) {
  return fail("join.protocol", fmt::format("the server's answer is wrong: {}", what));
}

Result<void> check_clock(const CertificateFacts& facts, std::chrono::sys_seconds now) {
  const auto differs = [&](std::string_view how) {
    return fail("join.clock",
                fmt::format("the new certificate is valid from {} to {}, and it is {} by this machine's clock, which "
                            "is {} the server's: set the two clocks right (NTP)",
                            to_text(facts.not_before), to_text(facts.not_after), to_text(now), how));
  };
  if (facts.not_before > now + not_before_leeway) return differs("behind");
  if (facts.not_after <= now) return differs("ahead of");
  return {};
}

}  // namespace

Result<Identity> new_identity(const protocol::Enrolled& answer, KeyAndRequest asked, const std::string& identity,
                              std::chrono::sys_seconds now) {
  if (const auto* denied = std::get_if<protocol::Denied>(&answer))
    return fail(fmt::format("join.{}", protocol::to_string(denied->reason)), denied->text);
  const auto& issued = std::get<protocol::Issued>(answer);
  const auto key = check_request(asked.request, identity);
  if (!key) return std::unexpected(key.error());
  const auto pins = key_pins(issued.chain);
  if (!pins || pins->empty() || pins->front() != *key) return nonsense("the certificate is for another key");
  const auto facts = facts_of(issued.chain);
  if (!facts) return std::unexpected(facts.error());
  if (facts->names != "URI:" + identity) return nonsense(fmt::format("the certificate names {}", facts->names));
  if (auto clock = check_clock(*facts, now); !clock) return std::unexpected(clock.error());
  auto certificate = to_pem(issued.chain);
  auto authorities = to_pem(issued.authorities);
  if (!certificate) return std::unexpected(certificate.error());
  if (!authorities) return std::unexpected(authorities.error());
  return Identity{std::move(asked.key), std::move(*certificate), std::move(*authorities)};
}

std::chrono::sys_seconds renewal_due(std::chrono::sys_seconds issued_at, std::chrono::sys_seconds not_after,
                                     double chance) {
  const auto left = std::chrono::duration<double>(not_after - issued_at) * (1.0 / 3 + (chance - 0.5) / 5);
  return not_after - std::chrono::duration_cast<std::chrono::seconds>(left);
}

std::chrono::sys_seconds renewal_overdue(std::chrono::sys_seconds issued_at, std::chrono::sys_seconds not_after) {
  return not_after - (not_after - issued_at) / 4;
}

}  // namespace culvert::agent
