// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <memory>

#include "common/http/head.hpp"
#include "common/net/worker.hpp"
#include "common/tunnel/data_plane.hpp"
#include "common/upstream/back_end_exchange.hpp"
#include "server/gateway/external_target.hpp"
#include "server/proxy/upstream.hpp"

namespace culvert::server {

/// A server outside as the far side of an exchange, over a connection of this server's own. At most a window of bytes
/// waits in each direction.
class DirectUpstream final : public Upstream, private BackEndExchange::Client, private TurnEnd {
 public:
  static constexpr std::size_t window_bytes = std::size_t{256} << 10;

  /// `head` is the request as it is sent.
  DirectUpstream(Upstream::Client& client, DataPlane& plane, const BackEndContext& context,
                 std::shared_ptr<const ExternalTarget> target, http::RequestHead head);
  DirectUpstream(const DirectUpstream&) = delete;
  DirectUpstream& operator=(const DirectUpstream&) = delete;
  ~DirectUpstream() override;

  // Upstream
  void start() override;
  void set_readable() override { send_request(); }
  void take(std::size_t bytes) override;
  bool is_open() const override { return is_open_ && !(request_ended_ && response_ended_); }
  void drop(protocol::Reason reason) override;
  void on_tick(protocol::Time now) override;

 private:
  // BackEndExchange::Client
  void on_connected() override;
  void on_response(http::ResponseHead head) override;
  void on_body_readable() override { receive_body(); }
  void on_taken(std::size_t bytes) override;
  void on_failed(const protocol::Reject& why) override;
  // TurnEnd
  void on_turn_end() override;

  void send_request();
  void receive_body();
  void end_if_complete();
  void go_on();

  Upstream::Client& client_;
  DataPlane& plane_;
  const std::shared_ptr<const ExternalTarget> target_;
  http::RequestHead head_;
  bool is_open_ = true;
  bool is_connected_ = false;
  bool is_sending_ = false;
  bool is_receiving_ = false;
  bool request_ended_ = false;
  bool has_response_ = false;
  bool response_ended_ = false;
  bool goes_on_ = false;              ///< on_turn_end() is due.
  std::size_t untaken_request_ = 0;   ///< Bytes that the target's socket has not accepted yet.
  std::size_t untaken_response_ = 0;  ///< The same of the client's.
  std::unique_ptr<BackEndExchange> back_end_;
};

/// The error for a target that is not reached, or does not answer as it should.
ProxyError error_of_target(const protocol::Reject& why);

}  // namespace culvert::server
