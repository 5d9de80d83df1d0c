// SPDX-License-Identifier: Apache-2.0
#include "server/enrolling.hpp"

#include <algorithm>
#include <utility>

#include <boost/json/object.hpp>
#include <fmt/core.h>

#include "common/admin/defect.hpp"
#include "common/enrolment/join_token.hpp"
#include "common/net/deadline.hpp"
#include "server/enrolment/key_signer.hpp"

namespace culvert::server {
namespace {

/// How often tunnels are looked at whose certificates may have ended.
constexpr std::chrono::seconds certificate_watch{15};
constexpr AgentsCommand::Lifetimes lifetimes{std::chrono::minutes(1), std::chrono::days(365)};

}  // namespace

Result<EnrolmentPlan> EnrolmentPlan::load(const EnrolmentSettings& settings, const TunnelSettings& tunnel,
                                          const TlsContext& tls) {
  EnrolmentPlan plan{settings, tunnel.trust_domain, std::nullopt, tls.authorities(), tls.pin(), {}};
  for (const Endpoint& address : settings.addresses) {
    const std::string& name = settings.server_name.empty() ? address.host : settings.server_name;
    if (tls.is_for(name)) continue;
    const auto& own = tls.own_certificate();
    return fail("enrolment.wrong_name",
                fmt::format("{}: the server's certificate is not for {}, which agents that join will expect (it is "
                            "for {}); set server_name, or have it issued anew",
                            tunnel.credentials.certificate.string(), name, own ? own->names : ""));
  }
  const auto issuers = read_certificates(settings.authority_certificate);
  if (!issuers) return std::unexpected(issuers.error());
  auto pins = key_pins(*issuers);
  if (!pins) return std::unexpected(pins.error());
  plan.issuers = std::move(*pins);
  if (settings.authority_key.empty()) return plan;
  auto authority = Authority::load(settings.authority_certificate, settings.authority_key);
  if (!authority) return std::unexpected(authority.error());
  plan.authority = std::move(*authority);
  return plan;
}

Enrolling::Enrolling(Worker& home, Log& log, AgentAcceptor& agents)
    : home_(home),
      log_(log),
      agents_(agents),
      enrolment_(home, log),
      tasks_(home.context().get_executor(), report_defect(log, "enrolling")) {
  agents_.set_enrolment(enrolment_);
}

void Enrolling::start() {
  tasks_.spawn(watch_certificates());
}

boost::asio::awaitable<void> Enrolling::watch_certificates() {
  for (;;) {
    co_await wait_for(certificate_watch);
    agents_.look_for_ended_certificates();
  }
}

// ---- configuration

Result<Enrolling::Staged> Enrolling::stage(const std::optional<EnrolmentPlan>& plan, bool has_cluster) {
  Staged staged;
  if (!plan || has_cluster) return staged;
  if (directory_ && plan_ && plan_->settings.state == plan->settings.state) return staged;
  StateDirectoryOptions options;
  options.join_token_lifetime = plan->settings.join_token_lifetime;
  auto opened = StateDirectory::open(plan->settings.state, home_.context().get_executor(), log_, options);
  if (!opened) return std::unexpected(opened.error());
  staged.directory = std::move(*opened);
  return staged;
}

void Enrolling::commit(const std::optional<EnrolmentPlan>& plan, Staged staged, std::shared_ptr<AgentStore> store,
                       std::shared_ptr<Signer> signer) {
  std::erase_if(retired_, [](const auto& each) { return each->is_over(); });
  if (directory_ && (staged.directory || !plan || store)) {
    directory_->request_stop();
    retired_.push_back(std::exchange(directory_, nullptr));
  }
  if (staged.directory) {
    directory_ = std::move(staged.directory);
    directory_->set_on_change([this] { publish_agents(); });
  }
  plan_ = plan;
  if (!plan) {
    store_ = nullptr;
    return enrolment_.change(nullptr);
  }
  if (directory_) directory_->set_join_token_lifetime(plan->settings.join_token_lifetime);
  store_ = store ? std::move(store) : directory_;
  if (plan->authority) signer = std::make_shared<KeySigner>(*plan->authority, log_);
  enrolment_.change(std::make_shared<const EnrolmentRules>(EnrolmentRules{
      plan->trust_domain, plan->authorities, plan->settings.lifetime, plan->settings.renew_grace, store_, signer}));
  publish_agents();
}

void Enrolling::publish_agents() {
  auto known = store_ ? store_->agents() : nullptr;
  if (known) agents_.change_enrolled(std::move(known));
}

// ---- commands

std::string Enrolling::token_text(const AgentRecord& agent, std::string_view id,
                                  const protocol::TokenSecret& secret) const {
  if (!plan_) return "";  // No agent can be added then.
  return to_text(JoinToken{plan_->settings.addresses, plan_->settings.server_name, plan_->pin, std::string(id), secret,
                           spiffe_id_of(agent, plan_->trust_domain)});
}

void Enrolling::command(const std::string& arguments, std::function<void(Result<std::string>)> done) {
  if (!plan_)
    return done(fail("enrolment.off", "this server enrols no agents: its configuration has no table [enrolment]"));
  if (!directory_)
    return done(fail("enrolment.in_cluster", "agents are objects of the cluster: kubectl get agents.culvert.dev"));
  if (tasks_.is_stopping()) return done(fail("reload.draining", "the program is stopping"));
  tasks_.spawn(serve(arguments, std::move(done)));
}

boost::asio::awaitable<void> Enrolling::serve(std::string arguments, std::function<void(Result<std::string>)> done) {
  const auto directory = directory_;
  AgentsCommand command(
      *directory,
      [this](const AgentRecord& agent, std::string_view id, const protocol::TokenSecret& secret) {
        return token_text(agent, id, secret);
      },
      lifetimes);
  auto said = co_await command.run(std::move(arguments));
  done(std::move(said));
}

// ---- state

boost::json::array Enrolling::status() const {
  boost::json::array all;
  if (!directory_ || !plan_) return all;
  for (const StoredAgent& each : directory_->list()) {
    const AgentRecord& agent = each.record;
    all.push_back({{"name", agent.name},
                   {"agent", spiffe_id_of(agent, plan_->trust_domain)},
                   {"enabled", agent.enabled},
                   {"serial", agent.certificate ? agent.certificate->serial : ""},
                   {"not_after", agent.certificate ? to_text(agent.certificate->not_after) : ""}});
  }
  return all;
}

void Enrolling::collect(MetricsPage& page) const {
  const Enrolment::Counts& counts = enrolment_.counts();
  page.counter("culvert_agents_joined_total", "Agents that got their first certificate, or joined again.", {},
               counts.joined.load(std::memory_order_relaxed));
  page.counter("culvert_agents_renewed_total", "Certificates that were renewed.", {},
               counts.renewed.load(std::memory_order_relaxed));
  page.counter("culvert_enrolment_denied_total", "Requests for a certificate that were denied.", {},
               counts.denied.load(std::memory_order_relaxed));
}

void Enrolling::request_stop() {
  tasks_.request_stop();
  enrolment_.request_stop();
  if (directory_) directory_->request_stop();
}

bool Enrolling::is_over() const {
  const auto over = [](const auto& each) { return each->is_over(); };
  return tasks_.size() == 0 && enrolment_.is_over() && (!directory_ || over(directory_)) &&
         std::ranges::all_of(retired_, over);
}

}  // namespace culvert::server
