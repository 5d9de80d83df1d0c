// SPDX-License-Identifier: Apache-2.0
#include "server/server.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include <boost/json/array.hpp>
#include <fmt/core.h>

#include "common/tunnel/tunnel_statuses.hpp"
#include "server/virtual_listener.hpp"

namespace culvert::server {
namespace {

/// Agents that are asked to leave spread themselves over this time.
constexpr std::chrono::milliseconds leave_within{5'000};

std::vector<LocalPort::Settings> ports_of(const Config& config) {
  std::vector<LocalPort::Settings> ports;
  ports.reserve(config.virtual_listeners.size());
  for (const VirtualListener& listener : config.virtual_listeners) {
    ports.push_back(port_of(listener, fmt::format("virtual_listener {}", to_string(listener.virtual_host))));
  }
  return ports;
}

ServerPlan& plan_of(Plan& plan) {
  return static_cast<ServerPlan&>(plan);
}

std::unique_ptr<ServerPlan> own(std::unique_ptr<Plan> plan) {
  return std::unique_ptr<ServerPlan>(&plan_of(*plan.release()));
}

/// A new proxy where one is wanted at an address that none has; else nullptr.
template <typename Proxy, typename Rules>
Result<std::unique_ptr<Proxy>> staged_proxy(const Proxy* standing, const std::optional<Rules>& wanted,
                                            const Surroundings& around, const TunnelDirectory& directory) {
  if (!wanted || (standing != nullptr && standing->settings().port.listen == wanted->settings.port.listen))
    return nullptr;
  return Proxy::open(around.planes, directory, around.log, *wanted);
}

template <typename Proxy, typename Rules>
void commit_proxy(std::unique_ptr<Proxy>& standing, std::optional<Rules> wanted, std::unique_ptr<Proxy> staged) {
  if (staged || !wanted) {
    standing = std::move(staged);
  } else {
    standing->change(std::move(*wanted));
  }
}

CheckToken check_by(std::shared_ptr<TokenCheck> tokens) {
  return [tokens = std::move(tokens)](std::string_view token, const std::string& location,
                                      std::size_t worker) -> std::expected<ProxyRoute, std::string> {
    auto account = tokens->account_of(token, worker, std::chrono::system_clock::now());
    if (!account) return std::unexpected(std::string(account.error()->code));
    return ProxyRoute{std::move(*account), location};
  };
}

}  // namespace

Result<std::unique_ptr<Plan>> ServerPlan::load(const ConfigSource& source) {
  auto config = load_config(source);
  if (!config) return std::unexpected(config.error());
  auto tls = TlsContext::for_server(config->tunnel.credentials);
  if (!tls) return fail(tls.error().code, fmt::format("{}: [tunnel]: {}", source.name(), tls.error().text));
  auto plan = std::make_unique<ServerPlan>();
  plan->config_ = std::move(*config);
  const Config& checked = plan->config_;
  plan->settings_ = {checked.log, checked.admin, checked.metrics, checked.limits, files_of(checked)};
  if (checked.http_proxy) {
    for (const IssuerSettings& issuer : checked.http_proxy->callers.issuers) {
      auto keys = IssuerKeys::load(issuer);
      if (!keys)
        return fail(keys.error().code, fmt::format("{}: [[http_proxy.issuer]]: {}", source.name(), keys.error().text));
      plan->issuers_.push_back({issuer, std::move(*keys)});
    }
  }
  if (checked.kubernetes) {
    auto access = load_access(*checked.kubernetes);
    if (!access)
      return fail(access.error().code, fmt::format("{}: [kubernetes]: {}", source.name(), access.error().text));
    plan->cluster_ = ClusterPlan{*checked.kubernetes, checked.on_premise_services, std::move(*access)};
  }
  plan->policy_ =
      std::make_shared<const TunnelPolicy>(TunnelPolicy{std::move(*tls),
                                                        checked.tunnel.trust_domain,
                                                        Denials(checked.deny.certificate_serials, checked.deny.agents),
                                                        ServiceMappings(checked.service_mappings),
                                                        {checked.limits.streams_per_link_max, checked.limits.dials_max},
                                                        checked.tunnel.congestion_control});
  return plan;
}

ServerService::ServerService(const Surroundings& around, std::unique_ptr<Plan> plan)
    : around_(around),
      plan_(own(std::move(plan))),
      directory_(around_.planes),
      agents_(around_.planes, directory_, around_.log, plan_->policy_),
      ports_(around_.planes, directory_, around_.log, &around_.inherited),
      key_fetcher_(around_.planes.home(), around_.log),
      target_check_(around_.planes.home(), around_.log),
      on_premise_ports_(around_.planes, directory_, around_.log),
      cluster_numbers_(std::make_shared<const ClusterNumbers>()) {}

Result<ServerService::Staged> ServerService::stage(const ServerPlan& plan) {
  Staged staged;
  auto ports = ports_.stage(ports_of(plan.config_));
  if (!ports) return std::unexpected(ports.error());
  staged.ports = std::move(*ports);
  std::shared_ptr<TokenCheck> tokens;
  if (!plan.issuers_.empty()) tokens = std::make_shared<TokenCheck>(plan.issuers_, around_.planes.workers().size());
  if (plan.config_.http_proxy) staged.http_rules = HttpProxyRules{*plan.config_.http_proxy, tokens};
  if (plan.config_.socks5_proxy) {
    staged.socks5_rules = Socks5Rules{*plan.config_.socks5_proxy, {}};
    if (tokens && plan.config_.socks5_proxy->takes_tokens) staged.socks5_rules->check_token = check_by(tokens);
  }
  auto http = staged_proxy(http_proxy_.get(), staged.http_rules, around_, directory_);
  if (!http) return std::unexpected(http.error());
  staged.http_proxy = std::move(*http);
  auto socks5 = staged_proxy(socks5_proxy_.get(), staged.socks5_rules, around_, directory_);
  if (!socks5) return std::unexpected(socks5.error());
  staged.socks5_proxy = std::move(*socks5);
  return staged;
}

void ServerService::commit(Staged staged) {
  const auto older = std::exchange(tokens_, staged.http_rules ? staged.http_rules->tokens : nullptr);
  for (const TokenIssuer& issuer : tokens_ ? tokens_->issuers() : std::vector<TokenIssuer>())
    key_fetcher_.keep(issuer.keys, older ? older->keys_of(issuer.settings.issuer) : nullptr);
  ports_.commit(std::move(staged.ports));
  commit_proxy(http_proxy_, std::move(staged.http_rules), std::move(staged.http_proxy));
  commit_proxy(socks5_proxy_, std::move(staged.socks5_rules), std::move(staged.socks5_proxy));
}

void ServerService::close_doors() {
  ports_.close();
  on_premise_ports_.close();
  http_proxy_.reset();
  socks5_proxy_.reset();
}

Result<void> ServerService::start() {
  auto staged = stage(*plan_);
  if (!staged) return std::unexpected(staged.error());
  publish_replicas();
  if (auto listening = agents_.listen(plan_->config_.tunnel.listen); !listening) return listening;
  commit(std::move(*staged));
  follow_cluster();
  return {};
}

/// The cluster that the plan names; one that stays the same is followed anew, too, since certificates may be others.
/// What was known of it stays in force until the new one knows.
void ServerService::follow_cluster() {
  std::erase_if(retired_, [](const auto& each) { return each->is_over(); });
  if (cluster_) {
    was_synced_ = was_synced_ || cluster_->is_synced();
    cluster_->request_stop();
    retired_.push_back(std::move(cluster_));
  }
  const std::optional<ClusterPlan>& wanted = plan_->cluster_;
  if (!wanted) return forget_cluster();
  Cluster::Hooks hooks;
  hooks.publish_mappings = [this](std::vector<ServiceMapping> table) {
    cluster_mappings_ = std::move(table);
    publish_policy();
  };
  hooks.publish_ports = [this](std::vector<OnPremisePort> ports) {
    cluster_ports_ = std::move(ports);
    publish_ports();
  };
  hooks.publish_replicas = [this](std::vector<std::string> names) {
    cluster_replicas_ = std::move(names);
    publish_replicas();
  };
  hooks.agents = [this] { return directory_.keys(); };
  hooks.publish_numbers = [this](const ClusterNumbers& numbers) {
    cluster_numbers_.publish(std::make_shared<const ClusterNumbers>(numbers));
  };
  cluster_ = std::make_unique<Cluster>(around_.planes.home(), around_.log, *wanted, std::move(hooks));
  cluster_->start();
}

void ServerService::forget_cluster() {
  cluster_mappings_.clear();
  cluster_ports_.clear();
  cluster_replicas_.clear();
  cluster_numbers_.publish(std::make_shared<const ClusterNumbers>());
  was_synced_ = false;
}

void ServerService::publish_ports() {
  const std::optional<OnPremiseSettings>& settings = plan_->config_.on_premise_services;
  if (leaving_) return;
  on_premise_ports_.change(settings ? cluster_ports_ : std::vector<OnPremisePort>(),
                           settings ? settings->port : ListenSettings());
}

/// Who we are and who else, as the cluster says or else the file.
void ServerService::publish_replicas() {
  const std::optional<KubernetesSettings>& cluster = plan_->config_.kubernetes;
  if (cluster && !cluster->replicas_service.empty()) return agents_.set_replicas(cluster->identity, cluster_replicas_);
  agents_.set_replicas(plan_->config_.tunnel.replica, plan_->config_.tunnel.replicas);
}

/// What the file says, and behind it what the cluster says.
void ServerService::publish_policy() {
  TunnelPolicy policy = *plan_->policy_;
  std::vector<ServiceMapping> all = plan_->config_.service_mappings;
  all.insert(all.end(), cluster_mappings_.begin(), cluster_mappings_.end());
  policy.mappings = ServiceMappings(all);
  agents_.change(std::make_shared<const TunnelPolicy>(std::move(policy)));
}

Result<void> ServerService::reload(std::unique_ptr<Plan> plan) {
  auto fresh = own(std::move(plan));
  auto staged = stage(*fresh);
  if (!staged) return std::unexpected(staged.error());
  if (fresh->config_.tunnel.listen != plan_->config_.tunnel.listen) {
    if (auto listening = agents_.listen(fresh->config_.tunnel.listen); !listening) return listening;
  }
  commit(std::move(*staged));
  plan_ = std::move(fresh);
  publish_replicas();
  follow_cluster();
  publish_policy();
  publish_ports();
  return {};
}

void ServerService::drain(std::chrono::steady_clock::time_point deadline, std::function<void()> done) {
  leaving_ = true;
  close_doors();
  agents_.drain(leave_within);
  if (cluster_) cluster_->leave();
  around_.planes.when_idle(
      [this](DataPlane& plane) {
        const bool is_leaving = plane.worker().index() == 0 && cluster_ && !cluster_->has_left();
        return is_leaving || plane.ends() > 0 || !plane.tunnels().empty();
      },
      deadline, done);
}

void ServerService::stop(std::function<void()> done) {
  leaving_ = true;
  close_doors();
  key_fetcher_.request_stop();
  if (cluster_) cluster_->request_stop();
  target_check_.request_stop();
  const auto finish = [this, done = std::move(done)] {
    // A cancelled fetch ends in the next turns of the loop.
    around_.planes.when_idle(
        [this](DataPlane& plane) {
          const auto over = [](const auto& each) { return each->is_over(); };
          return plane.worker().index() == 0 && !(key_fetcher_.is_over() && target_check_.is_over() &&
                                                  (!cluster_ || over(cluster_)) && std::ranges::all_of(retired_, over));
        },
        std::chrono::steady_clock::time_point::max(), done);
  };
  agents_.stop(finish);
}

void ServerService::status(std::function<void(boost::json::object)> done) {
  boost::json::array ports;
  for (const LocalPorts::Status& port : ports_.status()) {
    ports.push_back({{"name", port.name}, {"listen", port.listen}, {"connections", port.connections}});
  }
  boost::json::array proxies;
  const auto add_proxy = [&proxies](std::string_view name, const auto& proxy) {
    if (proxy)
      proxies.push_back({{"name", name},
                         {"listen", to_string(proxy->settings().port.listen)},
                         {"connections", proxy->connections()}});
  };
  add_proxy("http_proxy", http_proxy_);
  add_proxy("socks5_proxy", socks5_proxy_);
  boost::json::array clusters;
  if (cluster_) clusters.push_back(cluster_->status());
  gather_tunnels(
      around_.planes,
      [this](const Tunnel& tunnel, boost::json::object& object) {
        const AgentIdentity* identity = agents_.identity_of(tunnel);
        if (identity == nullptr) return;
        object["agent"] = identity->spiffe_id;
        object["account"] = identity->account;
        object["location"] = identity->location;
      },
      [ports = std::move(ports), proxies = std::move(proxies), clusters = std::move(clusters),
       done = std::move(done)](boost::json::array tunnels) {
        done({{"program", "culvert-server"},
              {"version", CULVERT_VERSION},
              {"tunnels", std::move(tunnels)},
              {"virtual_listeners", ports},
              {"proxies", proxies},
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

Readiness ServerService::readiness() {
  if (cluster_ && !was_synced_ && !cluster_->is_synced()) return {false, "the cluster's objects have not come yet"};
  return {true, ""};
}

void ServerService::collect(MetricsPage& page) {
  page.counter("culvert_tunnels_refused_total", "Connections to the tunnel port that proved no welcome identity.", {},
               agents_.refused_handshakes());
  const auto cluster = cluster_numbers_.get();
  const auto count = [&page](std::string_view kind, std::size_t objects) {
    page.gauge("culvert_kubernetes_objects", "Objects of the cluster that are followed.", {{"kind", kind}},
               static_cast<double>(objects));
  };
  count("ServiceMapping", cluster->service_mappings);
  count("OnPremiseService", cluster->on_premise_services);
  page.gauge("culvert_kubernetes_synced", "1 once all that was asked for has come from the cluster.", {},
             cluster->is_synced ? 1 : 0);
  page.gauge("culvert_kubernetes_writer", "1 on the replica that holds the Lease, and writes.", {},
             cluster->is_writer ? 1 : 0);
  page.gauge("culvert_kubernetes_replicas", "Replicas that are ready, as the cluster says.", {},
             static_cast<double>(cluster->replicas));
  const auto requests = [&page](std::string_view result, std::uint64_t requests) {
    page.counter("culvert_kubernetes_requests_total", "Questions to the API server, by what became of them.",
                 {{"result", result}}, requests);
  };
  requests("good", cluster->requests.good);
  requests("refused", cluster->requests.refused);
  requests("failed", cluster->requests.failed);
}

}  // namespace culvert::server
