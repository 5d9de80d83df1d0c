// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/base/permit.hpp"
#include "common/http/response_parser.hpp"
#include "common/net/poller.hpp"
#include "common/net/worker.hpp"
#include "common/upstream/http_socket.hpp"
#include "common/upstream/target_dialer.hpp"

namespace culvert {

class BackEndPool;

/// The user of a back end's connection: an HTTP exchange.
class BackEndUser {
 public:
  virtual void on_back_end(std::uint32_t events) = 0;

 protected:
  ~BackEndUser() = default;
};

/// A kept-alive HTTP connection to a back end. It stays in the poller between exchanges, so that its reuse costs no
/// system call. On one worker.
class BackEnd final : public Pollable {
 public:
  /// Connections with the same `key` are interchangeable.
  BackEnd(BackEndPool& pool, std::string key);
  BackEnd(const BackEnd&) = delete;
  BackEnd& operator=(const BackEnd&) = delete;
  ~BackEnd();
  /// Returns false if the kernel's limit of watched sockets is reached.
  [[nodiscard]] bool connect(Dialed dialed);

  HttpSocket socket;
  http::ResponseParser parser;
  bool readable = true;         ///< The socket may have bytes: no read has found it empty.
  bool was_used = false;        ///< An earlier exchange used it: the back end may have closed it since.
  BackEndUser* user = nullptr;  ///< nullptr while it is idle.
  protocol::Time idle_since{0};
  std::chrono::seconds idle_time_max{50};  ///< Less than the 60 or 75 s of common servers; the back end may say less.
  const std::string key;

 private:
  void on_ready(std::uint32_t events) override;

  Worker& worker_;
  BackEndPool* const pool_;  ///< Alive while it is idle.
  Permit connection_;
};

/// Idle connections on one worker. Each is closed after its idle_time_max, or as soon as the back end sends anything.
class BackEndPool {
 public:
  /// Whose requests use the connections: everybody's, or only those of one client, which may have logged in on them.
  enum class Users : std::uint8_t { all, one_client };
  explicit BackEndPool(Worker& worker, Users users = Users::all) : worker_(worker), users_(users) {}
  ~BackEndPool() { clear(); }
  BackEndPool(const BackEndPool&) = delete;
  BackEndPool& operator=(const BackEndPool&) = delete;

  /// Takes the connection that was used last, since it is most likely still open. Returns nullptr if none is idle.
  std::unique_ptr<BackEnd> take(const std::string& key);
  /// Keeps a connection for reuse; after close() it is closed. Its exchange must be complete, with nothing of another
  /// message read.
  void put(std::unique_ptr<BackEnd> back_end);
  /// Closes an idle connection.
  void drop(BackEnd& back_end);
  /// Closes all idle connections; those in use are not affected.
  void clear();
  /// Closes all idle connections, now and from now on.
  void close();
  Users users() const { return users_; }
  Worker& worker() { return worker_; }

  static constexpr std::size_t idle_per_key_max = 64;

 private:
  Worker& worker_;
  const Users users_;
  bool is_closed_ = false;
  std::unordered_map<std::string, std::vector<std::unique_ptr<BackEnd>>> idle_;
};

}  // namespace culvert
