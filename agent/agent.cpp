// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.hpp"

#include <algorithm>
#include <utility>

#include <boost/json/array.hpp>
#include <fmt/core.h>

#include "common/base/instance.hpp"
#include "common/net/descriptor_limit.hpp"
#include "common/ports/tcp_port.hpp"
#include "common/tunnel/tunnel_statuses.hpp"

namespace culvert::agent {
namespace {

constexpr std::chrono::seconds stop_time_max{5};
constexpr std::chrono::seconds succeed_time_max{10};

std::vector<ClientPort::Settings> ports_of(const Config& config, const TunnelDirectory& directory, Log& log) {
  std::vector<ClientPort::Settings> ports;
  for (const Channel& channel : config.channels) {
    TcpRoute route;
    route.key = channel.server;
    route.open.kind = protocol::Open::Kind::service;
    route.open.name = channel.service_id;
    route.name = fmt::format("channel {}", channel.service_id);
    route.far_end = fmt::format("server {}", channel.server);
    const std::string name = route.name;
    ports.push_back({channel.port, name, "channels", serve_tcp(directory, log, std::move(route))});
  }
  return ports;
}

/// Returns a name that is unique in a configuration.
std::string name_of(const SystemMapping& mapping) {
  return mapping.server + " " + to_string(mapping.virtual_host);
}

/// Of two certificates of one identity.
bool is_newer(const TlsContext& one, const std::optional<TlsContext>& other) {
  return !other || one.not_after() > other->not_after();
}

std::unique_ptr<AgentPlan> own(std::unique_ptr<Plan> plan) {
  return std::unique_ptr<AgentPlan>(static_cast<AgentPlan*>(plan.release()));
}

/// Nothing where an IdentityKeeper can get a certificate first.
Result<std::optional<TlsContext>> load_tls(const Server& server) {
  std::error_code ignored;
  if (!server.identity.empty() && !std::filesystem::exists(server.credentials.certificate, ignored)) {
    if (!server.join_token_file.empty()) return std::nullopt;
    return fail("identity.not_joined",
                fmt::format("{}: holds no identity yet: run culvert-agent join", server.identity.string()));
  }
  auto tls = TlsContext::for_agent(server.credentials);
  if (tls) return std::move(*tls);
  // A clock may be wrong when a machine starts, and right a minute later.
  const bool is_out_of_time =
      tls.error().code == "tls.certificate_expired" || tls.error().code == "tls.certificate_not_yet_valid";
  if (!server.identity.empty() && is_out_of_time) return std::nullopt;
  return std::unexpected(tls.error());
}

}  // namespace

Result<std::unique_ptr<Plan>> AgentPlan::load(const ConfigSource& source) {
  auto config = load_config(source);
  if (!config) return std::unexpected(config.error());
  auto plan = std::make_unique<AgentPlan>();
  plan->config_ = std::move(*config);
  const Config& checked = plan->config_;
  for (const Server& server : checked.servers) {
    auto tls = load_tls(server);
    if (!tls)
      return fail(tls.error().code, fmt::format("{}: [[server]] {}: {}", source.name(), server.name, tls.error().text));
    plan->tls_.push_back(std::move(*tls));
  }
  auto mappings = SystemMappings::load(checked.system_mappings, {.head_bytes_max = checked.limits.head_bytes_max,
                                                                 .line_bytes_max = checked.limits.head_line_bytes_max});
  if (!mappings) return fail(mappings.error().code, fmt::format("{}: {}", source.name(), mappings.error().text));
  plan->mappings_ = std::make_shared<SystemMappings>(std::move(*mappings));
  plan->settings_ = {checked.log, checked.admin, checked.metrics, checked.limits, files_of(checked)};
  return plan;
}

AgentService::AgentService(const ProgramContext& context, std::unique_ptr<Plan> plan)
    : context_(context),
      plan_(own(std::move(plan))),
      directory_(context_.planes),
      mappings_(plan_->mappings_),
      link_context_{context_.planes,
                    directory_,
                    context_.log,
                    random_instance(),
                    tools_,
                    mappings_,
                    {plan_->settings_.limits.streams_per_link_max, plan_->settings_.limits.dials_max},
                    std::make_shared<FairQuota>(descriptors_of_peers()),
                    offload_},
      ports_(context_.planes, context_.log, &context_.inherited),
      target_check_(context_.planes.home(), context_.log) {
  for (std::size_t i = 0; i < context_.planes.size(); ++i) {
    DataPlane& plane = context_.planes.plane(i);
    tools_.push_back({std::make_unique<TargetDialer>(plane.worker(), plane.counters().dials, context_.log),
                      std::make_shared<BackEndPool>(plane.worker()), std::make_unique<BondTable>()});
  }
}

AgentService::~AgentService() = default;

Result<void> AgentService::start() {
  auto staged = ports_.stage(ports_of(plan_->config_, directory_, context_.log));
  if (!staged) return std::unexpected(staged.error());
  ports_.commit(std::move(*staged));
  apply_links(*plan_);
  keep_identities(*plan_);
  warn_of_weak_tls();
  check_loaded_targets();
  return {};
}

/// Applies the servers of the plan. A server with the same address and identity keeps its tunnels; a renewed
/// certificate is used from now on. A changed server gets new links; its old tunnels end after their streams have
/// ended.
void AgentService::apply_links(AgentPlan& plan) {
  std::map<std::string, std::unique_ptr<ServerLinks>> kept;
  for (std::size_t i = 0; i < plan.config_.servers.size(); ++i) {
    const Server& server = plan.config_.servers[i];
    std::optional<TlsContext>& tls = plan.tls_[i];
    if (const auto newer = adopted_.find(server.name); newer != adopted_.end() && is_newer(newer->second, tls))
      tls = newer->second;
    const auto found = links_.find(server.name);
    if (!tls) continue;
    if (found != links_.end() && found->second->is_for(server, *tls)) {
      found->second->change(server, *tls);
      kept[server.name] = std::move(found->second);
      continue;
    }
    auto links = std::make_unique<ServerLinks>(link_context_, server, *tls);
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
  for (const auto& [name, links] : links_) counted.push_back({name, links->counts(), links->certificate_ends()});
  counted_.publish(std::make_shared<const std::vector<CountedServer>>(std::move(counted)));
}

/// A server whose settings are the same keeps its keeper, and with it what a renewal has just got.
void AgentService::keep_identities(const AgentPlan& plan) {
  std::map<std::string, std::unique_ptr<IdentityKeeper>> kept;
  for (std::size_t i = 0; i < plan.config_.servers.size(); ++i) {
    const Server& server = plan.config_.servers[i];
    if (server.identity.empty()) continue;
    const auto found = keepers_.find(server.name);
    if (found != keepers_.end() && found->second->server() == server) {
      kept[server.name] = std::move(found->second);
    } else {
      kept[server.name] = make_keeper(server, plan.tls_[i]);
      kept[server.name]->start();
    }
  }
  keepers_.swap(kept);
  std::erase_if(retired_keepers_, [](const auto& keeper) { return keeper->is_over(); });
  for (auto& [name, keeper] : kept) {
    if (!keeper) continue;
    keeper->request_stop();
    retired_keepers_.push_back(std::move(keeper));
    adopted_.erase(name);
  }
}

std::unique_ptr<IdentityKeeper> AgentService::make_keeper(const Server& server, const std::optional<TlsContext>& tls) {
  const std::string name = server.name;
  IdentityKeeper::Hooks hooks{.ask_through_tunnel =
                                  [this, name](const protocol::Renew& request, const IdentityKeeper::Answer& answer) {
                                    const auto links = links_.find(name);
                                    return links != links_.end() && links->second->ask_to_renew(request, answer);
                                  },
                              .adopt = [this, name](const TlsContext& fresh) { adopt(name, fresh); }};
  return std::make_unique<IdentityKeeper>(context_.planes.home(), context_.log, offload_, server, tls,
                                          std::move(hooks));
}

/// New tunnels are up with the new certificate before the old ones end.
void AgentService::adopt(const std::string& server, const TlsContext& tls) {
  adopted_.insert_or_assign(server, tls);
  apply_links(*plan_);
  if (const auto links = links_.find(server); links != links_.end()) links->second->replace_tunnels();
}

/// Make before break: if another link replaces it, waits until that one has a tunnel, or for succeed_time_max.
void AgentService::retire(std::unique_ptr<ServerLinks> links) {
  ServerLinks* leaving = links.get();  // Kept until they are over at a later reload, or until the end.
  retired_.push_back(std::move(links));
  const auto waits = [this, name = leaving->server().name](DataPlane& plane) {
    if (plane.worker().index() != 0) return false;  // Links are known at home only.
    const auto successor = links_.find(name);
    return successor != links_.end() && successor->second->tunnels_up() == 0;
  };
  context_.planes.when_idle(waits, std::chrono::steady_clock::now() + succeed_time_max, [leaving] {
    leaving->drain();
    leaving->close_when_empty();
  });
}

Result<void> AgentService::reload(std::unique_ptr<Plan> plan) {
  auto fresh = own(std::move(plan));
  auto staged = ports_.stage(ports_of(fresh->config_, directory_, context_.log));
  if (!staged) return std::unexpected(staged.error());
  if (const std::size_t streams = fresh->mappings_->succeed(*plan_->mappings_); streams > 0) {
    context_.log.warn("mapping.withdrawn",
                      {{"streams", streams}, {"hint", "their system_mapping was removed or disabled; they end now"}});
  }
  mappings_.publish(fresh->mappings_);
  // Idle connections were opened by the old rules.
  context_.planes.on_each([this](DataPlane& plane) { tools_[plane.worker().index()].pool->clear(); });
  apply_links(*fresh);
  keep_identities(*fresh);
  ports_.commit(std::move(*staged));
  std::erase_if(retired_, [](const auto& link) { return link->is_over(); });
  plan_ = std::move(fresh);
  warn_of_weak_tls();
  check_loaded_targets();
  return {};
}

void AgentService::warn_of_weak_tls() {
  for (const SystemMappings::Entry& entry : plan_->mappings_->entries()) {
    const auto warn = [&](std::string_view key, std::string_view hint) {
      context_.log.warn("mapping.weak_tls",
                        {{"virtual_host", to_string(entry.settings.virtual_host)}, {"key", key}, {"hint", hint}});
    };
    if (entry.settings.tls_minimum < TlsVersion::tls_1_2)
      warn("tls_minimum", "TLS 1.0 and 1.1 are broken: have the back end updated, and keep the way to it private");
    if (entry.settings.tls_legacy)
      warn("tls_legacy", "an attacker on the way may put bytes before ours: have the back end updated");
  }
}

/// The plan may have changed when the check ends: then its outcomes are ignored.
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
      context_.log.warn("target.unreachable",
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
  context_.planes.when_idle([](DataPlane& plane) { return !plane.is_idle(); }, deadline, done);
}

void AgentService::stop(std::function<void()> done) {
  ports_.close();
  target_check_.request_stop();
  for (auto& [name, keeper] : keepers_) keeper->request_stop();
  for (auto& [name, link] : links_) link->stop();
  for (auto& link : retired_) link->stop();
  context_.planes.on_each([this](DataPlane& plane) {
    const WorkerTools& tools = tools_[plane.worker().index()];
    tools.dialer->request_stop();
    tools.pool->clear();
  });
  context_.planes.when_idle(
      [this](DataPlane& plane) {
        const bool at_home = plane.worker().index() == 0;
        const auto over = [](const auto& link) { return link->is_over(); };
        const bool links_over =
            !at_home || (std::ranges::all_of(links_, [&over](const auto& link) { return over(link.second); }) &&
                         std::ranges::all_of(retired_, over));
        const bool checking = at_home && (!target_check_.is_over() || !identities_over());
        return !plane.tunnels().empty() || tools_[plane.worker().index()].dialer->size() > 0 || !links_over || checking;
      },
      std::chrono::steady_clock::now() + stop_time_max, done);
}

bool AgentService::identities_over() const {
  return std::ranges::all_of(keepers_, [](const auto& each) { return each.second->is_over(); }) &&
         std::ranges::all_of(retired_keepers_, [](const auto& keeper) { return keeper->is_over(); });
}

void AgentService::command(const std::string&, const std::string&, std::function<void(Result<std::string>)> done) {
  done(fail("admin.unknown_command", "the agent has no such command"));
}

void AgentService::status(std::function<void(boost::json::object)> done) {
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
  boost::json::array identities;
  for (const auto& [name, keeper] : keepers_) {
    const IdentityKeeper::Status status = keeper->status();
    identities.push_back({{"server", name},
                          {"names", status.certificate ? status.certificate->names : ""},
                          {"serial", status.certificate ? status.certificate->serial : ""},
                          {"not_after", status.certificate ? to_text(status.certificate->not_after) : ""},
                          {"last_error", status.last_error}});
  }
  gather_tunnels(
      context_.planes,
      [owners](const Tunnel& tunnel, boost::json::object& object) {
        const auto owner = owners->find(tunnel.id());
        object["server"] = owner == owners->end() ? "" : owner->second;
      },
      [ports = ports_.status("channels"), mappings = std::move(mappings), identities = std::move(identities), servers,
       done = std::move(done)](boost::json::array tunnels) {
        done({{"program", "culvert-agent"},
              {"version", CULVERT_VERSION},
              {"servers", *servers},
              {"identities", identities},
              {"tunnels", std::move(tunnels)},
              {"channels", ports},
              {"system_mappings", mappings}});
      });
}

Readiness AgentService::readiness() {
  for (const auto& [name, keeper] : keepers_) {
    if (!links_.contains(name))
      return {false, fmt::format("no certificate for server {} yet: {}", name, keeper->status().last_error)};
  }
  for (const auto& [name, link] : links_) {
    // The second count is what channels use. It lags behind the first one by a turn.
    if (link->tunnels_up() == 0 || directory_.count(name) == 0)
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
    page.gauge("culvert_certificate_expiry_seconds", "Time until the certificate ends; negative afterwards.",
               {{"certificate", server.name}}, seconds_left(server.certificate_ends));
  }
}

}  // namespace culvert::agent
