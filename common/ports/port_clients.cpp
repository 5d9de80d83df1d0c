// SPDX-License-Identifier: Apache-2.0
#include "common/ports/port_clients.hpp"

#include <utility>

#include "common/net/monotonic_time.hpp"
#include "common/net/source_network.hpp"

namespace culvert {

WaitingClients::Place WaitingClients::add(ClientConnection& client, protocol::Time now) {
  const Place place = entries_.insert(entries_.end(), {&client, now});
  publish();
  return place;
}

void WaitingClients::remove(Place place) {
  entries_.erase(place);
  publish();
}

void WaitingClients::publish() {
  longest_since_us_.store(entries_.empty() ? none : entries_.front().since.count(), std::memory_order_relaxed);
}

std::optional<protocol::Time> WaitingClients::longest_since() const {
  const auto since = longest_since_us_.load(std::memory_order_relaxed);
  return since == none ? std::nullopt : std::optional(protocol::Time(since));
}

std::expected<Permit, PortClients::Refusal> PortClients::take(const std::shared_ptr<PortClients>& clients,
                                                              const boost::asio::ip::address& source,
                                                              const Limits& limits) {
  Permit connection = Quota::take(clients->connections_, limits.connections_max);
  if (!connection) return std::unexpected(Refusal::full);
  if (source.is_loopback()) return connection;
  const auto network = source_network(source);
  const bool fits = clients->sources_.with([&](auto& sources) {
    std::uint32_t& count = sources[network];
    if (limits.per_source_max > 0 && count >= limits.per_source_max) return false;
    ++count;
    return true;
  });
  if (!fits) return std::unexpected(Refusal::source_full);
  Quota* const quota = connection.get();
  return Permit(quota, [clients, network, connection = std::move(connection)](Quota*) {
    clients->sources_.with([&](auto& sources) {
      const auto found = sources.find(network);
      if (--found->second == 0) sources.erase(found);
    });
  });
}

std::optional<std::size_t> PortClients::worker_of_longest() const {
  std::optional<std::size_t> worker;
  std::optional<protocol::Time> longest;
  for (std::size_t i = 0; i < waiting_.size(); ++i) {
    const auto since = waiting_[i].longest_since();
    if (!since || (longest && *since >= *longest)) continue;
    longest = since;
    worker = i;
  }
  return worker;
}

void WaitsForClient::begin() {
  if (clients_ && !place_) place_ = clients_->waiting(plane_.worker().index()).add(client_, monotonic_now());
}

void WaitsForClient::end() {
  if (const auto place = std::exchange(place_, std::nullopt)) clients_->waiting(plane_.worker().index()).remove(*place);
}

}  // namespace culvert
