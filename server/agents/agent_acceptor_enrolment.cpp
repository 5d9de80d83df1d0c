// SPDX-License-Identifier: Apache-2.0
// Which agents may connect and stay connected: enrolled ones, and those whose certificates have not ended; and agents
// that ask for a certificate.
#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "common/tls/authority.hpp"
#include "common/tls/certificate_request.hpp"
#include "common/tls/past_certificate.hpp"
#include "server/agents/agent_acceptor.hpp"

namespace culvert::server {

using protocol::Reason;

namespace {

/// Clocks may differ by so much (SPEC 3.3).
constexpr std::chrono::minutes end_leeway{5};

bool is_ours(const TunnelPolicy::Enrolling& enrolling, const Sha256& issuer) {
  return std::ranges::find(enrolling.authorities, issuer) != enrolling.authorities.end();
}

}  // namespace

Result<void> AgentAcceptor::on_secured(Tunnel& tunnel) {
  Local& local = locals_[tunnel.plane().worker().index()];
  const auto unproven = local.unproven.find(tunnel.id());
  const boost::asio::ip::address source =
      unproven == local.unproven.end() ? boost::asio::ip::address() : unproven->second;
  if (is_join_connection(tunnel.tls().native())) {
    local.joining.emplace(tunnel.id(), source);
    tunnel.expect_join();
    return {};
  }
  const auto policy = policy_.get();
  auto identity = agent_identity(tunnel.tls().native(), policy->trust_domain);
  if (!identity) return std::unexpected(identity.error());
  if (policy->denials.denies(*identity)) {
    return fail("identity.denied",
                fmt::format("{} (serial {}) is on the deny list", identity->spiffe_id, identity->serial));
  }
  const auto& enrolling = policy->enrolling;
  const bool issued_here = enrolling && is_ours(*enrolling, issuer_pin(tunnel.tls().native()));
  if (const auto refused = refused_now(*policy, *identity, issued_here)) {
    log_.limited(
        Log::Level::warn, "agent.refused",
        {{"agent", identity->spiffe_id}, {"serial", identity->serial}, {"code", protocol::to_string(refused->reason)}});
    tunnel.close(refused->reason, refused->text);
    return {};
  }
  Known& known = local.known[tunnel.id()];
  known.identity = std::move(*identity);
  known.issued_here = issued_here;
  known.source = source;
  return {};
}

std::optional<AgentAcceptor::Refused> AgentAcceptor::refused_now(const TunnelPolicy& policy,
                                                                 const AgentIdentity& identity,
                                                                 bool issued_here) const {
  if (!policy.enrolling || (!issued_here && !policy.enrolling->required)) return std::nullopt;
  const auto enrolled = enrolled_.get();
  if (!enrolled) return Refused{Reason::internal, "the server does not know its agents yet; try again"};
  switch (enrolled->verdict(identity)) {
    case EnrolledAgents::Verdict::enrolled: return std::nullopt;
    case EnrolledAgents::Verdict::disabled:
      return Refused{Reason::agent_disabled, "this agent is disabled at the server"};
    case EnrolledAgents::Verdict::unknown: break;
  }
  return Refused{Reason::not_enrolled, "the server does not know this agent: it was removed, or never joined"};
}

void AgentAcceptor::change_enrolled(std::shared_ptr<const EnrolledAgents> agents) {
  enrolled_.publish(std::move(agents));
  planes_.on_each([this](DataPlane& plane) { close_refused(plane); });
}

void AgentAcceptor::close_refused(DataPlane& plane) {
  const auto policy = policy_.get();
  std::vector<std::pair<TunnelId, Refused>> ending;
  for (const auto& [id, known] : locals_[plane.worker().index()].known) {
    if (policy->denials.denies(known.identity)) {
      ending.push_back({id, {Reason::denied, "this identity is on the deny list"}});
    } else if (const auto refused = refused_now(*policy, known.identity, known.issued_here)) {
      ending.push_back({id, *refused});
    }
  }
  for (const auto& [id, why] : ending) {
    if (Tunnel* tunnel = plane.find_tunnel(id)) tunnel->close(why.reason, why.text);
  }
}

// ---- agents that ask for a certificate

/// Brings the answer from home to the worker, if the tunnel lives until then.
Enrolment::Answer AgentAcceptor::answer_to(const Tunnel& tunnel) {
  DataPlane& plane = const_cast<Tunnel&>(tunnel).plane();
  return [&plane, id = tunnel.id()](protocol::Enrolled answer) {
    plane.worker().post([&plane, id, answer = std::move(answer)] {
      if (Tunnel* asking = plane.find_tunnel(id)) asking->answer(answer);
    });
  };
}

void AgentAcceptor::on_join_asked(Tunnel& tunnel, protocol::Join& join) {
  const auto& source = locals_[tunnel.plane().worker().index()].joining.at(tunnel.id());
  auto moved = std::make_shared<protocol::Join>(std::move(join));
  planes_.home().post(
      [this, moved, source, answer = answer_to(tunnel)] { enrolment_->join(std::move(*moved), source, answer); });
}

void AgentAcceptor::on_renew_asked(Tunnel& tunnel, protocol::Renew& renew) {
  const Local& local = locals_[tunnel.plane().worker().index()];
  const auto known = local.known.find(tunnel.id());
  if (known == local.known.end()) return renew_late(tunnel, std::move(renew));
  planes_.home().post([this, identity = known->second.identity, source = known->second.source, renew = std::move(renew),
                       answer = answer_to(tunnel)] { enrolment_->renew(identity, renew, source, answer); });
}

/// On a join connection the last certificate comes inside, with the signature of its key.
void AgentAcceptor::renew_late(Tunnel& tunnel, protocol::Renew renew) {
  const auto policy = policy_.get();
  const ssl_st* const ssl = tunnel.tls().native();
  const auto source = locals_[tunnel.plane().worker().index()].joining.at(tunnel.id());
  auto past = past_certificate(ssl, renew.certificate, policy->trust_domain);
  const auto& enrolling = policy->enrolling;
  if (past && !(enrolling && is_ours(*enrolling, past->issuer)))
    past = fail("tls.peer_certificate", "the certificate is not from this server: join with a token");
  if (past && policy->denials.denies(past->identity)) past = fail("identity.denied", "this identity is denied");
  if (past && !is_signed_renewal(ssl, renew.certificate, renew.request, renew.signature))
    past = fail("tls.peer_certificate", "the request is not signed by the key of the last certificate");
  if (!past) {
    log_.limited(Log::Level::warn, "agent.renewal_refused",
                 {{"source", source.to_string()}, {"code", past.error().code}, {"text", past.error().text}});
    planes_.home().post([this, source] { enrolment_->note_failure(source); });
    return tunnel.answer(protocol::Denied{Reason::request_refused, false, past.error().text});
  }
  planes_.home().post([this, identity = std::move(past->identity), source, renew = std::move(renew),
                       answer = answer_to(tunnel)] { enrolment_->renew_late(identity, renew, source, answer); });
}

// ---- certificates that end

/// A tunnel whose certificate has ended takes no new streams. At the next look it is closed, unless its link has proved
/// a later certificate: an agent that has one, from a file for example, proves it by the tunnel that replaces this one
/// (docs/threat-model.md, E5).
void AgentAcceptor::look_for_ended_certificates() {
  const auto now = std::chrono::system_clock::now();
  planes_.on_each([this, now](DataPlane& plane) {
    std::vector<TunnelId> ended;
    std::vector<TunnelRef> still_here;
    for (auto& [id, known] : locals_[plane.worker().index()].known) {
      if (!known.welcomed || known.identity.not_after + end_leeway >= now) continue;
      if (std::exchange(known.has_ended, true)) {
        still_here.push_back({id, plane.worker().index()});
      } else {
        ended.push_back(id);
      }
    }
    for (const TunnelId id : ended) {
      if (Tunnel* tunnel = plane.find_tunnel(id)) {
        on_draining(*tunnel, std::chrono::milliseconds(0));
        tunnel->drain(Reason::certificate_expired, std::chrono::milliseconds(0));
      }
    }
    if (still_here.empty()) return;
    planes_.home().post([this, still_here, now] {
      for (const TunnelRef& ref : still_here) {
        if (!agents_.has_valid_certificate(ref.id, now))
          close_at(ref, Reason::certificate_expired, "the agent's certificate has ended, and no later one came");
      }
    });
  });
}

}  // namespace culvert::server
