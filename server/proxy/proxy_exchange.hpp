// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/http/body_reader.hpp"
#include "common/http/body_writer.hpp"
#include "common/http/exchange_course.hpp"
#include "common/http/head_order.hpp"
#include "common/http/interim_limit.hpp"
#include "common/http/request_parser.hpp"
#include "common/tunnel/stream.hpp"
#include "common/tunnel/stream_end.hpp"
#include "common/tunnel/stream_opener.hpp"
#include "server/proxy/client_pace.hpp"
#include "server/proxy/http_proxy.hpp"

namespace culvert::server {

class ProxyClient;

/// One HTTP request of a ProxyClient and its response (the server's side of an exchange), over its own stream. Bodies
/// pass as they arrive, in both directions at once; bytes that the client's socket does not accept are bounded by the
/// stream's credit. After 101 or CONNECT it carries bytes of any protocol. Owned by its client.
class ProxyExchange final : public StreamEnd, private StreamOpener::Client {
 public:
  /// For the request whose head `parser` has just read; moves the head out of it.
  ProxyExchange(ProxyClient& client, http::RequestParser& parser);

  /// Who sends the request.
  struct Consumer {
    std::string_view address;
    bool trusts_forwarded = false;  ///< X-Forwarded-* and Forwarded of the request are sent on.
  };

  const http::RequestHead& head() const { return head_; }
  const http::ExchangeCourse& course() const { return course_; }
  bool is_connect() const { return asked_.is_connect; }
  bool is_head() const { return asked_.is_head; }
  bool is_raw() const { return is_raw_; }

  /// Sets the destination, in place of the one in the request.
  void set_authority(const Endpoint& authority);
  /// RFC 9110 7.6.2: whether OPTIONS or TRACE ends at this proxy. Otherwise counts this hop in Max-Forwards.
  bool ends_here();
  /// Opens the stream, on which the request is then sent.
  void open(Route route, const Consumer& consumer);
  /// Continues after the connection has moved to another worker, where `client` is the connection now.
  void resume(ProxyClient& client);
  /// Drops the stream, which makes no more calls.
  void drop(protocol::Reason reason);
  /// The proxy has sent an error with this status as the response.
  void note_answered(int status);

  /// Call it at the end of the turn in which broke_off() became true.
  void settle_break();
  /// True once the client's request has failed before its end.
  bool broke_off() const { return broke_off_; }
  /// Returns the credit for bytes that were written to the client's socket; `waited_before` bytes waited before.
  void settle_taken(std::size_t waited_before);
  void on_tick(protocol::Time now);
  /// Whether the response may continue without limit: it has not begun, or has no length.
  bool is_open_ended() const { return !is_raw_ && (!response_ || course_.response.transfer != http::Transfer::length); }
  /// Bytes of the response so far, heads counted as one.
  std::uint64_t response_bytes() const { return response_bytes_; }
  /// Returns whether the client sends its body too slowly. `has_read_all`: all received bytes of it are used.
  bool is_too_slow(bool has_read_all, protocol::Time now);
  void set_readable() { stream_.set_readable(); }

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
  void begin_response(http::ResponseHead head);
  void begin_raw(std::string_view head);
  void cut(protocol::Reason reason);
  void end_response();

  ProxyClient* client_;
  http::RequestHead head_;
  http::Asked asked_;
  Route route_;
  http::ExchangeCourse course_;
  http::BodyReader body_;
  BodyPace pace_;
  bool is_invited_;  ///< False: the client waits for 100 before it sends the body.
  bool is_placed_ = false;
  bool is_answered_ = false;  ///< The agent has accepted the stream.
  bool is_raw_ = false;
  bool broke_off_ = false;  ///< The client's request has failed before its end.
  bool sent_trailers_ = false;
  http::HeadOrder order_;  ///< Parts of the response that were received.
  http::InterimLimit interims_{http::InterimLimit::From::tunnel};
  std::optional<http::BodyWriter> response_;
  http::Fields trailers_;  ///< Trailers of the response.
  std::uint64_t untaken_bytes_ = 0;
  std::uint64_t response_bytes_ = 0;
  Stream stream_;
  std::unique_ptr<StreamOpener> opener_;  ///< Until the answer, and the last byte to be sent again.
};

}  // namespace culvert::server
