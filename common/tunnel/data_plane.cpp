// SPDX-License-Identifier: Apache-2.0
#include "common/tunnel/data_plane.hpp"

#include <atomic>
#include <chrono>
#include <utility>

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
      tick_(worker.context()) {
  tick();
}

DataPlane::~DataPlane() = default;

protocol::Time DataPlane::now() {
  return std::chrono::duration_cast<protocol::Time>(std::chrono::steady_clock::now().time_since_epoch());
}

TunnelId DataPlane::next_tunnel_id() {
  static std::atomic<TunnelId> last{0};
  return ++last;
}

/// One timer for all tunnels of the worker: liveness is counted in seconds, so a timer each would only cost.
void DataPlane::tick() {
  tick_.expires_after(tick_interval);
  tick_.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    const protocol::Time time = now();
    std::vector<TunnelId> ids;
    ids.reserve(tunnels_.size());
    for (const auto& [id, tunnel] : tunnels_) ids.push_back(id);
    for (const TunnelId id : ids) {
      if (Tunnel* tunnel = find_tunnel(id)) tunnel->on_tick(time);
    }
    // None of them leaves the table here: ends are buried when the session has forgotten their streams.
    for (const auto& [id, end] : ends_) end->on_tick(time);
    tick();
  });
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

void DataPlane::bury(Tunnel& tunnel) {
  const auto found = tunnels_.find(tunnel.id());
  worker_.bury(std::move(found->second));
  tunnels_.erase(found);
  counters_.tunnels.sub();
}

EndId DataPlane::add(std::unique_ptr<StreamEnd> end) {
  const EndId id = next_end_id_++;
  ends_.emplace(id, std::move(end));
  counters_.relays.add();
  return id;
}

StreamEnd* DataPlane::find_end(EndId id) {
  const auto found = ends_.find(id);
  return found == ends_.end() ? nullptr : found->second.get();
}

void DataPlane::bury_end(EndId id) {
  const auto found = ends_.find(id);
  worker_.bury(std::move(found->second));
  ends_.erase(found);
  counters_.relays.sub();
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
