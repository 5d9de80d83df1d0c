// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/ip/tcp.hpp>

#include "common/base/quota.hpp"
#include "common/base/snapshot.hpp"
#include "common/tunnel/relay_socket.hpp"
#include "common/tunnel/tunnel.hpp"
#include "common/tunnel/tunnel_directory.hpp"
#include "server/config.hpp"
#include "server/password_desk.hpp"
#include "server/proxy_client.hpp"
#include "server/socks5.hpp"

namespace culvert::server {

/// Whose agents a token's bearer may go to, or which check it failed. On that worker.
using CheckToken = std::function<std::expected<ProxyRoute, std::string>(
    std::string_view jwt, const std::string& location, std::size_t worker)>;

/// What all connections of the SOCKS5 proxy share. Outlives them; used on every worker.
struct Socks5Surroundings {
  Socks5Surroundings(DataPlanes& all_planes, const TunnelDirectory& tunnels, Log& program_log,
                     std::shared_ptr<const Socks5ProxySettings> first, CheckToken token_check,
                     std::shared_ptr<const ProxySurroundings> inside)
      : planes(all_planes),
        directory(tunnels),
        log(program_log),
        settings(std::move(first)),
        check_token(std::make_shared<const CheckToken>(std::move(token_check))),
        http(std::move(inside)) {}

  DataPlanes& planes;
  const TunnelDirectory& directory;
  Log& log;
  Snapshot<Socks5ProxySettings> settings;
  std::shared_ptr<Quota> connections = std::make_shared<Quota>();
  PasswordDesk desk;
  Snapshot<CheckToken> check_token;  ///< Empty: the method is not offered.
  /// For connections to mappings that speak HTTP.
  std::shared_ptr<const ProxySurroundings> http;
};

/// A workload's connection to the SOCKS5 proxy up to its success: negotiates, opens a stream, and tells the client when
/// the agent has connected; then a Relay takes both, or a ProxyClient the connection where requests are to be seen one
/// by one. Reads nothing behind the request, so what follows it waits in the kernel. Owned by its DataPlane; buries
/// itself.
class Socks5Client final : public StreamEnd, public Pollable {
 public:
  struct Setup {
    std::shared_ptr<Socks5Surroundings> around;
    UniqueFd socket;
    boost::asio::ip::tcp::endpoint peer;
    std::shared_ptr<Quota> place;  ///< Of the port's connections.
    /// Set where the request is known already: the connection moved to this worker for its tunnel.
    std::unique_ptr<Socks5> talk;
    ProxyRoute route;
    std::optional<TunnelId> tunnel;
    std::vector<TunnelId> tried;
  };
  /// Takes the connection over, on the plane's worker.
  static void start(DataPlane& plane, Setup setup);

  Socks5Client(DataPlane& plane, Setup setup);
  ~Socks5Client() override;

 private:
  enum class State : std::uint8_t {
    negotiating,
    checking,  ///< The password is at the desk.
    opening,   ///< From the request to the agent's answer.
    leaving,   ///< Everything is said; waits for the client's end.
    gone,
  };

  // StreamEnd; until the stream is accepted nothing flows.
  Pull pull(std::span<std::byte>) override { return {0, protocol::Source::blocked}; }
  void push(std::span<const Bytes> pieces) override;
  void on_head(Bytes message) override;
  void on_tick(protocol::Time now) override;
  void on_accepted() override;
  void on_rejected(const protocol::Reject& reject) override;
  void on_finished(bool) override {}
  void on_reset(protocol::Reason reason) override;
  void on_stopped(protocol::Reason) override {}
  void on_forgotten(std::uint64_t window_bytes) override;
  // Pollable
  void on_ready(std::uint32_t events) override;

  void read();
  void take(Socks5::Step step);
  bool say();
  void ask_desk();
  void check_token();
  void judged(bool is_welcome);
  void begin_request();
  bool place();
  bool open(Tunnel& tunnel);
  void move_to(const TunnelDirectory::Entry& entry);
  UniqueFd release_socket();
  void speak_http();
  void reply(Socks5Reply code);
  void answer(Socks5Reply code, std::string_view why);
  void note_refusal(std::string_view why);
  void leave();
  void linger();
  void time_out();
  void die();

  DataPlane& plane_;
  const std::shared_ptr<Socks5Surroundings> around_;
  const boost::asio::ip::tcp::endpoint peer_;
  std::shared_ptr<Quota> place_;
  EndId id_ = 0;
  RelaySocket socket_;
  State state_ = State::negotiating;
  protocol::Time since_;  ///< Of negotiating (which has one deadline for all of it), opening and leaving.
  std::size_t dropped_bytes_ = 0;
  std::unique_ptr<Socks5> talk_;
  ProxyRoute route_;
  std::shared_ptr<const Socks5Consumer> consumer_;  ///< Whose password it was.
  std::vector<TunnelId> tried_;
  std::optional<TunnelId> wanted_tunnel_;
  int streams_ = 0;           ///< Not forgotten yet: one, or more around a REJECT.
  Tunnel* tunnel_ = nullptr;  ///< Of the stream that is being opened.
  protocol::StreamId stream_ = 0;
};

}  // namespace culvert::server
