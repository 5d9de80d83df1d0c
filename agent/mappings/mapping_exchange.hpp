// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "agent/mappings/http_rules.hpp"
#include "agent/mappings/system_mappings.hpp"
#include "common/http/head_message.hpp"
#include "common/http/head_order.hpp"
#include "common/net/resident.hpp"
#include "common/tunnel/data_plane.hpp"
#include "common/tunnel/stream.hpp"
#include "common/tunnel/stream_end.hpp"
#include "common/upstream/back_end_exchange.hpp"

namespace culvert::agent {

/// One HTTP exchange that a server opened (the agent's side of it): checks the request's head by the mapping's rules,
/// and joins the stream with a BackEndExchange. Owned by its DataPlane; retires itself.
class MappingExchange final : public Resident, public StreamEnd, private BackEndExchange::Client {
 public:
  /// The virtual host that OPEN names, its target, and the quota of the link.
  struct Asked {
    Endpoint virtual_host;
    std::shared_ptr<const HttpTarget> target;
    std::chrono::milliseconds patience;  ///< How long the server waits unless it is asked for more.
    LinkQuota link;
    LinkLimits limits;
  };
  /// Begins an exchange, or rejects the stream.
  static void start(DataPlane& plane, const BackEndContext& context, Stream stream, Asked asked);

  MappingExchange(DataPlane& plane, const BackEndContext& context, Asked asked, Admission admission);

 private:
  // StreamEnd
  Pull pull(std::span<std::byte> room) override;
  void push(std::span<const Bytes> pieces) override;
  void on_head(Bytes message) override;
  void on_finished(bool aborted) override;
  void on_reset(protocol::Reason reason) override;
  void on_over() override;
  // Resident
  void on_tick(protocol::Time now) override;
  // BackEndExchange::Client
  void on_connected() override;
  void on_response(http::ResponseHead head) override;
  void on_body_readable() override;
  void on_taken(std::size_t bytes) override;
  void on_failed(const protocol::Reject& why) override;

  void begin(http::RequestHead head);
  bool map_dav_urls(http::RequestHead& head);
  void refuse_request(const http::RequestHead& head, const HttpRefusal& why);
  void refuse(const protocol::Reject& why);

  DataPlane& plane_;
  Log& log_;
  const Endpoint virtual_host_;
  const std::shared_ptr<const HttpTarget> target_;
  Stream stream_;
  Admission admission_;
  const protocol::Time began_;
  http::HeadOrder order_;                    ///< Parts of the request that were received.
  bool is_accepted_ = false;                 ///< The stream is accepted.
  int interims_ = 0;                         ///< Interim responses that were sent to an older server.
  std::optional<protocol::Reason> failure_;  ///< The stream is reset once the text about it is sent.
  http::Fields request_trailers_;
  bool sent_trailers_ = false;
  /// Not a part of this object, because malloc hands out what is larger than 1,032 bytes much more slowly.
  std::unique_ptr<BackEndExchange> back_end_;
};

}  // namespace culvert::agent
