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
  std::filesystem::path socket;  ///< Empty: /run/culvert/server.sock or agent.sock by program, if that directory can be
                                 ///< written; else none.
  friend bool operator==(const AdminSettings&, const AdminSettings&) = default;
};

/// Table [metrics]: /metrics, /healthz and /readyz.
struct MetricsSettings {
  std::optional<Endpoint>
      listen;            ///< Server: 127.0.0.1:9494 unless set (listen = "off" turns it off). Agent: off unless set.
  AllowList allow_from;  ///< Required when `listen` is not loopback.
  friend bool operator==(const MetricsSettings&, const MetricsSettings&) = default;
};

/// Table [limits].
struct LimitSettings {
  std::uint64_t memory_budget_bytes =
      512ull << 20;  ///< What streams may be granted, of the whole process. Key: memory_budget = "512MiB".
  std::uint32_t streams_per_link_max = 10'000;   ///< Concurrent streams that one peer process may open.
  std::uint32_t dials_max = 256;                 ///< Dials under way at once, per peer process.
  std::uint32_t workers = 0;                     ///< 0: as many as cores. Needs a restart.
  std::chrono::milliseconds drain_time{30'000};  ///< How long a stop waits for open streams.
  friend bool operator==(const LimitSettings&, const LimitSettings&) = default;
};

/// The files that prove who we are, and the authority that proves the peer. PEM. Tables [tunnel] of the server and
/// [[server]] of the agent.
struct CredentialFiles {
  std::filesystem::path certificate;  ///< Leaf first, then intermediates.
  std::filesystem::path private_key;  ///< Others have no access; the group may read.
  std::filesystem::path ca;
  friend bool operator==(const CredentialFiles&, const CredentialFiles&) = default;
};

/// A local port that leads into the tunnel: an agent's [[channel]], a server's [[virtual_listener]].
struct ListenSettings {
  Endpoint listen;                       ///< Host 127.0.0.1 where only ":port" or "port" is written.
  AllowList allow_from;                  ///< Required when `listen` is not loopback.
  std::uint32_t connections_max = 1024;  ///< Open at once; more are refused by closing them.
  friend bool operator==(const ListenSettings&, const ListenSettings&) = default;
};

}  // namespace culvert
