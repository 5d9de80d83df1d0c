// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "common/http/head.hpp"
#include "common/http/head_order.hpp"
#include "common/http/interim_limit.hpp"
#include "common/tunnel/stream.hpp"
#include "common/tunnel/stream_end.hpp"
#include "common/tunnel/stream_opener.hpp"
#include "server/config/route.hpp"
#include "server/proxy/upstream.hpp"

namespace culvert::server {

/// An agent as the far side of an exchange: a stream of its own (SPEC 5.7). Bytes that the client's socket does not
/// accept are bounded by the stream's credit.
class TunnelUpstream final : public Upstream, private StreamEnd, private StreamOpener::Client {
 public:
  /// `head` is the request, with the virtual host as its authority; it must outlive this object.
  TunnelUpstream(Upstream::Client& client, const http::RequestHead& head, Route route);

  // Upstream
  void start() override;
  void set_readable() override { stream_.set_readable(); }
  void take(std::size_t bytes) override { stream_.take(bytes); }
  bool is_open() const override { return stream_.is_open(); }
  void drop(protocol::Reason reason) override { stream_.drop(reason); }
  void on_tick(protocol::Time now) override;

 private:
  // StreamEnd
  Pull pull(std::span<std::byte> room) override;
  void push(std::span<const Bytes> pieces) override;
  void on_head(Bytes message) override;
  void on_finished(bool aborted) override;
  void on_reset(protocol::Reason reason) override;
  void on_over() override;
  // StreamOpener::Client
  bool may_move() const override;
  void move_to(DataPlane& there) override;
  protocol::StreamId bond_on(Tunnel& tunnel) override;
  void on_placed() override;
  void on_accepted() override;
  void on_refused(const OpenRefusal& refusal) override;

  Pull read(std::span<std::byte> room);
  void cut(protocol::Reason reason);

  Upstream::Client& client_;
  const http::RequestHead& head_;
  const http::Asked asked_;
  const Route route_;
  bool is_placed_ = false;
  bool is_answered_ = false;  ///< The final response is complete.
  bool is_raw_ = false;       ///< Bytes of any protocol follow, both ways.
  bool sent_trailers_ = false;
  std::string failure_;    ///< The agent's text about the failure that follows.
  http::HeadOrder order_;  ///< Parts of the response that were received.
  http::InterimLimit interims_{http::InterimLimit::From::tunnel};
  http::Fields trailers_;  ///< Of the response.
  Stream stream_;
  std::unique_ptr<StreamOpener> opener_;  ///< Until the answer, and the last byte to be sent again.
};

}  // namespace culvert::server
