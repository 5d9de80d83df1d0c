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
#include "common/http/request_parser.hpp"
#include "server/proxy/client_pace.hpp"
#include "server/proxy/upstream.hpp"

namespace culvert::server {

/// One HTTP request of a ProxyClient and its response: reads the request from the client's socket, writes the response
/// to it, and passes both to and from its Upstream as they arrive, in both directions at once. After 101 or CONNECT it
/// carries bytes of any protocol. Owned by its client.
class ClientExchange final : private Upstream::Client {
 public:
  /// For the request whose head `parser` has just read; moves the head out of it.
  ClientExchange(ProxyClient& client, http::RequestParser& parser);

  /// The request. Whoever opens the exchange may change its fields and its target before.
  http::RequestHead& head() { return head_; }
  const http::ExchangeCourse& course() const { return course_; }
  bool is_connect() const { return asked_.is_connect; }
  bool is_head() const { return asked_.is_head; }
  bool is_raw() const { return is_raw_; }

  /// Sets the destination, in place of the one in the request.
  void set_authority(const Endpoint& authority);
  /// RFC 9110 7.6.2: whether OPTIONS or TRACE ends at this proxy. Otherwise counts this hop in Max-Forwards.
  bool ends_here();
  /// The near side for the upstream that begin() gets.
  Upstream::Client& near_side() { return *this; }
  /// Sends the request there.
  void begin(std::unique_ptr<Upstream> upstream);
  /// Continues after the connection has moved to another worker, where `client` is the connection now.
  void resume(ProxyClient& client);
  /// Drops the upstream, which makes no more calls.
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
  /// Bytes of the response so far, heads counted as one.
  std::uint64_t response_bytes() const { return response_bytes_; }
  /// Returns whether the client sends its body too slowly. `has_read_all`: all received bytes of it are used.
  bool is_too_slow(bool has_read_all, protocol::Time now);
  void set_readable();

 private:
  // Upstream::Client
  ProxyClient& connection() override { return *client_; }
  StreamEnd::Pull pull(std::span<std::byte> room) override;
  const http::Fields& request_trailers() const override { return body_.trailers(); }
  void on_accepted() override;
  void on_response(http::ResponseHead head) override;
  void push(std::span<const StreamEnd::Bytes> pieces) override;
  void on_finished(http::Fields trailers) override;
  void on_over() override;
  void on_failed(ProxyError error, protocol::Reason reason) override;

  void write_interim(const http::ResponseHead& head);
  void begin_raw(std::string_view head);
  void cut(protocol::Reason reason);
  void end_response();

  ProxyClient* client_;
  http::RequestHead head_;
  http::Asked asked_;
  http::ExchangeCourse course_;
  http::BodyReader body_;
  BodyPace pace_;
  bool is_invited_;           ///< False: the client waits for 100 before it sends the body.
  bool is_accepted_ = false;  ///< The target takes the request.
  bool is_raw_ = false;
  bool broke_off_ = false;  ///< The client's request has failed before its end.
  std::optional<http::BodyWriter> response_;
  std::uint64_t untaken_bytes_ = 0;
  std::uint64_t response_bytes_ = 0;
  std::unique_ptr<Upstream> upstream_;
};

}  // namespace culvert::server
