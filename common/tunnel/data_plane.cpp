// SPDX-License-Identifier: Apache-2.0
#include "common/tunnel/data_plane.hpp"

#include <atomic>
#include <chrono>
#include <utility>

#include "common/net/monotonic_time.hpp"
#include "common/tunnel/memory_relief.hpp"
#include "common/tunnel/stream.hpp"
#include "common/tunnel/stream_end.hpp"
#include "common/tunnel/tunnel.hpp"
#include "protocol/limits.hpp"

namespace culvert {
namespace {

constexpr std::chrono::seconds tick_interval{1};
/// Records add 22 bytes to 16 KiB; a KeyUpdate and an alert fit too.
constexpr std::size_t send_buffer_bytes = DataPlane::staging_bytes + (8 << 10);
constexpr std::size_t send_buffers_kept = 4;

}  // namespace

DataPlane::DataPlane(Worker& worker, MemoryBudget& budget)
    : worker_(worker),
      memory_(budget),
      staging_(new std::byte[staging_bytes]),
      ciphertext_(new std::byte[scratch_bytes]),
      plaintext_(new std::byte[scratch_bytes]),
      relays_(worker, counters_.relays),
      clients_(worker, counters_.clients),
      tick_(worker.context()) {
  tick();
}

DataPlane::~DataPlane() = default;

TunnelId DataPlane::next_tunnel_id() {
  static std::atomic<TunnelId> last{0};
  return ++last;
}

/// One timer for all tunnels of the worker: liveness is counted in seconds, so a timer each would only cost.
void DataPlane::tick() {
  tick_.expires_after(tick_interval);
  tick_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    const protocol::Time time = monotonic_now();
    std::vector<TunnelId> ids;
    ids.reserve(tunnels_.size());
    for (const auto& [id, tunnel] : tunnels_) ids.push_back(id);
    for (const TunnelId id : ids) {
      if (Tunnel* tunnel = find_tunnel(id)) tunnel->on_tick(time);
    }
    const auto tick_one = [time](Resident& resident) { resident.on_tick(time); };
    relays_.each(tick_one);
    clients_.each(tick_one);
    relieve_memory(time);
    tick();
  });
}

/// Resets the streams that hold most and do not drain, once the budget is nearly used up (threats C10).
void DataPlane::relieve_memory(protocol::Time now) {
  const std::uint64_t needed_bytes = memory_.bytes_to_free();
  if (needed_bytes == 0) return;
  std::vector<std::pair<Stream*, std::uint64_t>> waiting;
  for (const auto& [id, tunnel] : tunnels_) {
    const auto more = tunnel->waiting_streams();
    waiting.insert(waiting.end(), more.begin(), more.end());
  }
  for (Stream* stream : leftovers_) waiting.emplace_back(stream, stream->window_bytes_);
  std::vector<WaitingStream> views;
  views.reserve(waiting.size());
  for (const auto& [stream, held_bytes] : waiting) views.push_back({held_bytes, stream->stands_still(now)});
  for (const std::size_t i : streams_to_reset(views, needed_bytes)) {
    counters_.streams_relieved.add();
    waiting[i].first->give_up(protocol::Reason::stalled);
  }
}

void DataPlane::add(std::unique_ptr<Tunnel> tunnel) {
  Tunnel& added = *tunnel;
  tunnels_.emplace(added.id(), std::move(tunnel));
  counters_.tunnels.add();
  added.start();
}

Tunnel* DataPlane::find_tunnel(TunnelId id) {
  const auto found = tunnels_.find(id);
  return found == tunnels_.end() ? nullptr : found->second.get();
}

void DataPlane::retire(Tunnel& tunnel) {
  const auto found = tunnels_.find(tunnel.id());
  worker_.retire(std::move(found->second));
  tunnels_.erase(found);
  counters_.tunnels.sub();
}

void DataPlane::drain_clients() {
  is_draining_ = true;
  clients_.each([](ClientConnection& client) { client.on_drain(); });
}

std::uint64_t DataPlane::take_window(std::uint64_t tunnel_window_bytes) {
  const bool small = memory_.is_short() || tunnel_window_bytes >= protocol::tunnel_granted_bytes_max;
  if (!small && memory_.take(protocol::window_bytes_start)) return protocol::window_bytes_start;
  return memory_.take(protocol::window_bytes_min) ? protocol::window_bytes_min : 0;
}

std::unique_ptr<SendBuffer> DataPlane::take_send_buffer() {
  if (send_buffers_.empty()) return std::make_unique<SendBuffer>(send_buffer_bytes);
  auto buffer = std::move(send_buffers_.back());
  send_buffers_.pop_back();
  return buffer;
}

void DataPlane::give_send_buffer(std::unique_ptr<SendBuffer> buffer) {
  if (send_buffers_.size() < send_buffers_kept) send_buffers_.push_back(std::move(buffer));
}

}  // namespace culvert
