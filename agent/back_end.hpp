// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/http/response_parser.hpp"
#include "common/net/poller.hpp"
#include "common/tunnel/data_plane.hpp"
#include "common/tunnel/http_socket.hpp"

namespace culvert::agent {

class BackEndPool;

/// Who has the use of a back end's connection: one HTTP exchange.
class BackEndUser {
 public:
  virtual void on_back_end(std::uint32_t events) = 0;

 protected:
  ~BackEndUser() = default;
};

/// A kept-alive HTTP connection to a back end. It stays in the poller from exchange to exchange, so that its reuse
/// costs no system call. On one worker.
class BackEnd final : public Pollable {
 public:
  /// `key` says which connections may take each other's place. `place` is of the mapping's connections.
  BackEnd(BackEndPool& pool, std::string key, RelaySocket connected, std::shared_ptr<void> place);
  ~BackEnd();
  /// False: the kernel watches no more sockets.
  [[nodiscard]] bool watch();

  HttpSocket socket;
  http::ResponseParser parser;
  bool readable = true;         ///< Nobody has found it empty yet.
  bool was_used = false;        ///< By an earlier exchange: it may have died since.
  BackEndUser* user = nullptr;  ///< nullptr while it is idle.
  protocol::Time idle_since{0};
  const std::string key;

 private:
  void on_ready(std::uint32_t events) override;

  BackEndPool& pool_;
  std::shared_ptr<void> place_;
};

/// The idle connections of one worker. They end after a while, and as soon as the back end says anything.
class BackEndPool {
 public:
  explicit BackEndPool(DataPlane& plane) : plane_(plane) {}

  /// nullptr: none is idle. The one used last, since it is the likeliest to live.
  std::unique_ptr<BackEnd> take(const std::string& key);
  /// Its exchange ended well, without a doubt about where the next message begins.
  void put(std::unique_ptr<BackEnd> back_end);
  void drop(BackEnd& back_end);
  /// Of a key that is not wanted any more, or of all: "".
  void clear();
  DataPlane& plane() { return plane_; }

  static constexpr std::size_t idle_per_key_max = 64;
  static constexpr std::chrono::seconds idle_time_max{50};  ///< Less than the 60 or 75 s of common servers.

 private:
  DataPlane& plane_;
  std::unordered_map<std::string, std::vector<std::unique_ptr<BackEnd>>> idle_;
};

}  // namespace culvert::agent
