// SPDX-License-Identifier: Apache-2.0
#include "server/server.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include <boost/json/array.hpp>
#include <fmt/core.h>

#include "common/tunnel/tunnel_statuses.hpp"

namespace culvert::server {
namespace {

/// Agents that are asked to leave do so at random times within this period.
constexpr std::chrono::milliseconds leave_within{5'000};

ServerPlan& plan_of(Plan& plan) {
  return static_cast<ServerPlan&>(plan);
}

std::unique_ptr<ServerPlan> own(std::unique_ptr<Plan> plan) {
  return std::unique_ptr<ServerPlan>(&plan_of(*plan.release()));
}

PortContext make_port_context(const TunnelDirectory& directory, Log& log, Gateway& gateway) {
  auto http = http_proxy(directory, log);
  auto socks5 = std::make_shared<Socks5Context>(directory, log, http);
  return {directory, log, std::move(http), std::move(socks5), gateway};
}

http::HeadLimits head_limits_of(const LimitSettings& limits) {
  return {.head_bytes_max = limits.head_bytes_max, .line_bytes_max = limits.head_line_bytes_max};
}

Result<std::vector<TokenIssuer>> load_issuers(const CallerSettings& callers) {
  std::vector<TokenIssuer> issuers;
  for (const IssuerSettings& issuer : callers.issuers) {
    auto keys = IssuerKeys::load(issuer);
    if (!keys) return std::unexpected(keys.error());
    issuers.push_back({issuer, std::move(*keys)});
  }
  return issuers;
}

}  // namespace

Result<std::unique_ptr<Plan>> ServerPlan::load(const ConfigSource& source) {
  auto config = load_config(source);
  if (!config) return std::unexpected(config.error());
  const CredentialFiles& credentials = config->tunnel.credentials;
  const std::optional<EnrolmentSettings>& enrols = config->enrolment;
  auto tls = enrols ? TlsContext::for_enrolling_server(credentials, enrols->authority_certificate)
                    : TlsContext::for_server(credentials);
  if (!tls) return fail(tls.error().code, fmt::format("{}: [tunnel]: {}", source.name(), tls.error().text));
  auto plan = std::make_unique<ServerPlan>();
  plan->config_ = std::move(*config);
  const Config& checked = plan->config_;
  plan->settings_ = {checked.log, checked.admin, checked.metrics, checked.limits, files_of(checked)};
  if (checked.http_proxy) {
    auto issuers = load_issuers(checked.http_proxy->callers);
    if (!issuers)
      return fail(issuers.error().code,
                  fmt::format("{}: [[http_proxy.issuer]]: {}", source.name(), issuers.error().text));
    plan->issuers_ = std::move(*issuers);
  }
  if (checked.gateway) {
    auto issuers = load_issuers(checked.gateway->callers);
    if (!issuers)
      return fail(issuers.error().code, fmt::format("{}: [[gateway.issuer]]: {}", source.name(), issuers.error().text));
    plan->gateway_issuers_ = std::move(*issuers);
  }
  if (checked.kubernetes) {
    auto access = load_access(*checked.kubernetes);
    if (!access)
      return fail(access.error().code, fmt::format("{}: [kubernetes]: {}", source.name(), access.error().text));
    plan->cluster_ = ClusterPlan{.settings = *checked.kubernetes,
                                 .on_premise = checked.on_premise_services,
                                 .access = std::move(*access),
                                 .gateway = checked.gateway};
  }
  if (checked.gateway) {
    auto gateway = GatewayPlan::load(*checked.gateway, head_limits_of(checked.limits));
    if (!gateway)
      return fail(gateway.error().code, fmt::format("{}: [gateway]: {}", source.name(), gateway.error().text));
    plan->gateway_ = std::move(*gateway);
  }
  std::optional<TunnelPolicy::Enrolling> enrolling;
  if (checked.enrolment) {
    auto enrolment = EnrolmentPlan::load(*checked.enrolment, checked.tunnel, *tls);
    if (!enrolment)
      return fail(enrolment.error().code, fmt::format("{}: [enrolment]: {}", source.name(), enrolment.error().text));
    enrolling = {enrolment->issuers, checked.enrolment->required};
    plan->enrolment_ = std::move(*enrolment);
  }
  plan->policy_ =
      std::make_shared<const TunnelPolicy>(TunnelPolicy{std::move(*tls),
                                                        checked.tunnel.trust_domain,
                                                        Denials(checked.deny.certificate_serials, checked.deny.agents),
                                                        {checked.limits.streams_per_link_max, checked.limits.dials_max},
                                                        checked.tunnel.congestion_control,
                                                        checked.tunnel.tunnels_per_agent_max,
                                                        std::move(enrolling)});
  return plan;
}

ServerService::ServerService(const ProgramContext& context, std::unique_ptr<Plan> plan)
    : context_(context),
      plan_(own(std::move(plan))),
      directory_(context_.planes),
      agents_(context_.planes, directory_, context_.log, plan_->policy_,
              std::make_shared<const ServiceMappings>(plan_->config_.service_mappings)),
      enrolling_(context_.planes.home(), context_.log, agents_),
      gateway_(context_.planes, context_.log, directory_),
      port_context_(make_port_context(directory_, context_.log, gateway_)),
      ports_(context_.planes, context_.log, &context_.inherited),
      on_premise_ports_(context_.planes, context_.log, &context_.inherited),
      key_fetcher_(context_.planes.home(), context_.log),
      target_check_(context_.planes.home(), context_.log),
      cluster_numbers_(std::make_shared<const ClusterNumbers>()) {}

Result<ServerService::Staged> ServerService::stage(const ServerPlan& plan) {
  auto ports = ports_.stage(ports_of(plan.config_, port_context_));
  if (!ports) return std::unexpected(ports.error());
  auto enrolling = enrolling_.stage(plan.enrolment_, plan.cluster_.has_value());
  if (!enrolling) return std::unexpected(enrolling.error());
  Staged staged;
  staged.enrolling = std::move(*enrolling);
  staged.ports = std::move(*ports);
  if (!plan.issuers_.empty())
    staged.tokens = std::make_shared<TokenCheck>(plan.issuers_, context_.planes.workers().size());
  if (!plan.gateway_issuers_.empty())
    staged.gateway_tokens = std::make_shared<TokenCheck>(plan.gateway_issuers_, context_.planes.workers().size());
  if (plan.config_.http_proxy)
    staged.http_rules = http_proxy_rules(*plan.config_.http_proxy, staged.tokens, passwords_);
  if (plan.config_.socks5_proxy)
    staged.socks5_rules = socks5_rules(*plan.config_.socks5_proxy, staged.tokens, passwords_);
  staged.head_limits = std::make_shared<const http::HeadLimits>(head_limits_of(plan.config_.limits));
  return staged;
}

/// Replaces a check of tokens. Keys that are known go on.
void ServerService::keep_keys(std::shared_ptr<TokenCheck>& tokens, std::shared_ptr<TokenCheck> next) {
  const auto older = std::exchange(tokens, std::move(next));
  for (const TokenIssuer& issuer : tokens ? tokens->issuers() : std::vector<TokenIssuer>())
    key_fetcher_.keep(issuer.keys, older ? older->keys_of(issuer.settings.issuer) : nullptr);
}

void ServerService::commit(Staged staged) {
  keep_keys(tokens_, std::move(staged.tokens));
  keep_keys(gateway_tokens_, std::move(staged.gateway_tokens));
  // If a proxy was removed, its old rules apply to its open connections.
  if (staged.http_rules) port_context_.http->rules.publish(std::move(staged.http_rules));
  const std::optional<GatewayPlan>& gateway = plan_->gateway_;
  gateway_.commit(gateway ? &*gateway : nullptr, gateway_tokens_, passwords_, staged.head_limits);
  port_context_.http->head_limits.publish(std::move(staged.head_limits));
  if (staged.socks5_rules) port_context_.socks5->rules.publish(std::move(staged.socks5_rules));
  ports_.commit(std::move(staged.ports));
}

void ServerService::close_ports() {
  ports_.close();
  on_premise_ports_.close();
}

Result<void> ServerService::start() {
  gateway_.on_login_refused([this] {
    if (cluster_) cluster_->look_at_secrets();
  });
  auto staged = stage(*plan_);
  if (!staged) return std::unexpected(staged.error());
  publish_replicas();
  if (auto listening = agents_.listen(plan_->config_.tunnel.listen); !listening) return listening;
  auto enrolling = std::move(staged->enrolling);
  commit(std::move(*staged));
  enrolling_.start();
  follow_cluster();
  enrol(std::move(enrolling));
  return {};
}

/// Starts to follow the cluster of the plan. Also if it is the same one, since its certificates may have changed. The
/// objects of the old one apply until the new one is synced.
void ServerService::follow_cluster() {
  std::erase_if(retired_, [](const auto& each) { return each->is_over(); });
  ClusterState known = known_cluster();
  if (cluster_) {
    was_synced_ = was_synced_ || cluster_->is_synced();
    cluster_->request_stop();
    retired_.push_back(std::move(cluster_));
  }
  const std::optional<ClusterPlan>& wanted = plan_->cluster_;
  if (wanted) {
    const Cluster::Hooks hooks{.agents = [this] { return directory_.keys(); },
                               .changed = [this](ClusterPart part) { publish_cluster(part); },
                               .connected = [this] { return connected_agents(); }};
    ClusterPlan plan = *wanted;
    if (const std::optional<EnrolmentPlan>& enrolment = plan_->enrolment_)
      plan.enrolment = enrolment_in_cluster(enrolment->settings);
    cluster_ =
        std::make_unique<Cluster>(context_.planes.home(), context_.log, std::move(plan), std::move(known), hooks);
    cluster_->start();
  } else {
    was_synced_ = false;
  }
  publish_cluster(ClusterPart::destinations);
  publish_cluster(ClusterPart::numbers);
}

ClusterEnrolment ServerService::enrolment_in_cluster(const EnrolmentSettings& settings) const {
  return {[this](const AgentRecord& agent, std::string_view id, const protocol::TokenSecret& secret) {
            return enrolling_.token_text(agent, id, secret);
          },
          settings.join_token_lifetime, settings.issuer};
}

std::vector<ConnectedAgent> ServerService::connected_agents() const {
  std::vector<ConnectedAgent> all;
  for (AgentDirectory::Connected& link : agents_.connected())
    all.push_back({std::move(link.key), std::move(link.serial), std::move(link.software)});
  return all;
}

/// After follow_cluster(): the agents are the cluster's, if there is one.
void ServerService::enrol(Enrolling::Staged staged) {
  Certificates certificates{{"tunnel", plan_->policy_->tls.not_after()}};
  if (const std::optional<EnrolmentPlan>& enrolment = plan_->enrolment_) {
    if (const std::optional<Authority>& authority = enrolment->authority)
      certificates.emplace_back("authority", authority->facts().not_after);
  }
  certificates_.publish(std::make_shared<const Certificates>(std::move(certificates)));
  enrolling_.commit(plan_->enrolment_, std::move(staged), cluster_ ? cluster_->agents() : nullptr,
                    cluster_ ? cluster_->signer() : nullptr);
}

const ClusterState& ServerService::known_cluster() const {
  static const ClusterState nothing;
  return cluster_ ? cluster_->state() : nothing;
}

void ServerService::publish_cluster(ClusterPart changed) {
  switch (changed) {
    case ClusterPart::mappings: return publish_mappings();
    case ClusterPart::ports: return publish_ports();
    case ClusterPart::replicas: return publish_replicas();
    case ClusterPart::agents: return enrolling_.publish_agents();
    case ClusterPart::destinations: return gateway_.follow_cluster(known_cluster().destinations);
    case ClusterPart::targets: return gateway_.follow_cluster(known_cluster().targets);
    case ClusterPart::numbers:
      return cluster_numbers_.publish(std::make_shared<const ClusterNumbers>(known_cluster().numbers));
  }
}

void ServerService::publish_ports() {
  const std::optional<OnPremiseSettings>& settings = plan_->config_.on_premise_services;
  if (leaving_) return;
  std::vector<ClientPort::Settings> wanted;
  if (settings) {
    for (const OnPremisePort& port : known_cluster().ports)
      wanted.push_back(port_of("on_premise_service", port, settings->port, port_context_));
  }
  const std::optional<GatewaySettings>& gateway = plan_->config_.gateway;
  if (gateway && gateway->destination_ports) {
    ListenSettings listen = gateway->port;
    listen.listen.host = gateway->destination_ports->host;
    for (const OnPremisePort& port : known_cluster().destination_ports)
      wanted.push_back(port_of("destination", port, listen, port_context_));
  }
  on_premise_ports_.change_each(std::move(wanted), [this](const std::string& name, const Error& error) {
    const bool is_destination = name.starts_with("destination ");
    context_.log.limited(Log::Level::error, is_destination ? "destination.port_failed" : "on_premise_service.failed",
                         {{"object", name.substr(name.find(' ') + 1)}, {"code", error.code}, {"text", error.text}});
  });
}

/// Publishes the names of the replicas: from the cluster if it is configured to provide them, otherwise from the file.
void ServerService::publish_replicas() {
  const std::optional<KubernetesSettings>& cluster = plan_->config_.kubernetes;
  if (cluster && !cluster->replicas_service.empty())
    return agents_.set_replicas(cluster->identity, known_cluster().replicas);
  agents_.set_replicas(plan_->config_.tunnel.replica, plan_->config_.tunnel.replicas);
}

/// Publishes the service mappings of the file, then those of the cluster: if both name a service, the first counts.
void ServerService::publish_mappings() {
  std::vector<ServiceMapping> all = plan_->config_.service_mappings;
  const std::vector<ServiceMapping>& more = known_cluster().mappings;
  all.insert(all.end(), more.begin(), more.end());
  agents_.change_mappings(std::make_shared<const ServiceMappings>(all));
}

Result<void> ServerService::reload(std::unique_ptr<Plan> plan) {
  auto fresh = own(std::move(plan));
  auto staged = stage(*fresh);
  if (!staged) return std::unexpected(staged.error());
  if (fresh->config_.tunnel.listen != plan_->config_.tunnel.listen) {
    if (auto listening = agents_.listen(fresh->config_.tunnel.listen); !listening) return listening;
  }
  plan_ = std::move(fresh);
  auto enrolling = std::move(staged->enrolling);
  commit(std::move(*staged));
  publish_replicas();
  follow_cluster();
  enrol(std::move(enrolling));
  agents_.change(plan_->policy_);
  publish_mappings();
  publish_ports();
  return {};
}

void ServerService::drain(std::chrono::steady_clock::time_point deadline, std::function<void()> done) {
  leaving_ = true;
  close_ports();
  agents_.drain(leave_within);
  context_.planes.on_each([](DataPlane& plane) { plane.drain_clients(); });
  if (cluster_) cluster_->leave();
  context_.planes.when_idle(
      [this](DataPlane& plane) {
        const bool is_leaving = plane.worker().index() == 0 && cluster_ && !cluster_->has_left();
        return is_leaving || !plane.is_idle() || !plane.tunnels().empty();
      },
      deadline, done);
}

void ServerService::stop(std::function<void()> done) {
  leaving_ = true;
  close_ports();
  passwords_.close();
  key_fetcher_.request_stop();
  if (cluster_) cluster_->request_stop();
  target_check_.request_stop();
  enrolling_.request_stop();
  gateway_.request_stop();
  const auto finish = [this, done = std::move(done)] {
    // A cancelled fetch ends in one of the next turns.
    context_.planes.when_idle(
        [this](DataPlane& plane) {
          const auto over = [](const auto& each) { return each->is_over(); };
          if (!gateway_.is_over(plane)) return true;
          return plane.worker().index() == 0 &&
                 !(key_fetcher_.is_over() && target_check_.is_over() && enrolling_.is_over() &&
                   (!cluster_ || over(cluster_)) && std::ranges::all_of(retired_, over));
        },
        std::chrono::steady_clock::time_point::max(), done);
  };
  agents_.stop(finish);
}

void ServerService::status(std::function<void(boost::json::object)> done) {
  boost::json::array clusters;
  if (cluster_) clusters.push_back(cluster_->status());
  gather_tunnels(
      context_.planes,
      [this](const Tunnel& tunnel, boost::json::object& object) {
        const AgentIdentity* identity = agents_.identity_of(tunnel);
        if (identity == nullptr) return;
        object["agent"] = identity->spiffe_id;
        object["account"] = identity->account;
        object["location"] = identity->location;
        object["serial"] = identity->serial;
      },
      [enrolled = enrolling_.status(), ports = ports_.status("virtual_listeners"), gateway = gateway_.status(),
       proxies = ports_.status("proxies"), clusters = std::move(clusters),
       done = std::move(done)](boost::json::array tunnels) {
        done({{"program", "culvert-server"},
              {"version", CULVERT_VERSION},
              {"tunnels", std::move(tunnels)},
              {"agents", enrolled},
              {"virtual_listeners", ports},
              {"proxies", proxies},
              {"gateway", gateway},
              {"kubernetes", clusters}});
      });
}

void ServerService::check_targets(std::function<void(boost::json::array)> done) {
  std::vector<StreamTarget> targets;
  for (const ServiceMapping& mapping : plan_->config_.service_mappings) {
    StreamTarget target;
    target.endpoint = mapping.internal_address;
    target.name = fmt::format("{} of account {}", mapping.service_id, mapping.account);
    targets.push_back(std::move(target));
  }
  target_check_.start(std::move(targets), [done = std::move(done)](const auto& outcomes) { done(to_json(outcomes)); });
}

void ServerService::command(const std::string&, const std::string& arguments,
                            std::function<void(Result<std::string>)> done) {
  enrolling_.command(arguments, std::move(done));
}

Readiness ServerService::readiness() {
  if (cluster_ && !was_synced_ && !cluster_->is_synced()) return {false, "the cluster's objects are not received yet"};
  if (gateway_.is_beginning()) return {false, "the gateway's targets are not made yet"};
  return {true, ""};
}

void ServerService::collect(MetricsPage& page) {
  page.counter("culvert_tunnels_refused_total", "Connections to the tunnel port that presented no accepted identity.",
               {}, agents_.refused_handshakes());
  page.counter("culvert_tunnel_probes_total",
               "Connections to the tunnel port that were closed without a byte, as by a health check.", {},
               agents_.probes());
  enrolling_.collect(page);
  gateway_.collect(page);
  const auto certificates = certificates_.get();
  for (const auto& [name, not_after] : *certificates) {
    page.gauge("culvert_certificate_expiry_seconds", "Time until the certificate ends; negative afterwards.",
               {{"certificate", name}}, seconds_left(not_after));
  }
  const auto cluster = cluster_numbers_.get();
  const auto count = [&page](std::string_view kind, std::size_t objects) {
    page.gauge("culvert_kubernetes_objects", "Objects of the cluster that the server follows.", {{"kind", kind}},
               static_cast<double>(objects));
  };
  count("ServiceMapping", cluster->service_mappings);
  count("OnPremiseService", cluster->on_premise_services);
  count("Agent", cluster->agents);
  count("Destination", cluster->destinations);
  page.gauge("culvert_kubernetes_synced", "1 once all objects are received from the cluster.", {},
             cluster->is_synced ? 1 : 0);
  page.gauge("culvert_kubernetes_writer", "1 on the replica that holds the Lease, and writes.", {},
             cluster->is_writer ? 1 : 0);
  page.gauge("culvert_kubernetes_replicas", "Replicas that are ready, according to the cluster.", {},
             static_cast<double>(cluster->replicas));
  const auto requests = [&page](std::string_view result, std::uint64_t requests) {
    page.counter("culvert_kubernetes_requests_total", "Requests to the API server, by outcome.", {{"result", result}},
                 requests);
  };
  requests("good", cluster->requests.good);
  requests("refused", cluster->requests.refused);
  requests("failed", cluster->requests.failed);
}

}  // namespace culvert::server
