// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "common/net/allow_list.hpp"
#include "common/net/endpoint.hpp"

// The parts of a configuration that both programs share. Plain values with their defaults; docs/configure.md has a
// table of the keys.

namespace culvert {

/// Table [log].
struct LogSettings {
  enum class Level : std::uint8_t { error, warn, info, debug };
  enum class Format : std::uint8_t { text, json };
  Level level = Level::info;
  Format format = Format::text;
  friend bool operator==(const LogSettings&, const LogSettings&) = default;
};

/// Table [admin]: the local control socket.
struct AdminSettings {
  /// Empty: /run/culvert/server.sock or /run/culvert/agent.sock, if that directory is writable; else no socket.
  std::filesystem::path socket;
  friend bool operator==(const AdminSettings&, const AdminSettings&) = default;
};

/// Table [metrics]: /metrics, /healthz and /readyz.
struct MetricsSettings {
  /// Server: 127.0.0.1:9494 unless set (listen = "off" turns it off). Agent: off unless set.
  std::optional<Endpoint> listen;
  AllowList allow_from;  ///< Required when `listen` is not loopback.
  friend bool operator==(const MetricsSettings&, const MetricsSettings&) = default;
};

/// Table [limits].
struct LimitSettings {
  /// Bytes that the whole process may grant to streams. Key memory_budget = "512MiB".
  std::uint64_t memory_budget_bytes = 512ull << 20;
  std::uint32_t streams_per_link_max = 10'000;   ///< Open streams per peer process.
  std::uint32_t dials_max = 256;                 ///< Dials under way per peer process.
  std::uint32_t workers = 0;                     ///< 0: one per core. A change needs a restart.
  std::chrono::milliseconds drain_time{30'000};  ///< How long a stop waits for open streams.
  /// Silence after which TCP asks whether a peer is still there; 0: never. A change needs a restart.
  std::chrono::milliseconds tcp_keep_alive{60'000};
  // Of HTTP heads from sockets: clients' requests at the server, back ends' responses at the agent.
  std::uint64_t head_bytes_max = 64ull << 10;
  std::uint64_t head_line_bytes_max = 16ull << 10;
  friend bool operator==(const LimitSettings&, const LimitSettings&) = default;
};

/// The files that prove who we are, and the authority that proves the peer. PEM. Tables [tunnel] of the server and
/// [[server]] of the agent.
struct CredentialFiles {
  std::filesystem::path certificate;  ///< Leaf first, then intermediates.
  std::filesystem::path private_key;  ///< The group may read it; others have no access.
  std::filesystem::path ca;
  friend bool operator==(const CredentialFiles&, const CredentialFiles&) = default;
};

/// A local port whose connections go into the tunnel: an agent's [[channel]], a server's [[virtual_listener]].
struct ListenSettings {
  Endpoint listen;                       ///< Host 127.0.0.1 where only ":port" or "port" is written.
  AllowList allow_from;                  ///< Required when `listen` is not loopback.
  std::uint32_t connections_max = 1024;  ///< Open at once; further ones are closed.
  /// Open at once from one source that is not loopback (IPv6: from its /64); 0 is no limit.
  std::uint32_t connections_per_source_max = 0;
  friend bool operator==(const ListenSettings&, const ListenSettings&) = default;
};

}  // namespace culvert
