// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <span>

#include "common/http/head.hpp"
#include "common/tunnel/stream_end.hpp"
#include "protocol/reason.hpp"
#include "server/proxy/proxy_error.hpp"

namespace culvert::server {

class ProxyClient;

/// The far side of a client's exchange: an agent behind a tunnel, or a server outside. Bodies pass in both directions
/// at once: it pulls the request, and pushes the response. Owned by its client, on whose worker it is.
///
/// Life: start(), on each worker that the connection moves to, until on_over(), on_failed() or drop().
class Upstream {
 public:
  /// The near side: the exchange of a client's connection, or something between.
  class Client {
   public:
    /// The connection whose request it is.
    virtual ProxyClient& connection() = 0;
    /// Gives bytes of the request's body. At its end the trailers are request_trailers().
    virtual StreamEnd::Pull pull(std::span<std::byte> room) = 0;
    virtual const http::Fields& request_trailers() const = 0;
    /// The target takes the request. Of CONNECT: bytes of any protocol follow.
    virtual void on_accepted() = 0;
    /// Interim responses, then the final one.
    virtual void on_response(http::ResponseHead head) = 0;
    /// Bytes of the response's body: report those that are disposed of with Upstream::take().
    virtual void push(std::span<const StreamEnd::Bytes> pieces) = 0;
    /// The response is complete.
    virtual void on_finished(http::Fields trailers) = 0;
    /// Final: both directions have ended.
    virtual void on_over() = 0;
    /// Final: it failed. `error` is for a client that has no response yet, `reason` for the log of one that is cut off.
    virtual void on_failed(ProxyError error, protocol::Reason reason) = 0;

   protected:
    ~Client() = default;
  };

  virtual ~Upstream() = default;
  virtual void start() = 0;
  /// The request has bytes, its end or a failure to give.
  virtual void set_readable() = 0;
  /// `bytes` of push() are disposed of.
  virtual void take(std::size_t bytes) = 0;
  /// Whether on_over() or on_failed() is still to come.
  virtual bool is_open() const = 0;
  /// Ends what is open. It makes no more calls.
  virtual void drop(protocol::Reason reason) = 0;
  /// Call it about once per second.
  virtual void on_tick(protocol::Time now) = 0;
};

}  // namespace culvert::server
