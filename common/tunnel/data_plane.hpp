// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include <boost/asio/steady_timer.hpp>

#include "common/base/memory_budget.hpp"
#include "common/net/send_buffer.hpp"
#include "common/net/worker.hpp"
#include "common/tunnel/data_plane_counters.hpp"
#include "common/tunnel/stream_end.hpp"

namespace culvert {

class Tunnel;

/// Of the whole process, never reused.
using TunnelId = std::uint64_t;
using EndId = std::uint64_t;

/// The data path of one worker: its tunnels, the ends of their streams, the scratch buffers that they share, its lease
/// of the memory budget. Made before the worker starts and destroyed after it ended; in between on its thread only,
/// counters aside.
class DataPlane {
 public:
  DataPlane(Worker& worker, MemoryBudget& budget);
  DataPlane(const DataPlane&) = delete;
  DataPlane& operator=(const DataPlane&) = delete;
  ~DataPlane();

  Worker& worker() { return worker_; }
  DataPlaneCounters& counters() { return counters_; }
  const DataPlaneCounters& counters() const { return counters_; }
  MemoryLease& memory() { return memory_; }

  /// Monotonic, in the protocol's unit.
  static protocol::Time now();
  /// An id for a tunnel to be. Any thread.
  static TunnelId next_tunnel_id();

  /// Takes the tunnel over and starts it.
  void add(std::unique_ptr<Tunnel> tunnel);
  /// nullptr when it has ended.
  Tunnel* find_tunnel(TunnelId id);
  /// The tunnel ends inside one of its own functions: it is destroyed at the end of this turn.
  void bury(Tunnel& tunnel);
  const std::unordered_map<TunnelId, std::unique_ptr<Tunnel>>& tunnels() const { return tunnels_; }

  EndId add(std::unique_ptr<StreamEnd> end);
  StreamEnd* find_end(EndId id);
  void bury_end(EndId id);
  std::size_t ends() const { return ends_.size(); }

  /// How much a new stream may be granted: window_bytes_start, less when memory is short or the tunnel holds much, 0
  /// when there is none left. It is taken from the budget: give it back with memory().give().
  std::uint64_t take_window(std::uint64_t tunnel_window_bytes);

  /// Scratch: valid until the function that asked returns.
  std::span<std::byte> staging() { return {staging_.get(), staging_bytes}; }
  std::span<std::byte> ciphertext() { return {ciphertext_.get(), scratch_bytes}; }
  std::span<std::byte> plaintext() { return {plaintext_.get(), scratch_bytes}; }
  /// For sealed records until the kernel has them. Give it back when it is empty.
  std::unique_ptr<SendBuffer> take_send_buffer();
  void give_send_buffer(std::unique_ptr<SendBuffer> buffer);

  static constexpr std::size_t scratch_bytes = 256 << 10;
  /// What is sealed together. More would save little, and stand before whatever becomes ready meanwhile.
  static constexpr std::size_t staging_bytes = 128 << 10;

 private:
  void tick();

  Worker& worker_;
  DataPlaneCounters counters_;
  MemoryLease memory_;
  std::unique_ptr<std::byte[]> staging_;
  std::unique_ptr<std::byte[]> ciphertext_;
  std::unique_ptr<std::byte[]> plaintext_;
  std::vector<std::unique_ptr<SendBuffer>> send_buffers_;
  std::unordered_map<TunnelId, std::unique_ptr<Tunnel>> tunnels_;
  std::unordered_map<EndId, std::unique_ptr<StreamEnd>> ends_;
  EndId next_end_id_ = 1;
  boost::asio::steady_timer tick_;
};

}  // namespace culvert
