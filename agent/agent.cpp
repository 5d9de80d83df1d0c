// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.hpp"

#include <algorithm>
#include <utility>

#include <boost/json/array.hpp>
#include <fmt/core.h>

#include "common/base/instance.hpp"
#include "common/tunnel/tunnel_statuses.hpp"

namespace culvert::agent {
namespace {

constexpr std::chrono::seconds stop_time_max{5};
constexpr std::chrono::seconds succeed_time_max{10};

std::vector<LocalPort::Settings> ports_of(const Config& config) {
  std::vector<LocalPort::Settings> ports;
  for (const Channel& channel : config.channels) {
    LocalPort::Settings port;
    port.port = channel.port;
    port.key = channel.server;
    port.open.kind = protocol::Open::Kind::service;
    port.open.name = channel.service_id;
    port.name = fmt::format("channel {}", channel.service_id);
    port.far_end = fmt::format("server {}", channel.server);
    ports.push_back(std::move(port));
  }
  return ports;
}

/// Unique in a configuration.
std::string name_of(const SystemMapping& mapping) {
  return mapping.server + " " + to_string(mapping.virtual_host);
}

std::unique_ptr<AgentPlan> own(std::unique_ptr<Plan> plan) {
  return std::unique_ptr<AgentPlan>(static_cast<AgentPlan*>(plan.release()));
}

}  // namespace

Result<std::unique_ptr<Plan>> AgentPlan::load(const ConfigSource& source) {
  auto config = load_config(source);
  if (!config) return std::unexpected(config.error());
  auto plan = std::make_unique<AgentPlan>();
  plan->config_ = std::move(*config);
  const Config& checked = plan->config_;
  for (const Server& server : checked.servers) {
    auto tls = TlsContext::for_agent(server.credentials);
    if (!tls)
      return fail(tls.error().code, fmt::format("{}: [[server]] {}: {}", source.name(), server.name, tls.error().text));
    plan->tls_.push_back(std::move(*tls));
  }
  auto mappings = SystemMappings::load(checked.system_mappings);
  if (!mappings) return fail(mappings.error().code, fmt::format("{}: {}", source.name(), mappings.error().text));
  plan->mappings_ = std::make_shared<SystemMappings>(std::move(*mappings));
  plan->settings_ = {checked.log, checked.admin, checked.metrics, checked.limits, files_of(checked)};
  return plan;
}

AgentService::AgentService(const Surroundings& around, std::unique_ptr<Plan> plan)
    : around_(around),
      plan_(own(std::move(plan))),
      directory_(around_.planes),
      mappings_(plan_->mappings_),
      link_surroundings_{
          around_.planes, directory_,
          around_.log,    random_instance(),
          acceptors_,     pools_,
          mappings_,      {plan_->settings_.limits.streams_per_link_max, plan_->settings_.limits.dials_max}},
      ports_(around_.planes, directory_, around_.log, &around_.inherited),
      target_check_(around_.planes.home(), around_.log) {
  for (std::size_t i = 0; i < around_.planes.size(); ++i) {
    acceptors_.push_back(std::make_unique<StreamAcceptor>(around_.planes.plane(i), around_.log));
    pools_.push_back(std::make_unique<BackEndPool>(around_.planes.plane(i)));
  }
}

AgentService::~AgentService() = default;

Result<void> AgentService::start() {
  auto staged = ports_.stage(ports_of(plan_->config_));
  if (!staged) return std::unexpected(staged.error());
  ports_.commit(std::move(*staged));
  take_links(*plan_);
  check_loaded_targets();
  return {};
}

/// A server that stays where it was, for the same identity, keeps its tunnels and takes a renewed certificate; one that
/// changed is another server: its old tunnels live on until their streams have ended.
void AgentService::take_links(const AgentPlan& plan) {
  std::map<std::string, std::unique_ptr<ServerLinks>> kept;
  for (std::size_t i = 0; i < plan.config_.servers.size(); ++i) {
    const Server& server = plan.config_.servers[i];
    const auto found = links_.find(server.name);
    if (found != links_.end() && found->second->is_for(server, plan.tls_[i])) {
      found->second->change(server, plan.tls_[i]);
      kept[server.name] = std::move(found->second);
      continue;
    }
    auto links = std::make_unique<ServerLinks>(link_surroundings_, server, plan.tls_[i]);
    for (const auto& [name, older] : links_) {
      if (older && older->server().address == server.address) links->succeed(*older);
    }
    for (const auto& older : retired_) {
      if (older->server().address == server.address) links->succeed(*older);
    }
    links->start();
    kept[server.name] = std::move(links);
  }
  links_.swap(kept);
  for (auto& [name, links] : kept) {
    if (links) retire(std::move(links));
  }
  std::vector<CountedServer> counted;
  counted.reserve(links_.size());
  for (const auto& [name, links] : links_) counted.push_back({name, links->counts()});
  counted_.publish(std::make_shared<const std::vector<CountedServer>>(std::move(counted)));
}

/// Make before break: where another link takes its place, that one stands first.
void AgentService::retire(std::unique_ptr<ServerLinks> links) {
  ServerLinks* leaving = links.get();  // They stay until a later reload, or the end, finds them over.
  retired_.push_back(std::move(links));
  const auto waits = [this, name = leaving->server().name](DataPlane& plane) {
    if (plane.worker().index() != 0) return false;  // Links are known at home only.
    const auto successor = links_.find(name);
    return successor != links_.end() && successor->second->tunnels_up() == 0;
  };
  around_.planes.when_idle(waits, std::chrono::steady_clock::now() + succeed_time_max, [leaving] {
    leaving->drain();
    leaving->close_when_empty();
  });
}

Result<void> AgentService::reload(std::unique_ptr<Plan> plan) {
  auto fresh = own(std::move(plan));
  auto staged = ports_.stage(ports_of(fresh->config_));
  if (!staged) return std::unexpected(staged.error());
  if (const std::size_t streams = fresh->mappings_->succeed(*plan_->mappings_); streams > 0) {
    around_.log.warn("mapping.withdrawn",
                     {{"streams", streams}, {"hint", "their system_mapping is gone or disabled; they end now"}});
  }
  mappings_.publish(fresh->mappings_);
  // What is idle was opened by the rules of before.
  around_.planes.on_each([this](DataPlane& plane) { pools_[plane.worker().index()]->clear(); });
  take_links(*fresh);
  ports_.commit(std::move(*staged));
  std::erase_if(retired_, [](const auto& link) { return link->is_over(); });
  plan_ = std::move(fresh);
  check_loaded_targets();
  return {};
}

/// The plan may be another one when the answers come.
void AgentService::check_loaded_targets() {
  unreachable_.clear();
  std::vector<StreamTarget> targets;
  std::vector<std::string> names;
  for (SystemMappings::Entry& entry : plan_->mappings_->entries()) {
    if (!entry.settings.check) continue;
    names.push_back(name_of(entry.settings));
    targets.push_back(std::move(entry.target));
  }
  target_check_.start(std::move(targets), [this, names, mappings = plan_->mappings_](const auto& outcomes) {
    for (std::size_t i = 0; i < outcomes.size() && mappings == plan_->mappings_; ++i) {
      const Error& error = outcomes[i].error;
      if (error.code.empty()) continue;
      around_.log.warn("target.unreachable",
                       {{"target", outcomes[i].name}, {"code", error.code}, {"text", error.text}});
      unreachable_[names[i]] = error;
    }
  });
}

void AgentService::check_targets(std::function<void(boost::json::array)> done) {
  std::vector<StreamTarget> targets;
  for (SystemMappings::Entry& entry : plan_->mappings_->entries()) targets.push_back(std::move(entry.target));
  target_check_.start(std::move(targets), [done = std::move(done)](const auto& outcomes) { done(to_json(outcomes)); });
}

void AgentService::drain(std::chrono::steady_clock::time_point deadline, std::function<void()> done) {
  ports_.close();
  for (auto& [name, link] : links_) link->drain();
  for (auto& link : retired_) link->drain();
  around_.planes.when_idle([](DataPlane& plane) { return plane.ends() > 0; }, deadline, done);
}

void AgentService::stop(std::function<void()> done) {
  ports_.close();
  target_check_.request_stop();
  for (auto& [name, link] : links_) link->stop();
  for (auto& link : retired_) link->stop();
  around_.planes.on_each([this](DataPlane& plane) {
    acceptors_[plane.worker().index()]->request_stop();
    pools_[plane.worker().index()]->clear();
  });
  around_.planes.when_idle(
      [this](DataPlane& plane) {
        const bool at_home = plane.worker().index() == 0;
        const auto over = [](const auto& link) { return link->is_over(); };
        const bool links_over =
            !at_home || (std::ranges::all_of(links_, [&over](const auto& link) { return over(link.second); }) &&
                         std::ranges::all_of(retired_, over));
        const bool checking = at_home && !target_check_.is_over();
        return !plane.tunnels().empty() || acceptors_[plane.worker().index()]->size() > 0 || !links_over || checking;
      },
      std::chrono::steady_clock::now() + stop_time_max, done);
}

void AgentService::status(std::function<void(boost::json::object)> done) {
  boost::json::array ports;
  for (const LocalPorts::Status& port : ports_.status()) {
    ports.push_back({{"name", port.name}, {"listen", port.listen}, {"connections", port.connections}});
  }
  boost::json::array mappings;
  for (const SystemMappings::Entry& entry : plan_->mappings_->entries()) {
    const auto error = unreachable_.find(name_of(entry.settings));
    mappings.push_back({{"virtual", to_string(entry.settings.virtual_host)},
                        {"internal", to_string(entry.settings.internal_host)},
                        {"server", entry.settings.server},
                        {"connections", entry.connections},
                        {"last_error", error == unreachable_.end() ? "" : error->second.text}});
  }
  auto owners = std::make_shared<std::map<TunnelId, std::string>>();
  auto servers = std::make_shared<boost::json::array>();
  for (const auto& [name, link] : links_) {
    const ServerLinks::Status status = link->status();
    for (const TunnelId id : status.tunnels) owners->emplace(id, name);
    boost::json::array replicas;
    for (const ServerLinks::Replica& replica : status.replicas) {
      if (replica.name.empty()) continue;
      replicas.push_back(
          {{"name", replica.name}, {"tunnels_up", replica.tunnels_up}, {"last_error", replica.last_error}});
    }
    servers->push_back({{"name", name},
                        {"address", to_string(link->server().address)},
                        {"tunnels_wanted", link->tunnels_wanted()},
                        {"tunnels_up", link->tunnels_up()},
                        {"last_error", status.last_error},
                        {"replicas", std::move(replicas)}});
  }
  gather_tunnels(
      around_.planes,
      [owners](const Tunnel& tunnel, boost::json::object& object) {
        const auto owner = owners->find(tunnel.id());
        object["server"] = owner == owners->end() ? "" : owner->second;
      },
      [ports = std::move(ports), mappings = std::move(mappings), servers,
       done = std::move(done)](boost::json::array tunnels) {
        done({{"program", "culvert-agent"},
              {"version", CULVERT_VERSION},
              {"servers", *servers},
              {"tunnels", std::move(tunnels)},
              {"channels", ports},
              {"system_mappings", mappings}});
      });
}

Readiness AgentService::readiness() {
  for (const auto& [name, link] : links_) {
    if (link->tunnels_up() == 0)
      return {false, fmt::format("no tunnel to server {}: {}", name, link->status().last_error)};
  }
  return {true, ""};
}

void AgentService::collect(MetricsPage& page) {
  for (const CountedServer& server : *counted_.get()) {
    page.gauge("culvert_replicas_known", "Replicas of the server that the agent knows.", {{"server", server.name}},
               server.replicas->known);
    page.gauge("culvert_replicas_reached", "Replicas of the server to which a tunnel is up.", {{"server", server.name}},
               server.replicas->reached);
  }
}

}  // namespace culvert::agent
