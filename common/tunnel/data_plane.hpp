// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <boost/asio/steady_timer.hpp>

#include "common/base/memory_budget.hpp"
#include "common/net/resident.hpp"
#include "common/net/send_buffer.hpp"
#include "common/net/worker.hpp"
#include "common/tunnel/data_plane_counters.hpp"
#include "protocol/credit.hpp"

namespace culvert {

class Stream;
class Tunnel;

/// Unique in the process, never reused.
using TunnelId = std::uint64_t;

/// A client's connection to a port that speaks HTTP or SOCKS, until a relay takes the socket over. It may be idle.
class ClientConnection : public Resident {
 public:
  /// The program stops: closes the connection now if it is idle, otherwise after the current request.
  virtual void on_drain() = 0;
  /// The port is full, and the connection waits for its client: closes it, to make room for another one.
  virtual void give_way() = 0;
};

/// The data path of one worker: its tunnels, the ends of their streams, the connections of its clients, the scratch
/// buffers that they share, and its lease of the memory budget. Made before the worker starts and destroyed after it
/// has ended; in between it is used on the worker only, except the counters.
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

  /// Returns the id for a new tunnel. Any thread.
  static TunnelId next_tunnel_id();

  /// Becomes the owner of the tunnel and starts it.
  void add(std::unique_ptr<Tunnel> tunnel);
  /// Returns nullptr if the tunnel has ended.
  Tunnel* find_tunnel(TunnelId id);
  /// Removes the tunnel, and destroys it at the end of this turn, since it may end inside one of its own functions.
  void retire(Tunnel& tunnel);
  const std::unordered_map<TunnelId, std::unique_ptr<Tunnel>>& tunnels() const { return tunnels_; }

  /// Stream ends that no client connection owns.
  ResidentTable<Resident>& relays() { return relays_; }
  ResidentTable<ClientConnection>& clients() { return clients_; }
  /// Closes the connections of clients as soon as they are idle.
  void drain_clients();
  bool is_draining() const { return is_draining_; }
  /// True when no client connection and no stream end is left.
  bool is_idle() const { return relays_.size() == 0 && clients_.size() == 0; }

  /// Takes the window of a new stream from the memory budget, and returns its bytes: window_bytes_start, less when
  /// memory is short or the tunnel has granted much, 0 when nothing is left. Return it with memory().give().
  std::uint64_t take_window(std::uint64_t tunnel_window_bytes);

  /// Scratch buffers. Their contents are valid until the calling function returns.
  std::span<std::byte> staging() { return {staging_.get(), staging_bytes}; }
  std::span<std::byte> ciphertext() { return {ciphertext_.get(), scratch_bytes}; }
  std::span<std::byte> plaintext() { return {plaintext_.get(), scratch_bytes}; }
  /// A buffer for sealed records until the kernel accepts them. Return it with give_send_buffer() once it is empty.
  std::unique_ptr<SendBuffer> take_send_buffer();
  void give_send_buffer(std::unique_ptr<SendBuffer> buffer);

  static constexpr std::size_t scratch_bytes = 256 << 10;
  /// Limit of bytes sealed at once. More would save little, and delay data that becomes ready meanwhile.
  static constexpr std::size_t staging_bytes = 128 << 10;

 private:
  friend class Stream;
  void tick();
  void relieve_memory(protocol::Time now);

  Worker& worker_;
  DataPlaneCounters counters_;
  MemoryLease memory_;
  std::unique_ptr<std::byte[]> staging_;
  std::unique_ptr<std::byte[]> ciphertext_;
  std::unique_ptr<std::byte[]> plaintext_;
  std::vector<std::unique_ptr<SendBuffer>> send_buffers_;
  std::unordered_map<TunnelId, std::unique_ptr<Tunnel>> tunnels_;
  std::unordered_set<Stream*> leftovers_;  ///< Streams that hold memory although their tunnels have forgotten them.
  ResidentTable<Resident> relays_;
  ResidentTable<ClientConnection> clients_;
  bool is_draining_ = false;
  boost::asio::steady_timer tick_;
};

}  // namespace culvert
