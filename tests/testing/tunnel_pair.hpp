// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/admin/log.hpp"
#include "common/net/unique_fd.hpp"
#include "common/ports/client_port.hpp"
#include "common/tunnel/data_planes.hpp"
#include "common/tunnel/tunnel.hpp"
#include "common/tunnel/tunnel_directory.hpp"
#include "common/upstream/target_dialer.hpp"
#include "tests/testing/certificates.hpp"
#include "tests/testing/mailbox.hpp"

namespace culvert::testing {

// ---- real blocking sockets; no wait is longer than 10 s

/// How a connection ended for its reader.
enum class End : std::uint8_t { clean, reset, still_open };

/// Returns bytes that differ at every offset, so that a lost, doubled or misplaced byte is detected.
std::string pattern(std::size_t size, std::uint32_t seed = 1);
void send_all(int fd, std::string_view bytes);
/// Sends as much as the kernel accepts at once, and returns its size.
std::size_t send_some(int fd, std::string_view bytes);
/// Returns exactly `size` bytes; fewer if the connection ended or nothing was received for 10 s.
std::string receive(int fd, std::size_t size);
struct Received {
  std::string bytes;
  End end = End::still_open;
};
Received receive_to_end(int fd);
void half_close(int fd);
/// Ends the connection with RST.
void reset(UniqueFd& fd);

/// Runs `task` on the plane's worker and waits for it.
void on(DataPlane& plane, const std::function<void(DataPlane&)>& task);
/// Waits until `holds` is true on every worker at once. Returns false after 10 s.
bool eventually(DataPlanes& planes, std::function<bool(DataPlane&)> holds);

/// One side's TunnelOwner: follows the rules of both programs, and reports to the test.
class Side final : public TunnelOwner {
 public:
  std::function<void(Tunnel&, Stream, const protocol::Open&)> opened;
  std::function<void(Tunnel&)> welcomed = [](Tunnel&) {};
  std::function<Result<void>(Tunnel&)> secured = [](Tunnel&) { return Result<void>(); };
  Mailbox<TunnelId> up;
  Mailbox<TunnelId> congested;
  Mailbox<TunnelId> draining;
  Mailbox<Error> closed;

 private:
  Result<void> on_secured(Tunnel& tunnel) override { return secured(tunnel); }
  void on_greeted(Tunnel& tunnel, const protocol::Hello& hello) override;
  void on_welcomed(Tunnel& tunnel, const protocol::Welcome& welcome) override;
  void on_opened(Tunnel& tunnel, Stream stream, const protocol::Open& open) override {
    opened(tunnel, std::move(stream), open);
  }
  void on_congested(Tunnel& tunnel) override { congested.put(tunnel.id()); }
  void on_replicas(Tunnel&, const std::vector<std::string>&) override {}
  void on_join_asked(Tunnel&, protocol::Join&) override {}
  void on_renew_asked(Tunnel&, protocol::Renew&) override {}
  void on_renew_answered(Tunnel&, protocol::Enrolled&) override {}
  void on_draining(Tunnel& tunnel, std::chrono::milliseconds delay) override;
  void on_closed(Tunnel& tunnel, const Error& why) override;
};

/// An opener's and an acceptor's data path in one process, joined by tunnels over loopback with real certificates. A
/// client connects to a TCP port of the agent's side; the server's side dials the test's own listening socket. Ends
/// with a check that nothing is left on either side.
class TunnelPair {
 public:
  struct Options {
    std::size_t workers = 1;
    std::size_t tunnels = 1;
    std::uint64_t memory_budget_bytes = 64ull << 20;
    std::uint64_t key_update_bytes = TlsEngine::key_update_bytes_default;
    std::uint32_t connections_max = 100;
    LinkLimits limits;
    /// What the server's side may have open for targets; nullptr: not limited.
    std::shared_ptr<FairQuota> descriptors = nullptr;
  };
  TunnelPair() : TunnelPair(Options{}) {}
  explicit TunnelPair(Options options);
  TunnelPair(const TunnelPair&) = delete;
  TunnelPair& operator=(const TunnelPair&) = delete;
  ~TunnelPair();

  /// Connects to the local port. `receive_buffer_bytes`, if not 0, makes a reader that soon blocks its sender.
  UniqueFd connect(int receive_buffer_bytes = 0) const;
  /// Returns the next connection that the server's side dialled; an empty one after 10 s.
  UniqueFd accept() const;
  struct Joined {
    UniqueFd client;
    UniqueFd target;
  };
  Joined join(int receive_buffer_bytes = 0) const;

  /// Target of the streams: the test's listening socket, unless a test changes it.
  StreamTarget target;
  Side server_side;
  Side agent_side;
  DataPlanes server;
  DataPlanes agent;
  /// Whom the memory of each side's streams counts for.
  std::shared_ptr<MemoryHolder> server_memory = std::make_shared<MemoryHolder>(server.budget());
  std::shared_ptr<MemoryHolder> agent_memory = std::make_shared<MemoryHolder>(agent.budget());
  /// The default of server_side.opened: dials `target`.
  void dial(Tunnel& tunnel, Stream stream);
  /// Begins one more tunnel, whose number is `index`; agent_side.up reports it.
  void start_tunnel(std::size_t index);
  /// Simulates a network failure: the kernel ends the tunnel's connection at both ends.
  void cut(std::size_t tunnel) const;
  /// Returns whether every gauge of both sides is zero, and every byte of the budgets and of their holders is returned.
  bool is_empty();
  const CertificateDirectory& files() const { return files_; }
  const Credential& authority() const { return authority_; }
  std::uint32_t connections() const { return port_->connections(); }

 private:
  Options options_;
  CertificateDirectory files_;
  Credential authority_;
  std::optional<TlsContext> server_tls_;
  std::optional<TlsContext> agent_tls_;
  UniqueFd null_;
  Log log_;
  UniqueFd listening_;
  LinkQuota quota_;
  std::vector<std::unique_ptr<TargetDialer>> dialers_;
  TunnelDirectory directory_;
  std::unique_ptr<ClientPort> port_;
  std::uint16_t port_number_ = 0;
  std::vector<UniqueFd> cables_;
};

}  // namespace culvert::testing
