// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <boost/asio/ip/address.hpp>

#include "common/base/permit.hpp"
#include "common/http/request_parser.hpp"
#include "common/net/poller.hpp"
#include "common/ports/port_clients.hpp"
#include "common/tunnel/data_plane.hpp"
#include "common/upstream/http_socket.hpp"
#include "server/proxy/client_pace.hpp"
#include "server/proxy/http_port.hpp"
#include "server/proxy/proxy_bond.hpp"
#include "server/proxy/proxy_error.hpp"

namespace culvert::server {

class ClientExchange;

/// A workload's connection to a port that speaks HTTP: its socket, its deadlines and its end. It reads one request
/// after the other; each becomes a ClientExchange with its own route. Owned by its DataPlane; retires itself. It may
/// move to another worker together with a request, until the first byte of that request is sent.
class ProxyClient final : public ClientConnection, public Pollable, public TurnEnd {
 public:
  struct Setup {
    std::shared_ptr<const HttpPortContext> context;
    UniqueFd socket;
    std::string read_ahead;
    boost::asio::ip::address source;
    Permit connection;
    std::shared_ptr<PortClients> clients;      ///< All clients of the port.
    bool has_sent = false;                     ///< The client has sent something already, before a request.
    std::optional<FixedHost> inside;           ///< If set, the route is known and the caller is not checked.
    std::string subject;                       ///< Of the token that came with CONNECT.
    std::unique_ptr<ClientExchange> exchange;  ///< The exchange that the connection moved for.
    std::unique_ptr<ProxyBonds> bonds;
  };
  /// Becomes the owner of the connection. Call it on the plane's worker.
  static void start(DataPlane& plane, Setup setup);

  ProxyClient(DataPlane& plane, Setup setup);
  ~ProxyClient() override;

  // ---- called by its exchange, and by those who open it
  DataPlane& plane() { return plane_; }
  HttpSocket& socket() { return socket_; }
  const HttpPortContext& context() const { return *context_; }
  const boost::asio::ip::address& source() const { return source_; }
  const std::string& source_text() const { return source_text_; }
  /// The subject of the token that the last request came with; empty: none.
  const std::string& subject() const { return subject_; }
  /// Requests a flush, and the handling of an end, at the end of the turn.
  void touch();
  void note_read_all() { readable_ = false; }
  /// Moves the connection and its exchange to another worker.
  void move_to(DataPlane& there);
  /// Sends an error of the proxy instead of a response. The connection closes after it, unless a complete request was
  /// read.
  void answer(const ProxyError& error);
  /// Sends a response of this server itself.
  void answer_with(int status, http::Fields fields, std::string_view body);
  /// Sends what waits, then resets the connection, so that an incomplete response does not look complete.
  void break_off();
  /// Logs that the current response is cut off.
  void note_cut(std::string_view why);
  /// The client's requests get back-end connections of their own from now on.
  void begin_bonds();
  ProxyBonds* bonds() const { return bonds_.get(); }
  /// Both directions have ended: reads the next request, or closes.
  void end_exchange();
  /// CONNECT leads to an HTTP mapping: parses the requests inside it, and routes each of them.
  void begin_inside(FixedHost host);
  /// Writes waiting output to the socket.
  void flush();

 private:
  enum class State : std::uint8_t {
    reading,     ///< Reads a head, or is idle.
    exchanging,  ///< From a request's head to the end of its response.
    leaving,     ///< Sends what waits, nothing more.
    breaking,    ///< The same; then resets the connection, once everything is sent.
    lingering,   ///< We have half-closed; waits for the client to close.
    closed,
  };

  // Pollable, TurnEnd, ClientConnection
  void on_ready(std::uint32_t events) override;
  void on_turn_end() override;
  void on_tick(protocol::Time now) override;
  void on_drain() override;
  void give_way() override { close(); }

  bool is_idle() const { return state_ == State::reading && !exchange_ && socket_.input().empty(); }
  void read_requests();
  void begin_request();
  void ask_for_caller();
  std::string request_id();
  bool is_for_server(const http::RequestHead& head) const;
  void refuse_caller(ProxyError error);
  void on_caller(std::expected<Caller, CallerFlaw> verdict);
  void forget_exchange();
  void leave();
  void end_idle();
  void reset_when_sent();
  void linger();
  bool is_too_slow(protocol::Time now);
  bool has_abandoned(protocol::Time now);
  void answer_itself();
  void end_answer(int status, bool keeps);
  void end_slow_client();
  void close();

  DataPlane& plane_;
  const std::shared_ptr<const HttpPortContext> context_;
  const boost::asio::ip::address source_;
  const std::string source_text_;
  Permit connection_;
  WaitsForClient waits_;
  bool has_sent_;
  HttpSocket socket_;
  State state_ = State::reading;
  bool touched_ = false;
  bool readable_ = false;
  protocol::Time since_;  ///< When the state began, for its deadline.
  ReadingPace reading_pace_;
  bool has_hung_up_ = false;        ///< The client has closed its direction.
  protocol::Time silent_since_{0};  ///< While it has hung up: when the response last moved.
  std::uint64_t response_bytes_seen_ = 0;
  http::RequestParser parser_;
  std::optional<FixedHost> inside_;
  std::string subject_;  ///< Of the last caller's token.
  std::unique_ptr<ProxyBonds> bonds_;
  std::unique_ptr<ClientExchange> exchange_;  ///< May be over and not destroyed yet in State::reading.
};

}  // namespace culvert::server
