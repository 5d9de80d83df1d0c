// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/cluster.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/core.h>

#include "common/admin/defect.hpp"
#include "common/net/deadline.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {

namespace asio = boost::asio;
namespace json = boost::json;
using namespace std::chrono_literals;

namespace {

constexpr auto discovery_interval = 5s;
constexpr auto count_interval = 1s;
constexpr auto leave_time_max = 2s;
constexpr const char* gateway_service = "central-application-gateway";  ///< As the chart and Kyma name it.
constexpr std::array slice_versions{"v1", "v1beta1"};                   ///< The better one first.

/// The version in which the API server serves EndpointSlices, of those that this program knows.
asio::awaitable<Result<std::string>> served_version(ApiClient& client) {
  auto answer = co_await client.get("/apis/discovery.k8s.io");
  if (!answer) co_return std::unexpected(answer.error());
  const json::object* group = answer->body.if_object();
  if (!answer->is_good() || group == nullptr) co_return fail("kubernetes.refused", answer->error_text());
  const json::array* served = array_at(*group, "versions");
  for (const char* wanted : slice_versions) {
    for (const json::value& each : served == nullptr ? json::array() : *served) {
      if (each.is_object() && text_at(each.get_object(), "version") == wanted) co_return std::string(wanted);
    }
  }
  co_return fail("kubernetes.refused", "discovery.k8s.io is served in no version that this program knows");
}

}  // namespace

Result<ApiAccess> load_access(const KubernetesSettings& settings) {
  ApiAccess access{settings.api_server, std::nullopt, settings.token_file};
  if (!settings.is_secure) return access;
  auto tls = TlsContext::for_backend({settings.ca, settings.client_certificate, settings.client_key});
  if (!tls) return std::unexpected(tls.error());
  access.tls = std::move(*tls);
  return access;
}

Cluster::Cluster(Worker& home, Log& log, ClusterPlan plan, ClusterState known, Hooks hooks)
    : log_(log),
      plan_(std::move(plan)),
      hooks_(std::move(hooks)),
      state_(std::move(known)),
      shared_client_(std::make_shared<ApiClient>(home.context().get_executor(), plan_.access)),
      client_(*shared_client_),
      lease_(home.context().get_executor(), client_, log, plan_.settings.name_space, "culvert-server",
             plan_.settings.identity),
      replicas_(client_, log, plan_.settings, lease_,
                {.agents = hooks_.agents,
                 .changed =
                     [this] {
                       state_.replicas.clear();
                       for (const Replica& replica : replicas_.ready()) state_.replicas.push_back(replica.name);
                       hooks_.changed(ClusterPart::replicas);
                     }}),
      mappings_(home.context().get_executor(), client_, log, plan_.settings, lease_,
                {.publish =
                     [this](std::vector<ServiceMapping> table) {
                       state_.mappings = std::move(table);
                       hooks_.changed(ClusterPart::mappings);
                     },
                 .has_agent = [this](const std::string& account,
                                     const std::string& location) { return replicas_.has_agent(account, location); }}),
      tasks_(home.context().get_executor(), report_defect(log, "kubernetes")) {
  if (plan_.on_premise) {
    on_premise_.emplace(home.context().get_executor(), client_, log, *plan_.on_premise, plan_.settings, lease_,
                        replicas_, [this](std::vector<OnPremisePort> ports) {
                          state_.ports = std::move(ports);
                          hooks_.changed(ClusterPart::ports);
                        });
  }
  if (plan_.enrolment)
    enrol(home, *plan_.enrolment);
  else
    state_.agents = nullptr;
  if (plan_.gateway) {
    applications_.emplace(home.context().get_executor(), client_, log, application_rules(*plan_.gateway), lease_,
                          [this](ApplicationController::Targets targets) {
                            state_.targets = std::move(targets);
                            hooks_.changed(ClusterPart::targets);
                          });
  } else {
    state_.targets = nullptr;
  }
  follow_destinations(home);
}

void Cluster::follow_destinations(Worker& home) {
  if (!plan_.gateway || !plan_.gateway->destination_ports) {
    state_.destinations = nullptr;
    state_.destination_ports.clear();
    return;
  }
  destinations_.emplace(home.context().get_executor(), client_, log_, *plan_.gateway, plan_.settings.name_space, lease_,
                        replicas_,
                        DestinationController::Hooks{.ports =
                                                         [this](std::vector<OnPremisePort> ports) {
                                                           state_.destination_ports = std::move(ports);
                                                           hooks_.changed(ClusterPart::ports);
                                                         },
                                                     .definitions =
                                                         [this](std::shared_ptr<const DestinationTexts> texts) {
                                                           state_.destinations = std::move(texts);
                                                           hooks_.changed(ClusterPart::destinations);
                                                         }});
}

