// SPDX-License-Identifier: Apache-2.0
#include "server/agents/agent_acceptor.hpp"

#include <algorithm>
#include <utility>

#include <boost/asio/ip/address.hpp>
#include <fmt/core.h>

#include "common/base/chance.hpp"
#include "common/base/instance.hpp"
#include "common/net/descriptor_limit.hpp"
#include "common/net/socket_address.hpp"
#include "common/tunnel/relay.hpp"
#include "server/config/route.hpp"

namespace culvert::server {

using protocol::Reason;

namespace {

constexpr std::uint64_t unproven_max = 1'024;  // Threats C11.
constexpr std::chrono::seconds stop_time_max{5};

}  // namespace

AgentAcceptor::AgentAcceptor(DataPlanes& planes, TunnelDirectory& directory, Log& log,
                             std::shared_ptr<const TunnelPolicy> policy,
                             std::shared_ptr<const ServiceMappings> mappings)
    : planes_(planes),
      directory_(directory),
      log_(log),
      policy_(std::move(policy)),
      mappings_(std::move(mappings)),
      instance_(random_instance()),
      locals_(planes.size()),
      unproven_(static_cast<std::uint32_t>(std::min<std::uint64_t>(unproven_max, descriptors_max() / 8))),
      descriptors_(std::make_shared<FairQuota>(descriptors_of_peers())) {
  for (std::size_t i = 0; i < planes.size(); ++i) {
    locals_[i].dialer = std::make_unique<TargetDialer>(planes.plane(i).worker(), planes.plane(i).counters().dials, log);
  }
}

AgentAcceptor::~AgentAcceptor() = default;

Result<void> AgentAcceptor::listen(const Endpoint& address) {
  const auto local = address_to_listen(address);
  if (!local) return fail(local.error().code, "tunnel.listen: " + local.error().text);
  ListenerEvents events;
  events.on_accept = [this](Worker&, UniqueFd socket, const boost::asio::ip::tcp::endpoint& peer) {
    accept(std::move(socket), peer);
  };
  events.on_exhausted = [this](Worker&, std::uint64_t times) {
    log_.error("tunnel.exhausted", {{"times", times}, {"hint", "out of descriptors or memory: raise LimitNOFILE"}});
  };
  const auto workers = planes_.workers();
  std::vector<const Listener*> leaving;
  if (listener_ && listener_->local_endpoint().port() == local->port()) leaving.push_back(listener_.get());
  auto listener = Listener::open(*local, workers, std::move(events), {}, {}, leaving);
  if (!listener) return fail(listener.error().code, "tunnel.listen: " + listener.error().text);
  listener_ = std::move(*listener);
  listener_->start();
  return {};
}

/// Called on the accepting worker. The tunnels of a link arrive one after the other, so round robin spreads them over
/// the workers.
void AgentAcceptor::accept(UniqueFd socket, const boost::asio::ip::tcp::endpoint& peer) {
  if (!unproven_.with([&](UnprovenConnections& all) { return all.admit(peer.address(), chance()); })) {
    refused_.fetch_add(1, std::memory_order_relaxed);
    log_.limited(Log::Level::warn, "tunnel.flood",
                 {{"peer", peer.address().to_string()},
                  {"hint", "many connections present no identity, and some of this source are dropped"}});
    return;
  }
  const auto policy = policy_.get();
  Tunnel::Setup setup{.id = DataPlane::next_tunnel_id(),
                      .fd = std::move(socket),
                      .ssl = policy->tls.make_ssl(),
                      .session = {},
                      .peer = to_string(Endpoint{peer.address().to_string(), peer.port()}),
                      .congestion_control = policy->congestion_control};
  setup.session.role = protocol::Role::server;
  setup.session.streams_max = policy->limits.streams_max;
  DataPlane& plane = planes_.plane(next_plane_.fetch_add(1, std::memory_order_relaxed) % planes_.size());
  plane.worker().post(
      [this, &plane, source = peer.address(), moved = std::make_shared<Tunnel::Setup>(std::move(setup))] {
        auto& unproven = locals_[plane.worker().index()].unproven;
        unproven.emplace(moved->id, source);
        if (leaving_) return leave_unproven(plane, moved->id);
        plane.add(std::make_unique<Tunnel>(plane, std::move(*moved), *this));
      });
}

void AgentAcceptor::leave_unproven(DataPlane& plane, TunnelId tunnel) {
  auto& unproven = locals_[plane.worker().index()].unproven;
  const auto found = unproven.find(tunnel);
  if (found == unproven.end()) return;
  unproven_.with([&](UnprovenConnections& all) { all.leave(found->second); });
  unproven.erase(found);
}

const AgentIdentity* AgentAcceptor::identity_of(const Tunnel& tunnel) const {
  const auto& known = locals_[const_cast<Tunnel&>(tunnel).plane().worker().index()].known;
  const auto found = known.find(tunnel.id());
  return found == known.end() ? nullptr : &found->second.identity;
}

void AgentAcceptor::on_greeted(Tunnel& tunnel, const protocol::Hello& hello) {
  if (hello.version_min > 1 || hello.version_max < 1) {
    return tunnel.close(Reason::version, fmt::format("this server speaks version 1, the agent {} to {}",
                                                     hello.version_min, hello.version_max));
  }
  if (!hello.wanted_replica.empty() && hello.wanted_replica != replicas_.get()->own)
    return tunnel.close(Reason::wrong_replica, "this server is not the wanted replica");
  const std::size_t plane = tunnel.plane().worker().index();
  Known& known = locals_[plane].known.at(tunnel.id());
  known.offers_renewal = protocol::has_capability(hello.capabilities, protocol::renew_capability);
  known.offers_heads = protocol::has_capability(hello.capabilities, protocol::heads_capability);
  planes_.home().post(
      [this, identity = known.identity, hello, ref = TunnelRef{tunnel.id(), plane}] { join(identity, hello, ref); });
}

/// Called at home: decides which tunnels are replaced, then goes on at the tunnel's worker.
void AgentAcceptor::join(const AgentIdentity& identity, const protocol::Hello& hello, TunnelRef ref) {
  const std::uint32_t tunnels_max = policy_.get()->tunnels_per_agent_max;
  const auto joined = agents_.join(identity.spiffe_id, hello, ref, tunnels_max,
                                   {key_of(identity), identity.serial, identity.not_after});
  if (joined.stale) return close_at(ref, Reason::stale_epoch, "a newer link of this agent process exists");
  for (const TunnelRef& old : joined.evicted) close_at(old, Reason::replaced, "the agent has dialled again");
  for (const TunnelRef& each : joined.surplus) {
    log_.limited(Log::Level::warn, "agent.too_many_tunnels",
                 {{"agent", identity.spiffe_id},
                  {"closed", each.id},
                  {"tunnels_per_agent_max", tunnels_max},
                  {"hint", "the oldest process with this certificate loses its tunnels first"}});
    close_at(each, Reason::replaced, "the agent has too many tunnels");
  }
  if (joined.second_instance) {
    log_.limited(
        Log::Level::warn, "agent.second_instance",
        {{"agent", identity.spiffe_id},
         {"serial", identity.serial},
         {"hint", "two processes use this certificate: check that this is intended and its key was not copied"}});
  }
  auto descriptor = FairQuota::take(descriptors_, identity.account);
  if (!descriptor) {
    log_.limited(Log::Level::warn, "share.used",
                 {{"holder", identity.account}, {"hint", "it has its share of the descriptors: raise LimitNOFILE"}});
    agents_.leave(ref.id);
    return close_at(ref, Reason::internal, "this account has its share of the server's descriptors");
  }
  Shares shares{joined.quota, std::move(descriptor), memory_of(identity.account)};
  shares.link.descriptors = descriptors_;
  shares.link.holder = identity.account;
  planes_.plane(ref.plane).worker().post([this, ref, shares] { publish(ref, shares); });
}

/// On the tunnel's worker. An agent is ready when it is welcomed, and must have its streams from then on. So WELCOME is
/// sent only once every worker knows the tunnel.
void AgentAcceptor::publish(TunnelRef ref, const Shares& shares) {
  DataPlane& plane = planes_.plane(ref.plane);
  Tunnel* tunnel = plane.find_tunnel(ref.id);
  const auto known = locals_[ref.plane].known.find(ref.id);
  if (tunnel == nullptr || known == locals_[ref.plane].known.end()) {
    // It closed before it was listed, so on_closed() has not removed it from the directory of agents.
    planes_.home().post([this, ref] { agents_.leave(ref.id); });
    return;
  }
  leave_unproven(plane, ref.id);
  known->second.listed = true;
  known->second.shares = shares;
  tunnel->set_memory_holder(shares.memory);
  const AgentIdentity& identity = known->second.identity;
  directory_.add(location_key(identity.account, identity.location), {ref.id, ref.plane, tunnel->load()},
                 [this, &plane, ref] { plane.worker().post([this, ref] { welcome(ref); }); });
}

/// On the tunnel's worker.
void AgentAcceptor::welcome(TunnelRef ref) {
  Tunnel* tunnel = planes_.plane(ref.plane).find_tunnel(ref.id);
  const auto known = locals_[ref.plane].known.find(ref.id);
  if (tunnel == nullptr || known == locals_[ref.plane].known.end()) return;
  // The server drains: it is too late to ask this agent to leave.
  if (leaving_) return tunnel->close(Reason::shutdown, "the server stops");
  const auto replicas = replicas_.get();
  known->second.welcomed = true;
  std::vector<std::string> capabilities;
  if (policy_.get()->enrolling && known->second.offers_renewal) capabilities.emplace_back(protocol::renew_capability);
  if (known->second.offers_heads) capabilities.emplace_back(protocol::heads_capability);
  tunnel->welcome({.version = 1,
                   .capabilities = std::move(capabilities),
                   .instance = instance_,
                   .replica = replicas->own,
                   .replicas = replicas->all,
                   .software = "culvert-server " CULVERT_VERSION});
  log_.info("tunnel.up", {{"agent", known->second.identity.spiffe_id}, {"peer", tunnel->peer()}, {"tunnel", ref.id}});
}

std::shared_ptr<MemoryHolder> AgentAcceptor::memory_of(const std::string& account) {
  std::weak_ptr<MemoryHolder>& known = memory_[account];
  if (auto memory = known.lock()) return memory;
  auto memory = std::make_shared<MemoryHolder>(planes_.budget());
  known = memory;
  // Sometimes, since a thousand agents may join in a moment.
  if (memory_.size() > 2 * agents_.links() + 16)
    std::erase_if(memory_, [](const auto& entry) { return entry.second.expired(); });
  return memory;
}

void AgentAcceptor::close_at(TunnelRef ref, Reason reason, std::string text) {
  DataPlane& plane = planes_.plane(ref.plane);
  plane.worker().post([&plane, ref, reason, text = std::move(text)] {
    if (Tunnel* tunnel = plane.find_tunnel(ref.id)) tunnel->close(reason, text);
  });
}

void AgentAcceptor::on_welcomed(Tunnel&, const protocol::Welcome&) {}

void AgentAcceptor::on_opened(Tunnel& tunnel, Stream stream, const protocol::Open& open) {
  const Known& known = locals_[tunnel.plane().worker().index()].known.at(tunnel.id());
  const AgentIdentity& identity = known.identity;
  if (open.kind != protocol::Open::Kind::service)
    return stream.reject({Reason::kind_unknown, false, "a server opens streams to services only"});
  const auto policy = policy_.get();
  const auto mappings = mappings_.get();
  const auto target = mappings->find(identity.account, identity.location, open.name);
  if (!target) return refuse(std::move(stream), identity, open.name, target.error());
  StreamTarget where;
  where.endpoint = **target;
  where.name = fmt::format("service {}", open.name);
  where.connect_time_max = open.dial_time_max;
  TargetDialer& dialer = *locals_[tunnel.plane().worker().index()].dialer;
  Relay::dial(tunnel.plane(), std::move(stream), dialer, where, open.dial_time_max, known.shares.link, policy->limits);
}

void AgentAcceptor::refuse(Stream stream, const AgentIdentity& identity, const std::string& service_id,
                           ServiceMappings::Miss why) {
  if (why == ServiceMappings::Miss::no_endpoint) {
    log_.limited(Log::Level::warn, "service.no_endpoint",
                 {{"agent", identity.spiffe_id},
                  {"service_id", service_id},
                  {"hint", "its Service has no ready endpoint: see the status of its ServiceMapping"}});
    return stream.reject({Reason::target_unreachable, false, "the service has no ready endpoint"});
  }
  log_.limited(Log::Level::warn, "service.unknown",
               {{"agent", identity.spiffe_id},
                {"service_id", service_id},
                {"hint", "no service mapping of this account and location has this service_id"}});
  stream.reject(
      {Reason::no_such_service, false, "no service mapping of this account and location has this service id"});
}

void AgentAcceptor::on_congested(Tunnel& tunnel) {
  tunnel.ask_to_widen();
}

void AgentAcceptor::on_draining(Tunnel& tunnel, std::chrono::milliseconds) {
  const auto& known = locals_[tunnel.plane().worker().index()].known;
  const auto found = known.find(tunnel.id());
  if (found != known.end())
    directory_.remove(location_key(found->second.identity.account, found->second.identity.location), tunnel.id());
}

void AgentAcceptor::on_closed(Tunnel& tunnel, const Error& why) {
  leave_unproven(tunnel.plane(), tunnel.id());
  Local& local = locals_[tunnel.plane().worker().index()];
  if (local.joining.erase(tunnel.id()) > 0) {
    if (why.code == "tunnel.none") return;  // Its answer was logged.
    return log_.limited(Log::Level::info, "join.ended",
                        {{"peer", tunnel.peer()}, {"code", why.code}, {"text", why.text}});
  }
  auto& known = local.known;
  const auto found = known.find(tunnel.id());
  if (found == known.end()) {
    // Health checks of balancers connect and close. A silent connection that we must end is not one of those.
    if (tunnel.socket().bytes_in() == 0 && why.code == "tunnel.lost") {
      probes_.fetch_add(1, std::memory_order_relaxed);
      return log_.debug("tunnel.probe", {{"peer", tunnel.peer()}});
    }
    refused_.fetch_add(1, std::memory_order_relaxed);
    log_.limited(Log::Level::warn, "tunnel.refused", {{"peer", tunnel.peer()}, {"code", why.code}, {"text", why.text}});
    return;
  }
  const Known gone = std::move(found->second);
  known.erase(found);
  if (gone.listed) {
    directory_.remove(location_key(gone.identity.account, gone.identity.location), tunnel.id());
    planes_.home().post([this, id = tunnel.id()] { agents_.leave(id); });
  }
  const LogFields fields{{"agent", gone.identity.spiffe_id},
                         {"peer", tunnel.peer()},
                         {"tunnel", tunnel.id()},
                         {"code", why.code},
                         {"text", why.text}};
  // An agent that looks for a replica connects to the others repeatedly.
  if (gone.listed || why.code != "tunnel.wrong_replica") {
    log_.info("tunnel.down", fields);
  } else {
    log_.debug("tunnel.down", fields);
  }
}

void AgentAcceptor::change(const std::shared_ptr<const TunnelPolicy>& policy) {
  policy_.publish(policy);
  planes_.on_each([this](DataPlane& plane) { close_refused(plane); });
}

void AgentAcceptor::set_replicas(std::string own, std::vector<std::string> all) {
  std::erase(all, own);
  std::ranges::sort(all);
  all.erase(std::ranges::unique(all).begin(), all.end());
  if (all.size() >= protocol::replicas_max) all.resize(protocol::replicas_max - 1);
  all.push_back(own);
  if (own.empty()) all.clear();
  auto fresh = std::make_shared<const Replicas>(Replicas{std::move(own), std::move(all)});
  if (*fresh == *replicas_.get()) return;
  replicas_.publish(fresh);
  // Tunnels that are welcomed later get the names in WELCOME.
  planes_.on_each([this, fresh](DataPlane& plane) {
    for (const auto& [id, known] : locals_[plane.worker().index()].known) {
      Tunnel* tunnel = known.welcomed ? plane.find_tunnel(id) : nullptr;
      if (tunnel != nullptr) tunnel->send_replicas(fresh->all);
    }
  });
}

void AgentAcceptor::drain(std::chrono::milliseconds delay) {
  leaving_ = true;
  listener_.reset();
  planes_.on_each([delay](DataPlane& plane) {
    for (const auto& [id, tunnel] : plane.tunnels()) tunnel->drain(Reason::shutdown, delay);
  });
}

void AgentAcceptor::stop(const std::function<void()>& done) {
  leaving_ = true;
  listener_.reset();
  planes_.on_each([this](DataPlane& plane) {
    close_all(plane, Reason::shutdown, "the server stops");
    locals_[plane.worker().index()].dialer->request_stop();
  });
  planes_.when_idle(
      [this](DataPlane& plane) {
        return !plane.tunnels().empty() || locals_[plane.worker().index()].dialer->size() > 0;
      },
      std::chrono::steady_clock::now() + stop_time_max, done);
}

}  // namespace culvert::server
