// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/cluster.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

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
constexpr std::array slice_versions{"v1", "v1beta1"};  ///< The better one first.

/// Which of the versions that we know a group is served in.
asio::awaitable<Result<std::string>> served_version(ApiClient& client) {
  auto answer = co_await client.get("/apis/discovery.k8s.io");
  if (!answer) co_return std::unexpected(answer.error());
  const json::object* group = answer->body.if_object();
  if (!answer->is_good() || group == nullptr) co_return fail("kubernetes.refused", answer->complaint());
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

Cluster::Cluster(Worker& home, Log& log, ClusterPlan plan, Hooks hooks)
    : log_(log),
      plan_(std::move(plan)),
      hooks_(std::move(hooks)),
      client_(home.context().get_executor(), plan_.access),
      lease_(client_, log, plan_.settings.name_space, "culvert-server", plan_.settings.identity),
      replicas_(client_, log, plan_.settings, lease_,
                {.agents = hooks_.agents,
                 .changed =
                     [this] {
                       std::vector<std::string> names;
                       names.reserve(replicas_.ready().size());
                       for (const auto& replica : replicas_.ready()) names.push_back(replica.name);
                       hooks_.publish_replicas(std::move(names));
                     }}),
      mappings_(home.context().get_executor(), client_, log, plan_.settings, lease_,
                {.publish = hooks_.publish_mappings,
                 .has_agent = [this](const std::string& account,
                                     const std::string& location) { return replicas_.has_agent(account, location); }}),
      tasks_(home.context().get_executor(), report_defect(log, "kubernetes")) {
  if (plan_.on_premise) {
    on_premise_.emplace(home.context().get_executor(), client_, log, *plan_.on_premise, plan_.settings, lease_,
                        replicas_, hooks_.publish_ports);
  }
}

void Cluster::start() {
  tasks_.spawn(lease_.run());
  mappings_.start(tasks_);
  tasks_.spawn(discover());
  tasks_.spawn(count());
}

void Cluster::leave() {
  if (tasks_.is_stopping()) return;
  tasks_.spawn(release());
}

asio::awaitable<void> Cluster::release() {
  asio::steady_timer patience(co_await asio::this_coro::executor, leave_time_max);
  patience.async_wait([this](const boost::system::error_code& error) {
    if (!error) has_left_ = true;
  });
  co_await lease_.release();
  has_left_ = true;
}

/// Whatever follows EndpointSlices begins when it is known what they are called.
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
                  {"hint", "it is tried again"}});
    co_await wait_for(discovery_interval);
  }
  replicas_.start(tasks_, version);
  mappings_.follow_endpoints(tasks_, version);
  if (on_premise_) on_premise_->start(tasks_, version);
}

bool Cluster::is_synced() const {
  return mappings_.is_synced() && replicas_.is_synced() && (!on_premise_ || on_premise_->is_synced());
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
          {"writes_status", lease_.is_ours()}};
}

asio::awaitable<void> Cluster::count() {
  for (;;) {
    hooks_.publish_numbers({is_synced(), lease_.is_ours(), replicas_.ready().size(), mappings_.objects(),
                            on_premise_ ? on_premise_->objects() : 0, client_.counts()});
    co_await wait_for(count_interval);
  }
}

}  // namespace culvert::server
