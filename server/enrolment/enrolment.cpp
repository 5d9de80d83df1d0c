// SPDX-License-Identifier: Apache-2.0
#include "server/enrolment/enrolment.hpp"

#include <cstring>  // explicit_bzero
#include <utility>

#include <fmt/core.h>

#include "common/admin/defect.hpp"
#include "common/base/utc_time.hpp"
#include "common/enrolment/join_token.hpp"
#include "common/tls/certificate_request.hpp"

namespace culvert::server {

using protocol::Reason;

namespace {

std::unexpected<protocol::Denied> deny_request(const Error& why) {
  return std::unexpected(protocol::Denied{Reason::request_refused, false, why.text});
}

/// The source has proved neither a token nor a key.
bool is_guess(Reason reason) {
  return reason == Reason::token_refused || reason == Reason::request_refused;
}

protocol::Issued issued_of(const EnrolmentRules& rules, SignedCertificate certificate) {
  return {std::move(certificate.chain), rules.authorities, certificate.not_after - wall_clock_now()};
}

CertificateNote note_of(const SignedCertificate& certificate) {
  return {certificate.serial, wall_clock_now(), certificate.not_after};
}

}  // namespace

Enrolment::Enrolment(Worker& home, Log& log)
    : log_(log), tasks_(home.context().get_executor(), report_defect(log, "enrolment")) {}

// ---- joining

void Enrolment::join(protocol::Join join, const boost::asio::ip::address& source, Answer answer) {
  if (tasks_.is_stopping() || !rules_) return;
  if (!penalties_.accepts(source, std::chrono::steady_clock::now())) {
    const protocol::Denied denied{Reason::too_many_attempts, true,
                                  "too many attempts from this address; wait a minute"};
    return deny({true, std::move(join.token), source}, denied, answer);
  }
  tasks_.spawn(serve_join(rules_, std::move(join), source, std::move(answer)));
}

boost::asio::awaitable<void> Enrolment::serve_join(Rules rules, protocol::Join join, boost::asio::ip::address source,
                                                   Answer answer) {
  const std::string token = join.token;
  const std::string software = join.software;
  auto issued = co_await admit(std::move(rules), std::move(join));
  if (!issued) {
    if (is_guess(issued.error().reason)) note_failure(source);
    deny({true, token, source}, issued.error(), answer);
    co_return;
  }
  counts_.joined.fetch_add(1, std::memory_order_relaxed);
  const auto facts = facts_of(issued->chain);
  log_.info("agent.joined", {{"names", facts ? facts->names : ""},
                             {"serial", facts ? facts->serial : ""},
                             {"source", source.to_string()},
                             {"token", token},
                             {"software", software}});
  answer(std::move(*issued));
}

/// The token is used up last, so that an agent which cannot get a certificate now may try again.
boost::asio::awaitable<Granted<protocol::Issued>> Enrolment::admit(Rules rules, protocol::Join join) {
  TokenClaim claim{join.token, hash_of(join.secret), {}};
  ::explicit_bzero(join.secret.data(), join.secret.size());
  const auto key = check_request(join.request, "");
  if (!key) co_return deny_request(key.error());
  claim.key = *key;
  auto record = co_await rules->store->check(claim);
  if (!record) co_return std::unexpected(record.error());
  const std::string identity = spiffe_id_of(*record, rules->trust_domain);
  if (const auto fits = check_request(join.request, identity); !fits) co_return deny_request(fits.error());
  auto certificate =
      co_await rules->signer->sign(std::move(join.request), identity, record->lifetime.value_or(rules->lifetime));
  if (!certificate) co_return std::unexpected(certificate.error());
  if (const auto taken = co_await rules->store->take(std::move(claim), std::move(*record), note_of(*certificate));
      !taken)
    co_return std::unexpected(taken.error());
  co_return issued_of(*rules, std::move(*certificate));
}

// ---- renewal

void Enrolment::renew(AgentIdentity identity, protocol::Renew renew, const boost::asio::ip::address& source,
                      Answer answer) {
  if (tasks_.is_stopping() || !rules_) return;
  tasks_.spawn(serve_renewal(rules_, std::move(identity), std::move(renew), source, std::move(answer)));
}

void Enrolment::renew_late(AgentIdentity identity, protocol::Renew renew, const boost::asio::ip::address& source,
                           Answer answer) {
  if (tasks_.is_stopping() || !rules_) return;
  if (wall_clock_now() > identity.not_after + rules_->renew_grace) {
    const protocol::Denied denied{
        Reason::renewal_over, false,
        fmt::format("the certificate ended on {}, too long ago to be renewed: join again with a new token; if that "
                    "cannot be, check the clocks",
                    to_text(identity.not_after))};
    return deny({false, identity.spiffe_id, source}, denied, answer);
  }
  this->renew(std::move(identity), std::move(renew), source, std::move(answer));
}

boost::asio::awaitable<void> Enrolment::serve_renewal(Rules rules, AgentIdentity identity, protocol::Renew renew,
                                                      boost::asio::ip::address source, Answer answer) {
  auto issued = co_await prolong(std::move(rules), identity, std::move(renew));
  if (!issued) {
    deny({false, identity.spiffe_id, source}, issued.error(), answer);
    co_return;
  }
  counts_.renewed.fetch_add(1, std::memory_order_relaxed);
  const auto facts = facts_of(issued->chain);
  log_.info("agent.renewed", {{"agent", identity.spiffe_id},
                              {"serial", facts ? facts->serial : ""},
                              {"earlier", identity.serial},
                              {"source", source.to_string()}});
  answer(std::move(*issued));
}

boost::asio::awaitable<Granted<protocol::Issued>> Enrolment::prolong(Rules rules, AgentIdentity identity,
                                                                     protocol::Renew renew) {
  auto record = co_await rules->store->find(identity);
  if (!record) co_return std::unexpected(record.error());
  if (const auto fits = check_request(renew.request, identity.spiffe_id); !fits) co_return deny_request(fits.error());
  auto certificate = co_await rules->signer->sign(std::move(renew.request), identity.spiffe_id,
                                                  record->lifetime.value_or(rules->lifetime));
  if (!certificate) co_return std::unexpected(certificate.error());
  co_await rules->store->note_renewal(std::move(*record), note_of(*certificate));
  co_return issued_of(*rules, std::move(*certificate));
}

// ---- refusals

void Enrolment::note_failure(const boost::asio::ip::address& source) {
  penalties_.note_failure(source, std::chrono::steady_clock::now());
}

void Enrolment::deny(const Asker& asker, const protocol::Denied& why, const Answer& answer) {
  counts_.denied.fetch_add(1, std::memory_order_relaxed);
  log_.limited(Log::Level::warn, asker.joins ? "agent.join_refused" : "agent.renewal_refused",
               {{asker.joins ? "token" : "agent", asker.name},
                {"source", asker.source.to_string()},
                {"code", protocol::to_string(why.reason)},
                {"text", why.text}});
  answer(why);
}

}  // namespace culvert::server
