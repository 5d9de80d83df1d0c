// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "common/admin/log.hpp"
#include "common/base/permit.hpp"
#include "common/http/body_reader.hpp"
#include "common/http/body_writer.hpp"
#include "common/http/exchange_course.hpp"
#include "common/http/head.hpp"
#include "common/http/head_limits.hpp"
#include "common/http/interim_limit.hpp"
#include "common/net/byte_queue.hpp"
#include "common/net/worker.hpp"
#include "common/upstream/back_end.hpp"
#include "common/upstream/target_dialer.hpp"

namespace culvert {

/// The back end of a request, and its time limits.
struct BackEndTarget {
  StreamTarget target;
  std::string key;  ///< Idle connections with the same key may be reused.
  std::chrono::milliseconds first_byte_time_max{0};
  std::chrono::milliseconds idle_time_max{0};          ///< Limit of time without a byte, once the response has begun.
  std::chrono::milliseconds upgrade_idle_time_max{0};  ///< The same behind an upgrade, of either side; 0: no limit.
  http::HeadLimits head_limits = {};                   ///< For the back end's responses.
};

/// What exchanges share. `dialer` and `log` must outlive them.
struct BackEndContext {
  TargetDialer& dialer;
  std::shared_ptr<BackEndPool> pool;
  Log& log;
};

/// One HTTP request to a back end and its response (the back end's side of an exchange), over an idle connection of the
/// pool or a new one. Bodies pass in both directions at once, as they arrive: the client pulls the response, and is
/// called when bytes of the request were written. If an idle connection turns out to be closed, the request is sent
/// again on another one, provided that the back end cannot have processed it.
///
/// Life: begin(), then write(), finish() and pull(), until end() or on_failed(). Owned by its client; on one worker. It
/// makes no call after it is destroyed. The destructor aborts an exchange that is not complete.
class BackEndExchange final : private BackEndUser, private TurnEnd {
 public:
  class Client {
   public:
    /// A connection is open and the request is being sent. Called once.
    virtual void on_connected() = 0;
    /// Interim responses, then the final one.
    virtual void on_response(http::ResponseHead head) = 0;
    /// After the final response: pull() has bytes of its body, its end or a failure to return.
    virtual void on_body_readable() = 0;
    /// `bytes` of write() are disposed of.
    virtual void on_taken(std::size_t bytes) = 0;
    /// Final: the exchange failed; before on_connected(), no connection could be made.
    virtual void on_failed(const protocol::Reject& why) = 0;

   protected:
    ~Client() = default;
  };

  /// `link` counts the dials of the peer that sent the request; `limits` are its limits.
  BackEndExchange(const BackEndContext& context, std::shared_ptr<const BackEndTarget> target, LinkQuota link,
                  LinkLimits limits, Client& client);
  BackEndExchange(const BackEndExchange&) = delete;
  BackEndExchange& operator=(const BackEndExchange&) = delete;
  ~BackEndExchange();

  const BackEndTarget& target() const { return *target_; }

  // ---- the request
  /// Call it once. `head` is sent to the back end as it is. May call the client before it returns.
  void begin(http::RequestHead head);
  /// Sends a part of the body; bytes that the connection does not accept at once are kept.
  void write(std::span<const std::span<const std::byte>> pieces);
  /// Ends the body.
  void finish(http::Fields trailers);

  // ---- the response
  /// The version that the back end speaks; valid in on_response().
  http::Version version() const { return back_end_->parser.hop().version; }
  // After on_response() with the final one:
  enum class BodyState : std::uint8_t { more, blocked, ended, failed };
  struct Pulled {
    std::size_t bytes = 0;
    BodyState state = BodyState::blocked;
    protocol::Reason why = protocol::Reason::none;  ///< Of BodyState::failed.
  };
  /// Fills `room` from its start with the body. `failed`: the response is incomplete, and the exchange has ended.
  Pulled pull(std::span<std::byte> room);
  /// pull() has given the whole body.
  bool is_answered() const { return course_.response_is_complete; }
  http::Fields trailers() const { return response_body_ ? response_body_->trailers() : http::Fields(); }

  /// Ends the exchange: the connection returns to the pool if its reuse is safe.
  void end();
  /// Aborts the exchange: bytes that are not sent yet are discarded.
  void break_off() { let_go(false); }
  /// Call it about once per second.
  void on_tick(protocol::Time now);

 private:
  void on_back_end(std::uint32_t events) override;
  void on_turn_end() override;

  void touch();
  void connect();
  void on_dialed(std::expected<Dialed, protocol::Reject> outcome);
  void join(std::unique_ptr<BackEnd> back_end);
  void read_response();
  void accept_response(http::ResponseHead head);
  http::Flaw flaw_ahead(const http::BodyReader& body) const;
  void note_broken(std::string_view code, std::string_view detail);
  void write_end_of_request();
  void settle_taken(std::size_t waited_before);
  void flush();
  void on_write_failed();
  bool send_again();
  void fail_broken(const http::Refusal& flaw, std::string_view detail = {});
  void fail_renegotiation();
  void fail(const protocol::Reject& why);
  void let_go(bool reusable);

  /// The side that owes a byte which the other one would take. While there is none, no time limit runs: the client
  /// reads slowly, or its request is still on the way.
  struct Debt {
    std::string_view debtor;  ///< "back_end" or "client"; empty: neither.
    std::string_view what;
  };
  Debt debt() const;

  const BackEndContext context_;
  const std::shared_ptr<const BackEndTarget> target_;
  const LinkQuota link_;
  const LinkLimits limits_;
  Client& client_;
  protocol::Time since_;  ///< Time of the last progress.
  bool touched_ = false;
  bool has_login_ = false;  ///< The connection may be logged in, so nobody else may use it.

  http::RequestHead request_;
  http::Asked asked_;
  std::optional<http::BodyWriter> request_body_;
  ByteQueue early_;         ///< Body bytes that arrived before there was a connection.
  bool is_invited_ = true;  ///< False: the client waits for 100 before it sends the body.
  bool is_finished_ = false;
  http::Fields request_trailers_;
  http::ExchangeCourse course_;
  http::InterimLimit interims_{http::InterimLimit::From::socket};

  std::unique_ptr<Dial> dial_;
  std::unique_ptr<BackEnd> back_end_;
  bool was_connected_ = false;
  bool has_write_failed_ = false;  ///< The back end has closed: the rest of the request is not sent.
  std::optional<http::BodyReader> response_body_;
  std::uint64_t untaken_bytes_ = 0;
};

}  // namespace culvert
