// SPDX-License-Identifier: Apache-2.0
#include "server/agent_acceptor.hpp"

#include <algorithm>
#include <random>
#include <utility>

#include <boost/asio/ip/address.hpp>
#include <fmt/core.h>

#include "common/base/instance.hpp"
#include "common/net/socket_address.hpp"
#include "server/location_key.hpp"

namespace culvert::server {

using protocol::Reason;

namespace {

/// Tunnels without a proven identity, of the whole process (threats C11): from the first number on some are dropped, at
/// the second all.
constexpr std::uint32_t greeting_drop_from = 512;
constexpr std::uint32_t greeting_max = 1'024;

constexpr std::chrono::seconds stop_time_max{5};

/// Random early drop: the nearer to the limit, the likelier.
bool drops(std::uint32_t greeting) {
  if (greeting < greeting_drop_from) return false;
  thread_local std::minstd_rand random{std::random_device{}()};
  return greeting_drop_from + random() % (greeting_max - greeting_drop_from) < greeting;
}

}  // namespace

AgentAcceptor::AgentAcceptor(DataPlanes& planes, TunnelDirectory& directory, Log& log,
                             std::shared_ptr<const TunnelPolicy> policy)
    : planes_(planes),
      directory_(directory),
      log_(log),
      policy_(std::move(policy)),
      instance_(random_instance()),
      locals_(planes.size()) {
  for (std::size_t i = 0; i < planes.size(); ++i) {
    locals_[i].streams = std::make_unique<StreamAcceptor>(planes.plane(i), log);
  }
}

AgentAcceptor::~AgentAcceptor() = default;

Result<void> AgentAcceptor::listen(const Endpoint& address) {
  const auto local = address_to_listen(address);
  if (!local) return fail(local.error().code, "tunnel.listen: " + local.error().text);
  ListenerEvents events;
  events.on_accept = [this](Worker&, UniqueFd socket, const boost::asio::ip::tcp::endpoint& peer) {
    take(std::move(socket), peer);
  };
  events.on_exhausted = [this](Worker&, std::uint64_t times) {
    log_.error("tunnel.exhausted", {{"times", times}, {"hint", "out of descriptors or memory: raise LimitNOFILE"}});
  };
  const auto workers = planes_.workers();
  auto listener = Listener::open(*local, workers, std::move(events));
  if (!listener) return fail(listener.error().code, "tunnel.listen: " + listener.error().text);
  listener_ = std::move(*listener);
  return {};
}

/// On the accepting worker. The tunnels of a link arrive one after the other, so taking turns spreads them over the
/// workers.
void AgentAcceptor::take(UniqueFd socket, const boost::asio::ip::tcp::endpoint& peer) {
  const std::uint32_t greeting = greeting_.fetch_add(1);
  if (greeting >= greeting_max || drops(greeting)) {
    greeting_.fetch_sub(1);
    refused_.fetch_add(1, std::memory_order_relaxed);
    log_.limited(Log::Level::warn, "tunnel.flood",
                 {{"unproven", greeting}, {"hint", "many connections that do not prove an identity"}});
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
  setup.session.streams_max = policy->limits.streams_per_link_max;
  DataPlane& plane = planes_.plane(next_plane_.fetch_add(1, std::memory_order_relaxed) % planes_.size());
  plane.worker().post([this, &plane, moved = std::make_shared<Tunnel::Setup>(std::move(setup))] {
    if (leaving_) {
      greeting_.fetch_sub(1);
      return;
    }
    plane.add(std::make_unique<Tunnel>(plane, std::move(*moved), *this));
  });
}

const AgentIdentity* AgentAcceptor::identity_of(const Tunnel& tunnel) const {
  const auto& known = locals_[const_cast<Tunnel&>(tunnel).plane().worker().index()].known;
  const auto found = known.find(tunnel.id());
  return found == known.end() ? nullptr : &found->second.identity;
}

Result<void> AgentAcceptor::on_secured(Tunnel& tunnel) {
  const auto policy = policy_.get();
  auto identity = agent_identity(tunnel.tls().native(), policy->trust_domain);
  if (!identity) return std::unexpected(identity.error());
  if (policy->denials.denies(*identity)) {
    return fail("identity.denied",
                fmt::format("{} (serial {}) is on the deny list", identity->spiffe_id, identity->serial));
  }
  locals_[tunnel.plane().worker().index()].known[tunnel.id()].identity = std::move(*identity);
  greeting_.fetch_sub(1);
  return {};
}

void AgentAcceptor::on_greeted(Tunnel& tunnel, const protocol::Hello& hello) {
  if (hello.version_min > 1 || hello.version_max < 1) {
    return tunnel.close(Reason::version, fmt::format("this server speaks version 1, the agent {} to {}",
                                                     hello.version_min, hello.version_max));
  }
  if (!hello.wanted_replica.empty() && hello.wanted_replica != replicas_.get()->own)
    return tunnel.close(Reason::wrong_replica, "this server is not the wanted replica");
  const std::size_t plane = tunnel.plane().worker().index();
  const AgentIdentity& identity = locals_[plane].known.at(tunnel.id()).identity;
  planes_.home().post(
      [this, identity, hello, place = TunnelPlace{tunnel.id(), plane}] { join(identity, hello, place); });
}

/// At home: who takes over from whom, and then the answer, back on the tunnel's worker.
void AgentAcceptor::join(const AgentIdentity& identity, const protocol::Hello& hello, TunnelPlace place) {
  const auto joined = agents_.join(identity.spiffe_id, hello, place);
  if (joined.stale) return close_at(place, Reason::stale_epoch, "a newer link of this agent process stands");
  for (const TunnelPlace& old : joined.evicted) close_at(old, Reason::replaced, "the agent has dialled anew");
  if (joined.second_instance) {
    log_.limited(Log::Level::warn, "agent.second_instance",
                 {{"agent", identity.spiffe_id},
                  {"serial", identity.serial},
                  {"hint", "two processes use this certificate: meant so, or was its key copied?"}});
  }
  DataPlane& plane = planes_.plane(place.plane);
  plane.worker().post([this, &plane, place, identity, quota = joined.quota] {
    Tunnel* tunnel = plane.find_tunnel(place.id);
    const auto known = locals_[place.plane].known.find(place.id);
    if (tunnel == nullptr || known == locals_[place.plane].known.end()) {
      // It closed before it was listed: on_closed() has not told the directory of agents.
      planes_.home().post([this, place] { agents_.leave(place.id); });
      return;
    }
    known->second.listed = true;
    // Who greets while we drain has come too late to be asked to leave.
    if (leaving_) return tunnel->close(Reason::shutdown, "the server stops");
    const auto replicas = replicas_.get();
    tunnel->welcome({.version = 1,
                     .capabilities = {},
                     .instance = instance_,
                     .replica = replicas->own,
                     .replicas = replicas->all,
                     .software = "culvert-server " CULVERT_VERSION});
    known->second.quota = quota;
    directory_.add(location_key(identity.account, identity.location), {place.id, place.plane, tunnel->load()});
    log_.info("tunnel.up", {{"agent", identity.spiffe_id}, {"peer", tunnel->peer()}, {"tunnel", place.id}});
  });
}

void AgentAcceptor::close_at(TunnelPlace place, Reason reason, std::string text) {
  DataPlane& plane = planes_.plane(place.plane);
  plane.worker().post([&plane, place, reason, text = std::move(text)] {
    if (Tunnel* tunnel = plane.find_tunnel(place.id)) tunnel->close(reason, text);
  });
}

void AgentAcceptor::on_welcomed(Tunnel&, const protocol::Welcome&) {}

void AgentAcceptor::on_opened(Tunnel& tunnel, protocol::StreamId stream, const protocol::Open& open) {
  const Known& known = locals_[tunnel.plane().worker().index()].known.at(tunnel.id());
  const AgentIdentity& identity = known.identity;
  if (open.kind != protocol::Open::Kind::service)
    return tunnel.reject(stream, {Reason::kind_unknown, false, "a server leads to services only"});
  const auto policy = policy_.get();
  const Endpoint* target = policy->mappings.find(identity.account, identity.location, open.name);
  if (target == nullptr) {
    log_.limited(Log::Level::warn, "service.unknown",
                 {{"agent", identity.spiffe_id},
                  {"service_id", open.name},
                  {"hint", "no service mapping of this account and location has this service_id"}});
    return tunnel.reject(stream, {Reason::no_such_service, false,
                                  "no service mapping of this account and location has this service id"});
  }
  locals_[tunnel.plane().worker().index()].streams->dial(tunnel, stream,
                                                         {.endpoint = *target,
                                                          .name = fmt::format("service {}", open.name),
                                                          .connect_time_max = open.dial_time_max,
                                                          .tls = std::nullopt,
                                                          .mapping_place = nullptr},
                                                         known.quota, policy->limits);
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
  auto& known = locals_[tunnel.plane().worker().index()].known;
  const auto found = known.find(tunnel.id());
  if (found == known.end()) {
    greeting_.fetch_sub(1);
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
  // An agent that looks for a replica meets the others, again and again.
  if (gone.listed || why.code != "tunnel.wrong_replica") {
    log_.info("tunnel.down", fields);
  } else {
    log_.debug("tunnel.down", fields);
  }
}

void AgentAcceptor::change(const std::shared_ptr<const TunnelPolicy>& policy) {
  policy_.publish(policy);
  planes_.on_each([this, policy](DataPlane& plane) {
    std::vector<TunnelId> denied;
    for (const auto& [id, known] : locals_[plane.worker().index()].known) {
      if (policy->denials.denies(known.identity)) denied.push_back(id);
    }
    for (const TunnelId id : denied) {
      if (Tunnel* tunnel = plane.find_tunnel(id)) tunnel->close(Reason::denied, "this identity is on the deny list");
    }
  });
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
  // Who is welcomed from now on hears it then.
  planes_.on_each([this, fresh](DataPlane& plane) {
    for (const auto& [id, known] : locals_[plane.worker().index()].known) {
      Tunnel* tunnel = known.listed ? plane.find_tunnel(id) : nullptr;
      if (tunnel != nullptr) tunnel->tell_replicas(fresh->all);
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
    locals_[plane.worker().index()].streams->request_stop();
  });
  planes_.when_idle(
      [this](DataPlane& plane) {
        return !plane.tunnels().empty() || locals_[plane.worker().index()].streams->size() > 0;
      },
      std::chrono::steady_clock::now() + stop_time_max, done);
}

}  // namespace culvert::server
