// SPDX-License-Identifier: Apache-2.0
#include "common/tunnel/tunnel_directory.hpp"

#include <algorithm>
#include <bit>
#include <compare>
#include <utility>

#include "common/net/monotonic_time.hpp"

namespace culvert {

namespace {
/// A PING is answered every 4 s: a tunnel that received nothing for this long is picked last (threats D7).
constexpr protocol::Time silent_for_max = std::chrono::seconds(10);
/// Ignore what a tunnel carries below this.
constexpr std::uint64_t little_bytes = 1 << 20;

/// Ignore differences below this; requests arrive in bursts.
constexpr std::uint32_t few_streams = 8;

/// Below this a tunnel's round trip is that of the network path, which all tunnels of the link share.
constexpr std::uint64_t idle_bytes = 64 << 10;
/// Longer than a near link's round trip, so that the wait decides before the load only on a far link. If all tunnels of
/// a far link carry bulk, the one that carries least has lost the most packets: it is the slowest, not the idlest.
constexpr std::int64_t wait_step_us = 32'000;

constexpr std::size_t reserve_of_tunnels_min = 4;
constexpr std::int64_t far_us = 10'000;

/// Less is better, member by member.
struct Cost {
  bool silent_or_stuck;
  bool is_busy;           ///< One of its streams carries bulk: all others would wait behind it.
  std::int64_t waits;     ///< Round trip in wait_step_us, if it carries anything: the wait for a small answer.
  int carries;            ///< Bytes that it carries, as a power of two.
  std::uint32_t streams;  ///< More on another worker: by a quarter, or more than twice as many.
  bool elsewhere;
  auto operator<=>(const Cost&) const = default;
};

Cost cost_of(const TunnelDirectory::Entry& entry, std::size_t plane, std::int64_t fresh_since_us,
             TunnelDirectory::Moves moves) {
  const TunnelLoad& load = *entry.load;
  const bool elsewhere = entry.plane != plane;
  const std::uint64_t recent = load.recent_bytes.load(std::memory_order_relaxed);
  const std::uint32_t streams = load.streams.load(std::memory_order_relaxed);
  const bool stays = moves == TunnelDirectory::Moves::each_time;
  const auto carried = elsewhere && stays ? 2 * recent : recent;
  const auto streams_elsewhere = stays ? 2 * streams + few_streams : streams + streams / 4;
  const bool is_stuck = recent == 0 && load.queued_bytes.load(std::memory_order_relaxed) > 0;
  return {load.last_received_us.load(std::memory_order_relaxed) < fresh_since_us || is_stuck,
          load.busy_streams.load(std::memory_order_relaxed) > 0,
          recent < idle_bytes ? 0 : load.round_trip_us.load(std::memory_order_relaxed) / wait_step_us,
          static_cast<int>(std::bit_width(carried / little_bytes)),
          elsewhere ? streams_elsewhere : streams,
          elsewhere};
}

/// Returns the tunnel that is held in reserve until all others carry something: the last of many tunnels of a far link.
/// Small streams there wait neither behind bulk nor for its lost packets.
const TunnelDirectory::Entry* reserve_of(const std::vector<TunnelDirectory::Entry>& entries) {
  if (entries.size() < reserve_of_tunnels_min) return nullptr;
  const auto& last = entries.back();
  return last.load->round_trip_us.load(std::memory_order_relaxed) >= far_us ? &last : nullptr;
}

}  // namespace

void TunnelDirectory::add(std::string key, Entry entry, std::function<void()> published) {
  planes_.home().post([this, key = std::move(key), entry = std::move(entry), published = std::move(published)] {
    Part& part = parts_[part_of(key)];
    part.table[key].push_back(entry);
    if (published) part.waiting.push_back(published);
    publish_soon(part);
  });
}

void TunnelDirectory::remove(std::string key, TunnelId id) {
  planes_.home().post([this, key = std::move(key), id] {
    Part& part = parts_[part_of(key)];
    const auto found = part.table.find(key);
    if (found == part.table.end()) return;
    std::erase_if(found->second, [id](const Entry& entry) { return entry.id == id; });
    if (found->second.empty()) part.table.erase(found);
    publish_soon(part);
  });
}

/// Changes of one turn are published together.
void TunnelDirectory::publish_soon(Part& part) {
  if (std::exchange(part.publishing, true)) return;
  planes_.home().post([&part] {
    part.publishing = false;
    part.published.publish(std::make_shared<const Table>(part.table));
    for (const auto& published : std::exchange(part.waiting, {})) published();
  });
}

std::optional<TunnelDirectory::Entry> TunnelDirectory::pick(const std::string& key, std::size_t plane,
                                                            std::span<const TunnelId> tried, Moves moves) const {
  const auto table = parts_[part_of(key)].published.get();
  const auto found = table->find(key);
  if (found == table->end()) return std::nullopt;
  const Entry* best = nullptr;
  Cost best_cost{};
  const std::int64_t fresh_since = (monotonic_now() - silent_for_max).count();
  const auto consider = [&](const Entry& entry) {
    if (std::ranges::find(tried, entry.id) != tried.end()) return;
    const Cost cost = cost_of(entry, plane, fresh_since, moves);
    if (best != nullptr && best_cost <= cost) return;
    best = &entry;
    best_cost = cost;
  };
  const Entry* reserve = reserve_of(found->second);
  for (const Entry& entry : found->second) {
    if (&entry != reserve) consider(entry);
  }
  if (reserve != nullptr &&
      (best == nullptr || best_cost.silent_or_stuck || best_cost.is_busy || best_cost.carries > 0))
    consider(*reserve);
  if (best == nullptr) return std::nullopt;
  best->load->streams.fetch_add(1, std::memory_order_relaxed);
  return *best;
}

std::size_t TunnelDirectory::count(const std::string& key) const {
  const auto table = parts_[part_of(key)].published.get();
  const auto found = table->find(key);
  return found == table->end() ? 0 : found->second.size();
}

std::vector<std::string> TunnelDirectory::keys() const {
  std::vector<std::string> all;
  for (const Part& part : parts_) {
    for (const auto& [key, entries] : part.table) all.push_back(key);
  }
  std::ranges::sort(all);
  return all;
}

}  // namespace culvert
