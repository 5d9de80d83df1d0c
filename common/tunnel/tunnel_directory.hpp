// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/base/snapshot.hpp"
#include "common/tunnel/data_planes.hpp"
#include "common/tunnel/tunnel.hpp"

namespace culvert {

/// Which tunnels lead where: the agent's by server name, the server's by account and location. Changed at home, read on
/// any worker.
class TunnelDirectory {
 public:
  struct Entry {
    TunnelId id;
    std::size_t plane;  ///< The index of the tunnel's worker.
    std::shared_ptr<TunnelLoad> load;
  };
  /// How often the connection that asks may have to move to its tunnel's worker.
  enum class Moves : std::uint8_t {
    once,       ///< The stream is the connection's whole life.
    each_time,  ///< It asks for each request: it moves only for twice as good a place.
  };
  explicit TunnelDirectory(DataPlanes& planes) : planes_(planes) {}

  // From any thread; takes effect soon.
  void add(std::string key, Entry entry);
  void remove(std::string key, TunnelId id);

  /// Where a new stream goes (SPEC 6.4: it stays there), and counts it in its load: the tunnel that carries least, so
  /// that small streams avoid bulky ones; among those that carry alike the one with the fewest streams, and rather one
  /// on `plane`, since to move the connection costs a wake-up. Not one of `tried`. On any worker.
  std::optional<Entry> pick(const std::string& key, std::size_t plane, std::span<const TunnelId> tried,
                            Moves moves = Moves::once) const;
  /// How many tunnels stand for `key`.
  std::size_t count(const std::string& key) const;
  /// All keys that lead somewhere, sorted. At home.
  std::vector<std::string> keys() const;

 private:
  using Table = std::unordered_map<std::string, std::vector<Entry>>;
  /// A change copies one part of the whole, or thousands of agents that come back at once would copy all of them for
  /// each.
  struct Part {
    Table table;  ///< At home.
    bool publishing = false;
    Snapshot<Table> published{std::make_shared<const Table>()};
  };
  static constexpr std::size_t parts = 64;
  static std::size_t part_of(const std::string& key) { return std::hash<std::string>()(key) % parts; }
  void publish_soon(Part& part);

  DataPlanes& planes_;
  std::array<Part, parts> parts_;
};

}  // namespace culvert
