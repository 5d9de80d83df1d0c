// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "common/http/head.hpp"
#include "server/gateway/external_target.hpp"
#include "server/gateway/gateway_context.hpp"
#include "server/gateway/gateway_request.hpp"
#include "server/proxy/upstream.hpp"

namespace culvert::server {

/// A target as the far side of an exchange: gets the grants that the target asks for, adds them to the request, and
/// sends it to a server outside or to an agent. A request that was refused for its grant (401, or 403 for a CSRF token)
/// is sent once more with a new one, where that cannot do a thing twice: docs/external-systems.md.
class GatewayUpstream final : public Upstream, private Upstream::Client {
 public:
  struct Request {
    std::shared_ptr<const ExternalTarget> target;
    http::RequestHead head;  ///< As make_request() made it.
    TargetNames names;       ///< How the client knows the target.
    bool uses_login = true;  ///< False: the client has logged in itself.
    std::string caller;      ///< The caller's token; empty: there is none.
    bool compatible_errors = false;
  };
  GatewayUpstream(GatewayContext& gateway, Upstream::Client& client, Request request);
  GatewayUpstream(const GatewayUpstream&) = delete;
  GatewayUpstream& operator=(const GatewayUpstream&) = delete;
  ~GatewayUpstream() override;

  // Upstream
  void start() override;
  void set_readable() override;
  void take(std::size_t bytes) override;
  bool is_open() const override { return !is_over_ && (!inner_ || inner_->is_open()); }
  void drop(protocol::Reason reason) override;
  void on_tick(protocol::Time now) override;

 private:
  // Upstream::Client
  ProxyClient& connection() override { return client_.connection(); }
  StreamEnd::Pull pull(std::span<std::byte> room) override;
  const http::Fields& request_trailers() const override { return client_.request_trailers(); }
  void on_accepted() override { client_.on_accepted(); }
  void on_response(http::ResponseHead head) override;
  void push(std::span<const StreamEnd::Bytes> pieces) override;
  void on_finished(http::Fields trailers) override;
  void on_over() override { client_.on_over(); }
  void on_failed(ProxyError error, protocol::Reason reason) override;

  bool may_need_copy() const { return !is_second_ && (token_ || csrf_); }
  void get_grants();
  static std::shared_ptr<GrantSource> token_source_of(const Request& request);
  bool get_grant(const std::shared_ptr<GrantSource>& source, std::shared_ptr<const Grant>& grant);
  void on_no_grant(const Error& error);
  void open();
  bool sends_again(const http::ResponseHead& head);
  void keep(std::span<const std::byte> bytes);

  GatewayContext& gateway_;
  Upstream::Client& client_;
  const std::shared_ptr<GrantSource> token_source_;  ///< nullptr: no access token is needed.
  const std::shared_ptr<const ExternalTarget> target_;
  const http::RequestHead head_;
  http::RequestHead sent_;  ///< With the grants, for an agent.
  const TargetNames names_;
  const bool compatible_errors_;
  const bool uses_csrf_;
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();

  std::shared_ptr<const Grant> token_;
  std::shared_ptr<const Grant> csrf_;
  std::shared_ptr<const Grant> refused_token_;
  std::shared_ptr<const Grant> refused_csrf_;
  std::unique_ptr<Upstream> inner_;
  bool is_over_ = false;
  bool is_second_ = false;  ///< The request was sent once more.

  // The request's body as far as it was sent: kept, to be sent once more.
  std::vector<std::byte> kept_;
  bool has_all_ = true;       ///< kept_ has all of it.
  std::size_t replayed_ = 0;  ///< What of kept_ was sent once more.
  std::uint64_t sent_bytes_ = 0;
  std::uint64_t received_bytes_ = 0;
  int status_ = 0;
  std::shared_ptr<char> alive_ = std::make_shared<char>();  ///< Lets an answer of the keeper see whether this exists.
};

}  // namespace culvert::server
