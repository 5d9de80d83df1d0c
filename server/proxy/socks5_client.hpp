// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include <boost/asio/ip/tcp.hpp>

#include "common/base/permit.hpp"
#include "common/base/snapshot.hpp"
#include "common/net/poller.hpp"
#include "common/ports/client_port.hpp"
#include "common/tls/data_socket.hpp"
#include "common/tunnel/data_plane.hpp"
#include "common/tunnel/stream.hpp"
#include "common/tunnel/stream_end.hpp"
#include "common/tunnel/stream_opener.hpp"
#include "server/auth/caller_check.hpp"
#include "server/proxy/http_proxy.hpp"
#include "server/proxy/socks5.hpp"

namespace culvert::server {

/// Rules for callers of the SOCKS5 proxy. A reload changes them for new connections.
struct Socks5Rules {
  Socks5::Methods methods;
  AskCaller ask = refuse_callers;
};

/// The rules that the file states. `tokens` is nullptr without issuers. `passwords` outlives them.
std::shared_ptr<const Socks5Rules> socks5_rules(const Socks5ProxySettings& settings,
                                                const std::shared_ptr<TokenCheck>& tokens, PasswordChecker& passwords);

/// Shared by all connections of the SOCKS5 proxy, on every worker.
struct Socks5Context {
  Socks5Context(const TunnelDirectory& tunnels, Log& program_log, std::shared_ptr<const HttpPortContext> inside)
      : directory(tunnels), log(program_log), http(std::move(inside)) {}

  const TunnelDirectory& directory;
  Log& log;
  std::shared_ptr<const HttpPortContext> http;  ///< For connections to mappings that speak HTTP.
  Snapshot<Socks5Rules> rules{std::make_shared<const Socks5Rules>()};
};

/// Serves the SOCKS5 proxy.
ClientPort::Serve serve_socks5(std::shared_ptr<const Socks5Context> context);

/// A workload's connection to the SOCKS5 proxy until the agent has connected: negotiates, opens a stream, and answers.
/// Then a Relay becomes the owner of both; for an HTTP mapping a ProxyClient becomes the owner of the connection. It
/// reads no byte after the request, so later bytes wait in the kernel. Owned by its DataPlane; retires itself.
class Socks5Client final : public ClientConnection, public Pollable, private StreamEnd, private StreamOpener::Client {
 public:
  struct Setup {
    std::shared_ptr<const Socks5Context> context;
    UniqueFd socket;
    boost::asio::ip::tcp::endpoint peer;
    Permit connection;                     ///< Permit of the port.
    std::shared_ptr<PortClients> clients;  ///< All clients of the port.
    /// These three are set if the connection moved to this worker for its tunnel: its request is known.
    std::unique_ptr<Socks5> negotiation;
    Route route;
    std::unique_ptr<StreamOpener> opener;
  };
  /// Becomes the owner of the connection. Call it on the plane's worker.
  static void start(DataPlane& plane, Setup setup);

  Socks5Client(DataPlane& plane, Setup setup);
  ~Socks5Client() override;

 private:
  enum class State : std::uint8_t {
    negotiating,
    checking,  ///< Waits for the check of the caller.
    opening,   ///< Waits for the agent's answer.
    leaving,   ///< All is sent; waits for the client to close.
    closed,
  };

  // StreamEnd: no bytes pass until the stream is accepted; bytes of a stream that is given up are discarded.
  Pull pull(std::span<std::byte>) override { return {0, protocol::Source::blocked}; }
  void push(std::span<const Bytes> pieces) override;
  void on_head(Bytes message) override { stream_.take(message.size()); }
  void on_finished(bool) override {}
  void on_reset(protocol::Reason reason) override { opener_->on_reset(reason); }
  void on_over() override {}
  // StreamOpener::Client
  bool may_move() const override { return true; }
  void move_to(DataPlane& there) override;
  void on_placed() override {}
  void on_accepted() override;
  void on_refused(const OpenRefusal& refusal) override;
  // Pollable, ClientConnection
  void on_ready(std::uint32_t events) override;
  void on_tick(protocol::Time now) override;
  void on_drain() override;
  void give_way() override { close(); }

  void read();
  void perform(Socks5::Step step);
  bool send_output();
  void ask(CallerCredentials credentials, std::string_view location);
  void on_caller(std::expected<Caller, CallerFlaw> verdict);
  void begin_request();
  void open();
  UniqueFd release_socket();
  void speak_http();
  void reply(Socks5Reply code);
  void answer(Socks5Reply code, std::string_view why);
  void log_refusal(std::string_view why);
  void leave();
  void linger();
  void close();

  DataPlane& plane_;
  const std::shared_ptr<const Socks5Context> context_;
  const boost::asio::ip::tcp::endpoint peer_;
  Permit connection_;
  WaitsForClient waits_;
  DataSocket socket_;
  State state_ = State::negotiating;
  protocol::Time since_;  ///< When the negotiation, which has one deadline, or leaving began.
  std::size_t dropped_bytes_ = 0;
  std::unique_ptr<Socks5> negotiation_;
  Caller caller_;
  bool is_known_ = false;                   ///< The caller's credentials were accepted.
  bool asked_without_credentials_ = false;  ///< The client offers no method with credentials.
  Stream stream_;
  std::unique_ptr<StreamOpener> opener_;
};

}  // namespace culvert::server
