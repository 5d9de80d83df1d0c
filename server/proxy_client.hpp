// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <boost/asio/ip/address.hpp>

#include "common/admin/log.hpp"
#include "common/http/body_reader.hpp"
#include "common/http/body_writer.hpp"
#include "common/http/head_message.hpp"
#include "common/http/request_parser.hpp"
#include "common/http/reuse.hpp"
#include "common/tunnel/http_socket.hpp"
#include "common/tunnel/tunnel.hpp"
#include "common/tunnel/tunnel_directory.hpp"
#include "server/client_pace.hpp"
#include "server/proxy_error.hpp"

namespace culvert::server {

/// Whose agents a request goes to.
struct ProxyRoute {
  std::string account;
  std::string location;
};

/// What all connections of the HTTP proxy share. Outlives them; used on every worker.
struct ProxySurroundings {
  DataPlanes& planes;
  const TunnelDirectory& directory;
  Log& log;
  /// May this request pass, and whose is it? On that worker.
  std::function<std::expected<ProxyRoute, ProxyError>(const http::RequestHead&, std::string_view proxy_authorization,
                                                      std::size_t worker)>
      admit;
};

/// A workload's connection to the HTTP proxy: request after request, each routed by itself over a stream of its own.
/// Bodies go through as they come, in both directions at once; what the socket does not take is bounded by the stream's
/// credit. Owned by its DataPlane; buries itself. Between two requests it may move to another worker.
class ProxyClient final : public StreamEnd, public Pollable, public TurnEnd {
 public:
  /// Where everything goes inside a CONNECT to a mapping that speaks HTTP, whatever its requests say.
  struct Inside {
    Endpoint authority;
    ProxyRoute route;
  };
  struct Setup {
    std::shared_ptr<const ProxySurroundings> around;
    UniqueFd socket;
    std::string read_ahead;
    boost::asio::ip::address source;
    std::shared_ptr<void> place;     ///< Of the port's connections.
    std::optional<TunnelId> tunnel;  ///< Where the first request goes: it moved here for that.
    std::vector<TunnelId> tried;
    std::optional<Inside> inside;  ///< Set where CONNECT, or SOCKS, has been answered.
  };
  /// Takes the connection over, on the plane's worker.
  static void start(DataPlane& plane, Setup setup);

  ProxyClient(DataPlane& plane, Setup setup);
  ~ProxyClient() override;

 private:
  enum class State : std::uint8_t {
    reading,     ///< A head, or nothing yet.
    exchanging,  ///< From the stream's OPEN to the end of the response.
    leaving,     ///< Only what waits is still sent.
    lingering,   ///< Our end is closed; waits for the client's.
    gone,
  };

  // StreamEnd
  Pull pull(std::span<std::byte> room) override;
  void push(std::span<const Bytes> pieces) override;
  void on_head(Bytes message) override;
  void on_tick(protocol::Time now) override;
  void on_accepted() override;
  void on_rejected(const protocol::Reject& reject) override;
  void on_finished(bool aborted) override;
  void on_reset(protocol::Reason reason) override;
  void on_stopped(protocol::Reason reason) override;
  void on_forgotten(std::uint64_t window_bytes) override;
  void on_ready(std::uint32_t events) override;
  void on_turn_end() override;

  void touch();
  void read_requests();
  void begin_request();
  bool place();
  bool open(Tunnel& tunnel);
  void move_to(const TunnelDirectory::Entry& entry);
  void begin_response(http::ResponseHead head);
  void answer(const ProxyError& error);
  void cut(protocol::Reason reason);
  void end_exchange();
  void leave();
  void give_up_stream(protocol::Reason reason);
  void begin_raw(std::string_view said);
  void forget_replayed();
  void linger();
  bool is_too_slow(protocol::Time now);
  void end_slow_client();
  void settle_taken(std::size_t waited_before);
  void flush();
  void die();

  DataPlane& plane_;
  const std::shared_ptr<const ProxySurroundings> around_;
  const boost::asio::ip::address source_;
  std::shared_ptr<void> place_;
  EndId id_ = 0;
  HttpSocket socket_;
  State state_ = State::reading;
  bool touched_ = false;
  bool client_ended_ = false;  ///< It will send nothing more.
  bool readable_ = false;
  protocol::Time since_;  ///< Of the state, for its deadline.
  TakingPace taking_;

  http::RequestParser parser_{http::Role::proxy};

  /// One request and its response.
  struct Exchange {
    http::RequestHead head;
    http::Asked asked;
    ProxyRoute route;
    std::string request_id;
    http::Exchange course;  ///< For the question of reuse.
    http::BodyReader body;
    BodyPace pace;
    bool is_invited = true;  ///< False: the client waits for 100 before it sends the body.
    std::optional<http::BodyWriter> response;
    http::Fields trailers;  ///< Of the response.
    bool sent_trailers = false;
    bool is_raw = false;       ///< After 101 or CONNECT.
    bool broke_off = false;    ///< The client, in the middle of its request.
    bool is_answered = false;  ///< ACCEPT came: nothing is replayed any more.
    std::vector<std::byte> replay;
    std::size_t replayed = 0;
    std::uint64_t untaken_bytes = 0;
  };
  std::unique_ptr<Exchange> exchange_;
  std::vector<TunnelId> tried_;
  std::optional<TunnelId> wanted_tunnel_;
  std::optional<Inside> inside_;
  int streams_ = 0;           ///< Not forgotten yet: one, or two around a REJECT.
  Tunnel* tunnel_ = nullptr;  ///< Of the stream of this exchange, until it is forgotten.
  protocol::StreamId stream_ = 0;
};

}  // namespace culvert::server
