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

/// The tunnels by destination: on the agent by server name, on the server by account and location. Changed at home,
/// read on any worker.
class TunnelDirectory {
 public:
  struct Entry {
    TunnelId id;
    std::size_t plane;  ///< The index of the tunnel's worker.
    std::shared_ptr<TunnelLoad> load;
  };
  /// How often the calling connection may have to move to its tunnel's worker.
  enum class Moves : std::uint8_t {
    once,       ///< The connection opens one stream.
    each_time,  ///< It opens one per request: it moves only to a tunnel that is twice as good.
  };
  explicit TunnelDirectory(DataPlanes& planes) : planes_(planes) {}

  DataPlanes& planes() const { return planes_; }

  // From any thread; take effect later.
  /// Calls `published`, if it is set, at home once pick() on every worker knows the tunnel.
  void add(std::string key, Entry entry, std::function<void()> published = {});
  void remove(std::string key, TunnelId id);

  /// Picks the tunnel of a new stream, which stays there (SPEC 6.4), and adds the stream to its load. A tunnel without
  /// a busy stream is preferred, then the one that carries least, so that small streams avoid bulky ones. Among equals
  /// it is the one with the fewest streams, and preferably one on `plane`, since moving the connection costs a wake-up.
  /// Skips those in `tried`. On any worker.
  std::optional<Entry> pick(const std::string& key, std::size_t plane, std::span<const TunnelId> tried,
                            Moves moves = Moves::once) const;
  /// Returns how many tunnels `key` has.
  std::size_t count(const std::string& key) const;
  /// Returns all keys that have a tunnel, sorted. At home.
  std::vector<std::string> keys() const;

 private:
  using Table = std::unordered_map<std::string, std::vector<Entry>>;
  /// A change copies one part of the table. Otherwise thousands of agents that reconnect at once would each copy the
  /// whole.
  struct Part {
    Table table;  ///< Used at home only.
    bool publishing = false;
    std::vector<std::function<void()>> waiting;  ///< For what is published next.
    Snapshot<Table> published{std::make_shared<const Table>()};
  };
  static constexpr std::size_t parts = 64;
  static std::size_t part_of(const std::string& key) { return std::hash<std::string>()(key) % parts; }
  void publish_soon(Part& part);

  DataPlanes& planes_;
  std::array<Part, parts> parts_;
};

}  // namespace culvert
