// SPDX-License-Identifier: Apache-2.0
#include "agent/links/server_links.hpp"

#include <algorithm>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "agent/links/replica_policy.hpp"
#include "common/admin/defect.hpp"

namespace culvert::agent {
namespace {

/// The least time between two calls of reconcile(), so that lists which arrive in a row, or cross, make no needless
/// links.
constexpr std::chrono::seconds settle_time{1};

}  // namespace

ServerLinks::ServerLinks(const LinkContext& context, Server server, TlsContext tls)
    : context_(context),
      server_(std::move(server)),
      tls_(std::move(tls)),
      changed_(context_.planes.home().context().get_executor()),
      tasks_(context_.planes.home().context().get_executor(), report_defect(context_.log, "links " + server_.name)) {}

ServerLink* ServerLinks::find_link(const std::string& replica) const {
  const auto found = std::ranges::find(links_, replica, [](const auto& link) { return link->replica(); });
  return found == links_.end() ? nullptr : found->get();
}

ServerLink& ServerLinks::make_link(const std::string& replica) {
  links_.push_back(std::make_unique<ServerLink>(context_, server_, tls_, replica, memory_, quick_tries_,
                                                [this] { on_link_changed(); }));
  ServerLink& link = *links_.back();
  for (const auto& older : retired_) {
    if (may_be_same_link(replica, older->replica())) link.succeed(*older);
  }
  const std::uint32_t tries = quick_tries_max(links_.size());
  for (const auto& each : links_) each->set_quick_tries_max(tries);
  return link;
}

void ServerLinks::succeed(const ServerLinks& older) {
  for (const auto& link : older.links_) {
    if (find_link(link->replica()) == nullptr) make_link(link->replica());
  }
  for (const auto* links : {&older.links_, &older.retired_}) {
    for (const auto& link : *links) {
      if (ServerLink* ours = find_link(link->replica())) ours->succeed(*link);
    }
  }
}

void ServerLinks::start() {
  if (links_.size() > 1) std::erase_if(links_, [](const auto& link) { return link->replica().empty(); });
  if (links_.empty()) make_link("");
  for (const auto& link : links_) link->start();
  counts_->known = static_cast<std::uint32_t>(links_.size());
  tasks_.spawn(follow());
}

void ServerLinks::on_link_changed() {
  publish_counts();
  has_changed_ = true;
  changed_.notify();
}

void ServerLinks::publish_counts() {
  counts_->known = static_cast<std::uint32_t>(links_.size());
  counts_->reached = static_cast<std::uint32_t>(
      std::ranges::count_if(links_, [](const auto& link) { return link->tunnels_up() > 0; }));
}

boost::asio::awaitable<void> ServerLinks::follow() {
  boost::asio::steady_timer settled(context_.planes.home().context());
  for (;;) {
    while (!std::exchange(has_changed_, false)) co_await changed_.wait();
    reconcile();
    settled.expires_after(settle_time);
    (void)co_await settled.async_wait(boost::asio::as_tuple(boost::asio::use_awaitable));
  }
}

void ServerLinks::reconcile() {
  std::erase_if(retired_, [](const auto& link) { return link->is_over(); });
  std::vector<LinkView> views;
  views.reserve(links_.size());
  for (const auto& link : links_)
    views.push_back({link->replica(), link->tunnels_up() > 0, link->has_given_up(), link->announced_replicas()});
  const ReplicaDecision decision = decide_replicas(views);
  if (decision.begin_anew) begin_anew();
  for (const std::size_t i : decision.retire) {
    context_.log.info("replica.gone", {{"server", server_.name}, {"replica", links_[i]->replica()}});
    retire(std::move(links_[i]));
  }
  std::erase(links_, nullptr);
  for (const std::string& name : decision.add) {
    if (!quick_tries_.take(std::chrono::steady_clock::now())) {
      has_changed_ = true;  // The rest follows when there are more.
      break;
    }
    context_.log.info("replica.found", {{"server", server_.name}, {"replica", name}});
    make_link(name).start();
  }
  publish_counts();
}

/// All known replicas were replaced: only others answer.
void ServerLinks::begin_anew() {
  context_.log.info("replica.all_gone", {{"server", server_.name}});
  for (auto& link : links_) retire(std::move(link));
  links_.clear();
  ServerLink& link = make_link("");
  link.continue_backoff(*retired_.back());
  link.start();
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

void ServerLinks::replace_tunnels() {
  for (const auto& link : links_) link->replace_tunnels();
}

bool ServerLinks::ask_to_renew(const protocol::Renew& request, const ServerLink::RenewalAnswer& answer) {
  return std::ranges::any_of(links_, [&](const auto& link) { return link->ask_to_renew(request, answer); });
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
