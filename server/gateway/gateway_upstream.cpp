// SPDX-License-Identifier: Apache-2.0
// start -> get_grants, until both are there -> open. A refusal leads back to get_grants, once.
#include "server/gateway/gateway_upstream.hpp"

#include <algorithm>
#include <utility>

#include "common/http/characters.hpp"
#include "server/gateway/direct_upstream.hpp"
#include "server/proxy/proxy_client.hpp"
#include "server/proxy/tunnel_upstream.hpp"

namespace culvert::server {

using protocol::Reason;

namespace {

constexpr std::size_t kept_bytes_max = std::size_t{64} << 10;

ProxyError error_of_grant(const Error& error) {
  const bool is_csrf = error.code != "gateway.token_failed";
  return {.status = 502,
          .code = is_csrf ? "gateway.csrf_failed" : "gateway.token_failed",
          .type = "destination_unavailable",
          .text = is_csrf ? "there is no CSRF token of the target" : "there is no access token for the target",
          .hint = "check the entry's credentials, and what its server says at this time",
          .challenge = {},
          .detail = error.text};
}

ProxyError not_ready(const std::string& problem) {
  return {.status = 503,
          .code = "gateway.not_ready",
          .type = "destination_unavailable",
          .text = "the entry cannot be used",
          .hint = "change the entry; the object's status has the same text",
          .challenge = {},
          .detail = problem};
}

bool wants_csrf_token(const http::Fields& fields) {
  const auto word = fields.find("X-CSRF-Token");
  return word && http::is_equal_ignoring_case(*word, "Required");
}

}  // namespace

GatewayUpstream::GatewayUpstream(GatewayContext& gateway, Upstream::Client& client, Request request)
    : gateway_(gateway),
      client_(client),
      token_source_(token_source_of(request)),
      target_(std::move(request.target)),
      head_(std::move(request.head)),
      names_(std::move(request.names)),
      compatible_errors_(request.compatible_errors),
      uses_csrf_(request.uses_login && target_->csrf && is_unsafe(head_.method) && !head_.fields.find("X-CSRF-Token")) {
}

GatewayUpstream::~GatewayUpstream() {
  const auto time = std::chrono::steady_clock::now() - began_;
  target_->meter->note(status_, std::chrono::duration_cast<std::chrono::microseconds>(time), sent_bytes_,
                       received_bytes_);
}

std::shared_ptr<GrantSource> GatewayUpstream::token_source_of(const Request& request) {
  if (!request.uses_login) return nullptr;
  const ExternalTarget& target = *request.target;
  return target.caller_tokens ? target.caller_tokens->of(request.caller) : target.token;
}

void GatewayUpstream::start() {
  if (inner_) return inner_->start();
  if (!target_->problem.empty()) return on_failed(not_ready(target_->problem), Reason::not_exposed);
  get_grants();
}

// ---- grants

void GatewayUpstream::get_grants() {
  if (token_source_ && !get_grant(token_source_, token_)) return;
  if (uses_csrf_ && !get_grant(target_->csrf, csrf_)) return;
  open();
}

/// False: it is on its way.
bool GatewayUpstream::get_grant(const std::shared_ptr<GrantSource>& source, std::shared_ptr<const Grant>& grant) {
  const auto& refused = source == token_source_ ? refused_token_ : refused_csrf_;
  grant = source->current(std::chrono::steady_clock::now());
  if (grant && grant != refused) {
    gateway_.keeper.renew_in_time(source, *grant);
    return true;
  }
  grant = nullptr;
  gateway_.keeper.ask(connection().plane().worker(), source, refused,
                      [this, &grant, alive = std::weak_ptr(alive_)](Result<std::shared_ptr<const Grant>> answer) {
                        if (alive.expired() || is_over_) return;
                        if (!answer) return on_no_grant(answer.error());
                        grant = std::move(*answer);
                        get_grants();
                      });
  return false;
}

/// Where CSRF tokens are, the access token may be refused first.
void GatewayUpstream::on_no_grant(const Error& error) {
  const bool again = error.code == "gateway.login_refused" && token_ && !is_second_;
  if (!again) return on_failed(error_of_grant(error), Reason::target_unreachable);
  is_second_ = true;
  refused_token_ = std::exchange(token_, nullptr);
  get_grants();
}

void GatewayUpstream::open() {
  Upstream::Client& near_side = *this;
  http::RequestHead head = head_;
  if (token_) add_grant(head.fields, token_->fields);
  if (csrf_) add_grant(head.fields, csrf_->fields);
  if (const std::optional<Route>& route = target_->route) {
    sent_ = std::move(head);
    inner_ = std::make_unique<TunnelUpstream>(near_side, sent_, *route);
  } else {
    DataPlane& plane = connection().plane();
    inner_ = std::make_unique<DirectUpstream>(near_side, plane, gateway_.back_ends_of(plane.worker()), target_,
                                              std::move(head));
  }
  inner_->start();
}

// ---- the request's body

void GatewayUpstream::set_readable() {
  if (inner_) inner_->set_readable();
}

StreamEnd::Pull GatewayUpstream::pull(std::span<std::byte> room) {
  if (replayed_ < kept_.size()) {
    const std::size_t size = std::min(room.size(), kept_.size() - replayed_);
    std::copy_n(kept_.begin() + static_cast<std::ptrdiff_t>(replayed_), size, room.begin());
    replayed_ += size;
    return {size, protocol::Source::more};
  }
  const StreamEnd::Pull pulled = client_.pull(room);
  sent_bytes_ += pulled.bytes;
  if (may_need_copy()) keep(room.first(pulled.bytes));
  return pulled;
}

void GatewayUpstream::keep(std::span<const std::byte> bytes) {
  if (!has_all_) return;
  if (kept_.size() + bytes.size() > kept_bytes_max) {
    has_all_ = false;
    kept_ = {};
    return;
  }
  kept_.insert(kept_.end(), bytes.begin(), bytes.end());
  replayed_ = kept_.size();
}

// ---- the response

/// Whether the request goes out once more, with another grant.
bool GatewayUpstream::sends_again(const http::ResponseHead& head) {
  const bool refuses_token = head.status == 401 && token_;
  const bool refuses_csrf = head.status == 403 && csrf_ && wants_csrf_token(head.fields);
  if (!refuses_token && !refuses_csrf) return false;
  if (refuses_token) refused_token_ = token_;
  if (refuses_csrf) refused_csrf_ = csrf_;
  const SentSoFar sent{head_.method, head_.framing.has_body(), sent_bytes_, has_all_ && may_need_copy()};
  const bool again = !is_second_ && may_send_again(sent);
  if (!again) {
    // The next request must not be refused for the same grant.
    const auto& source = refuses_token ? token_source_ : target_->csrf;
    gateway_.keeper.ask(connection().plane().worker(), source, refuses_token ? token_ : csrf_, [](const auto&) {});
    return false;
  }
  is_second_ = true;
  replayed_ = 0;
  inner_->drop(Reason::cancelled);
  connection().plane().worker().retire(std::move(inner_));
  token_ = nullptr;
  csrf_ = nullptr;
  get_grants();
  return true;
}

void GatewayUpstream::on_response(http::ResponseHead head) {
  if (http::is_interim(head.status)) return client_.on_response(std::move(head));
  if (sends_again(head)) return;
  status_ = head.status;
  if (status_ == 401 && gateway_.login_refused) gateway_.home.post([&gateway = gateway_] { gateway.login_refused(); });
  kept_ = {};
  replayed_ = 0;
  has_all_ = false;
  if (const auto location = head.fields.find("Location"); location && (head.status / 100 == 3 || head.status == 201)) {
    if (const auto mapped = map_location(*location, head_.path, target_->url, names_))
      head.fields.set("Location", *mapped);
  }
  if (head.status >= 500) {
    head.fields.set("Target-System-Status", std::to_string(head.status));
    if (compatible_errors_) {
      head.status = 502;
      head.reason = "Bad Gateway";
    }
  }
  client_.on_response(std::move(head));
}

void GatewayUpstream::push(std::span<const StreamEnd::Bytes> pieces) {
  for (const auto piece : pieces) received_bytes_ += piece.size();
  client_.push(pieces);
}

void GatewayUpstream::take(std::size_t bytes) {
  if (inner_) inner_->take(bytes);
}

void GatewayUpstream::on_finished(http::Fields trailers) {
  client_.on_finished(std::move(trailers));
}

// ---- the ends

void GatewayUpstream::drop(Reason reason) {
  is_over_ = true;
  if (inner_) inner_->drop(reason);
}

void GatewayUpstream::on_failed(ProxyError error, Reason reason) {
  is_over_ = true;
  client_.on_failed(std::move(error), reason);
}

void GatewayUpstream::on_tick(protocol::Time now) {
  if (inner_) inner_->on_tick(now);
}

}  // namespace culvert::server