ApplicationRules Cluster::application_rules(const GatewaySettings& gateway) const {
  const KubernetesSettings& settings = plan_.settings;
  return {.allow_skip_verify = gateway.allow_skip_verify,
          .accounts = plan_.on_premise ? plan_.on_premise->accounts : std::vector<std::string>(),
          .name_space = settings.name_space,
          .gateway_host = fmt::format("{}.{}{}", gateway_service, settings.name_space, settings.service_suffix)};
}

void Cluster::enrol(Worker& home, const ClusterEnrolment& enrolment) {
  const KubernetesSettings& settings = plan_.settings;
  agents_ = std::make_shared<ClusterAgents>(home.context().get_executor(), shared_client_, log_, settings.name_space,
                                            state_.agents, [this] {
                                              state_.agents = agents_->agents();
                                              hooks_.changed(ClusterPart::agents);
                                            });
  agent_controller_.emplace(client_, log_, settings, enrolment, lease_, replicas_, *agents_, hooks_.connected);
  if (enrolment.issuer)
    signer_ = std::make_shared<CertificateRequests>(shared_client_, log_, settings.name_space, *enrolment.issuer);
}

void Cluster::start() {
  tasks_.spawn(lease_.run());
  mappings_.start(tasks_);
  if (agents_) agents_->start(tasks_);
  if (agent_controller_) agent_controller_->start(tasks_);
  if (applications_) applications_->start(tasks_);
  tasks_.spawn(discover());
  tasks_.spawn(count());
}

void Cluster::leave() {
  if (!leave_until_) leave_until_ = std::chrono::steady_clock::now() + leave_time_max;
  lease_.leave();
}

bool Cluster::has_left() const {
  return lease_.has_left() || (leave_until_ && std::chrono::steady_clock::now() >= *leave_until_);
}

/// What follows EndpointSlices starts when it is known in which version they are served.
asio::awaitable<void> Cluster::discover() {
  const KubernetesSettings& settings = plan_.settings;
  std::string version;
  while (version.empty() && (settings.endpoint_slices || !settings.replicas_service.empty())) {
    auto found = co_await served_version(client_);
    if (found) {
      version = *found;
      break;
    }
    log_.limited(Log::Level::warn, "kubernetes.unreachable",
                 {{"path", "/apis/discovery.k8s.io"},
                  {"code", found.error().code},
                  {"text", found.error().text},
                  {"hint", "the server tries again"}});
    co_await wait_for(discovery_interval);
  }
  replicas_.start(tasks_, version);
  mappings_.follow_endpoints(tasks_, version);
  if (on_premise_) on_premise_->start(tasks_, version);
  if (destinations_) destinations_->start(tasks_, version);
}

void Cluster::look_at_secrets() {
  if (applications_) applications_->look_at_secrets();
  if (destinations_) destinations_->look_at_secrets();
}

bool Cluster::is_synced() const {
  return mappings_.is_synced() && replicas_.is_synced() && (!on_premise_ || on_premise_->is_synced()) &&
         (!agents_ || agents_->is_synced()) && (!applications_ || applications_->is_synced()) &&
         (!destinations_ || destinations_->is_synced());
}

json::object Cluster::status() const {
  json::array replicas;
  for (const auto& replica : replicas_.ready()) replicas.emplace_back(replica.name);
  return {{"api_server", to_string(plan_.settings.api_server)},
          {"synced", is_synced()},
          {"identity", plan_.settings.identity},
          {"replicas", std::move(replicas)},
          {"service_mappings", mappings_.objects()},
          {"on_premise_services", on_premise_ ? on_premise_->objects() : 0},
          {"agents", agents_ ? agents_->objects().size() : 0},
          {"applications", applications_ ? applications_->objects() : 0},
          {"destinations", destinations_ ? destinations_->objects() : 0},
          {"writes_status", lease_.is_ours()}};
}

asio::awaitable<void> Cluster::count() {
  for (;;) {
    state_.numbers = {.is_synced = is_synced(),
                      .is_writer = lease_.is_ours(),
                      .replicas = replicas_.ready().size(),
                      .service_mappings = mappings_.objects(),
                      .on_premise_services = on_premise_ ? on_premise_->objects() : 0,
                      .agents = agents_ ? agents_->objects().size() : 0,
                      .applications = applications_ ? applications_->objects() : 0,
                      .destinations = destinations_ ? destinations_->objects() : 0,
                      .requests = client_.counts()};
    hooks_.changed(ClusterPart::numbers);
    co_await wait_for(count_interval);
  }
}

}  // namespace culvert::server
