// SPDX-License-Identifier: Apache-2.0
#include "agent/server_links.hpp"

#include <algorithm>
#include <set>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "common/admin/defect.hpp"
#include "protocol/limits.hpp"

namespace culvert::agent {
namespace {

/// Between two looks at what the replicas tell, so that lists which come in a row, or cross, make no links in vain.
constexpr std::chrono::seconds settle_time{1};
constexpr std::uint32_t quick_tries_per_replica = 3;

}  // namespace

ServerLinks::ServerLinks(const LinkSurroundings& surroundings, Server server, TlsContext tls)
    : around_(surroundings),
      server_(std::move(server)),
      tls_(std::move(tls)),
      news_(around_.planes.home().context().get_executor()),
      tasks_(around_.planes.home().context().get_executor(), report_defect(around_.log, "links " + server_.name)) {}

ServerLink* ServerLinks::find(const std::string& replica) const {
  const auto found = std::ranges::find(links_, replica, [](const auto& link) { return link->replica(); });
  return found == links_.end() ? nullptr : found->get();
}

/// What it may reach decides whom it succeeds: a name the links of that name; no name, or a process that only now has
/// one, any.
ServerLink& ServerLinks::make(const std::string& replica) {
  links_.push_back(std::make_unique<ServerLink>(around_, server_, tls_, replica, [this] { note_news(); }));
  ServerLink& link = *links_.back();
  for (const auto& older : retired_) {
    if (replica.empty() || older->replica().empty() || older->replica() == replica) link.succeed(*older);
  }
  const auto tries = quick_tries_per_replica * static_cast<std::uint32_t>(links_.size());
  for (const auto& each : links_) each->set_quick_tries_max(tries);
  return link;
}

void ServerLinks::succeed(const ServerLinks& older) {
  for (const auto& link : older.links_) {
    if (find(link->replica()) == nullptr) make(link->replica());
  }
  for (const auto* links : {&older.links_, &older.retired_}) {
    for (const auto& link : *links) {
      if (ServerLink* ours = find(link->replica())) ours->succeed(*link);
    }
  }
}

void ServerLinks::start() {
  if (links_.size() > 1) std::erase_if(links_, [](const auto& link) { return link->replica().empty(); });
  if (links_.empty()) make("");
  for (const auto& link : links_) link->start();
  counts_->known = static_cast<std::uint32_t>(links_.size());
  tasks_.spawn(follow());
}

void ServerLinks::note_news() {
  counts_->known = static_cast<std::uint32_t>(links_.size());
  counts_->reached = static_cast<std::uint32_t>(
      std::ranges::count_if(links_, [](const auto& link) { return link->tunnels_up() > 0; }));
  has_news_ = true;
  news_.notify();
}

boost::asio::awaitable<void> ServerLinks::follow() {
  boost::asio::steady_timer settled(around_.planes.home().context());
  for (;;) {
    while (!std::exchange(has_news_, false)) co_await news_.wait();
    reconcile();
    settled.expires_after(settle_time);
    (void)co_await settled.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
  }
}

/// A link for each replica of which one that we reach tells, and no other.
void ServerLinks::reconcile() {
  std::erase_if(retired_, [](const auto& link) { return link->is_over(); });
  std::set<std::string> names;
  for (const auto& link : links_) {
    if (link->tunnels_up() > 0) names.insert(link->replicas().begin(), link->replicas().end());
  }
  if (names.empty()) {
    if (std::ranges::any_of(links_, &ServerLink::has_given_up)) begin_anew();
    return;
  }
  for (auto& link : links_) {
    if (names.contains(link->replica())) continue;
    around_.log.info("replica.gone", {{"server", server_.name}, {"replica", link->replica()}});
    retire(std::move(link));
  }
  std::erase(links_, nullptr);
  for (const std::string& name : names) {
    if (find(name) != nullptr || links_.size() >= protocol::replicas_max) continue;
    around_.log.info("replica.found", {{"server", server_.name}, {"replica", name}});
    make(name).start();
  }
  counts_->known = static_cast<std::uint32_t>(links_.size());
}

/// Others answer, and none of those that we know: all were replaced meanwhile.
void ServerLinks::begin_anew() {
  around_.log.info("replica.all_gone", {{"server", server_.name}});
  for (auto& link : links_) retire(std::move(link));
  links_.clear();
  make("").start();
}

void ServerLinks::retire(std::unique_ptr<ServerLink> link) {
  link->drain();
  link->close_when_empty();
  retired_.push_back(std::move(link));
}

bool ServerLinks::is_for(const Server& server, const TlsContext& tls) const {
  Server same = server;
  same.credentials = server_.credentials;
  const auto& ours = tls_.own_certificate();
  const auto& theirs = tls.own_certificate();
  return same == server_ && ours && theirs && ours->names == theirs->names;
}

void ServerLinks::change(const Server& server, const TlsContext& tls) {
  server_.credentials = server.credentials;
  tls_ = tls;
  for (const auto& link : links_) link->change(server_, tls_);
}

void ServerLinks::drain() {
  tasks_.request_stop();
  for (const auto& link : links_) link->drain();
}

void ServerLinks::close_when_empty() {
  for (const auto& link : links_) link->close_when_empty();
}

void ServerLinks::stop() {
  tasks_.request_stop();
  for (const auto* links : {&links_, &retired_}) {
    for (const auto& link : *links) link->stop();
  }
}

bool ServerLinks::is_over() const {
  const auto over = [](const auto& link) { return link->is_over(); };
  return tasks_.size() == 0 && std::ranges::all_of(links_, over) && std::ranges::all_of(retired_, over);
}

std::uint32_t ServerLinks::tunnels_wanted() const {
  std::uint32_t sum = 0;
  for (const auto& link : links_) sum += link->tunnels_wanted();
  return sum;
}

std::size_t ServerLinks::tunnels_up() const {
  std::size_t sum = 0;
  for (const auto& link : links_) sum += link->tunnels_up();
  return sum;
}

ServerLinks::Status ServerLinks::status() const {
  Status all;
  for (const auto& link : links_) {
    ServerLink::Status one = link->status();
    if (all.last_error.empty()) all.last_error = one.last_error;
    all.tunnels.insert(all.tunnels.end(), one.tunnels.begin(), one.tunnels.end());
    all.replicas.push_back({link->replica(), link->tunnels_up(), std::move(one.last_error)});
  }
  for (const auto& link : retired_) {
    const ServerLink::Status one = link->status();
    all.tunnels.insert(all.tunnels.end(), one.tunnels.begin(), one.tunnels.end());
  }
  return all;
}

}  // namespace culvert::agent
