// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "agent/back_end.hpp"
#include "agent/system_mappings.hpp"
#include "common/admin/log.hpp"
#include "common/http/head_message.hpp"
#include "common/http/reuse.hpp"
#include "common/tunnel/stream_acceptor.hpp"
#include "common/tunnel/tunnel.hpp"

namespace culvert::agent {

/// What the HTTP exchanges of one worker share.
struct HttpSurroundings {
  DataPlane& plane;
  StreamAcceptor& acceptor;
  BackEndPool& pool;
  Log& log;
};

/// One request that came through a tunnel, and its response: the stream's end, joined with a back end's connection
/// while that is needed. The request is checked anew, matched with the mapping's rules, and only then does anybody hear
/// of it. Owned by its DataPlane; buries itself.
class HttpExchange final : public StreamEnd, public BackEndUser, public TurnEnd {
 public:
  /// `target` is what the OPEN's name leads to. Waits for HEAD(request).
  static void start(const HttpSurroundings& around, Tunnel& tunnel, protocol::StreamId stream,
                    const protocol::Open& open, HttpTarget target, std::shared_ptr<void> link_place);

  HttpExchange(const HttpSurroundings& around, Tunnel& tunnel, protocol::StreamId stream, const protocol::Open& open,
               HttpTarget target, std::shared_ptr<void> link_place);
  ~HttpExchange() override;

 private:
  Pull pull(std::span<std::byte> room) override;
  void push(std::span<const Bytes> pieces) override;
  void on_head(Bytes message) override;
  void on_tick(protocol::Time now) override;
  void on_accepted() override {}
  void on_rejected(const protocol::Reject&) override {}
  void on_finished(bool aborted) override;
  void on_reset(protocol::Reason reason) override;
  void on_stopped(protocol::Reason reason) override;
  void on_forgotten(std::uint64_t window_bytes) override;
  void on_back_end(std::uint32_t events) override;
  void on_turn_end() override;

  void touch();
  void begin_request(http::RequestHead head);
  void reach();
  void connected(Result<RelaySocket> reached);
  void join(std::unique_ptr<BackEnd> back_end);
  void read_response();
  void begin_response(http::ResponseHead head);
  void write_end_of_request();
  void settle_taken(std::size_t waited_before);
  void flush();
  void note_deaf();
  bool try_again();
  void refuse(const protocol::Reject& reject);
  void fail(protocol::Reason reason);
  void fail_later(protocol::Reason reason);
  void end_if_complete();
  void let_go(bool reusable);

  const HttpSurroundings around_;
  Tunnel* tunnel_;  ///< nullptr once the stream is forgotten.
  const protocol::StreamId stream_;
  const Endpoint asked_for_;  ///< By OPEN: the request must mean the same.
  HttpTarget target_;
  std::shared_ptr<void> link_place_;
  EndId id_ = 0;
  protocol::Time since_;  ///< Of the last progress.
  bool touched_ = false;

  std::optional<http::RequestHead> request_;
  http::Asked asked_;
  std::optional<http::BodyWriter> request_body_;
  ByteQueue early_;  ///< Body bytes that came before there was a back end.
  bool early_end_ = false;
  http::Fields request_trailers_;
  http::Exchange course_;

  std::unique_ptr<BackEnd> back_end_;
  bool is_accepted_ = false;
  bool is_raw_ = false;
  bool body_was_sent_ = false;  ///< Some of it: the request cannot be sent again.
  bool was_heard_ = false;      ///< The back end has begun an answer: nor can it then.
  bool back_end_is_deaf_ = false;
  std::optional<http::BodyReader> response_body_;
  bool sent_trailers_ = false;
  bool broke_off_ = false;
  std::uint64_t untaken_bytes_ = 0;
};

}  // namespace culvert::agent
