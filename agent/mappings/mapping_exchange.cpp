// SPDX-License-Identifier: Apache-2.0
#include "agent/mappings/mapping_exchange.hpp"

#include <utility>

#include "common/http/field_names.hpp"
#include "common/http/head_writer.hpp"
#include "common/http/map_back.hpp"
#include "common/http/web_dav.hpp"
#include "common/net/monotonic_time.hpp"
#include "common/tunnel/body_end.hpp"

namespace culvert::agent {

using protocol::HeadForm;
using protocol::Reason;
using protocol::Source;

namespace {

/// Limit of time between OPEN and the request's HEAD, which a server sends together.
constexpr std::chrono::seconds head_time_max{10};

/// Limit of interim responses for an older server, which ends tunnels for a few more (SPEC 5.7).
constexpr int older_interims_max = 8;

}  // namespace

void MappingExchange::start(DataPlane& plane, const BackEndContext& context, Stream stream, Asked asked) {
  auto admission = context.dialer.admit(asked.target->back_end.target, asked.link, asked.limits);
  if (!admission) return stream.reject(admission.error());
  const auto connect_time_max = asked.target->back_end.target.connect_time_max;
  const bool needs_patience = connect_time_max > asked.patience;
  auto& started =
      plane.relays().add(std::make_unique<MappingExchange>(plane, context, std::move(asked), std::move(*admission)));
  started.stream_ = std::move(stream);
  started.stream_.join(started);
  if (needs_patience) started.stream_.announce_dial_time(connect_time_max);
}

MappingExchange::MappingExchange(DataPlane& plane, const BackEndContext& context, Asked asked, Admission admission)
    : plane_(plane),
      log_(context.log),
      virtual_host_(std::move(asked.virtual_host)),
      target_(std::move(asked.target)),
      admission_(std::move(admission)),
      began_(monotonic_now()),
      back_end_(new BackEndExchange(context, std::shared_ptr<const BackEndTarget>(target_, &target_->back_end),
                                    std::move(asked.link), asked.limits, *this)) {}

// ---- the request

void MappingExchange::on_head(Bytes message) {
  stream_.take(message.size());
  if (order_.has_head()) {
    auto trailers = http::read_trailers(message);
    if (!trailers || !order_.take_trailers())
      return refuse({Reason::aborted, false, "the request's trailers break a rule"});
    request_trailers_ = std::move(*trailers);
    return;
  }
  auto request = http::read_request(message);
  // OPEN names the virtual host: the request must name the same one.
  if (!request || request->authority.host != virtual_host_.host || request->authority.port != virtual_host_.port)
    return refuse({Reason::aborted, false, "the request's head breaks a rule"});
  begin(std::move(*request));
}

void MappingExchange::begin(http::RequestHead head) {
  if (const auto refusal = refusal_of({*target_->resources, target_->paths}, head))
    return refuse_request(head, *refusal);
  erase_rewriting_fields(head.fields);
  head.scheme = target_->scheme;
  if (target_->host_header == HostHeader::internal) {
    std::string outside;
    http::append_authority(outside, head.authority, http::default_port(http::Scheme::http));
    // The server has left only that of a consumer whom its trust_forwarded names.
    if (!head.fields.find("X-Forwarded-Host")) head.fields.add("X-Forwarded-Host", outside);
    head.authority = target_->back_end.target.endpoint;
  } else {
    // Clients address a virtual host with http:// always.
    head.scheme = http::Scheme::http;
  }
  if (http::has_dav_urls(head.fields) && !map_dav_urls(head))
    return refuse_request(
        head, {Reason::not_exposed, "Destination or If names another host, or a path where no resource allows PUT"});
  (void)order_.take_head(head.framing);
  back_end_->begin(std::move(head));
}

/// Checks the further resources that the request names, and spells them as the back end spells itself: with the scheme
/// of the connection to it, and the Host that is sent.
bool MappingExchange::map_dav_urls(http::RequestHead& head) {
  std::string inside(http::name_of(target_->scheme));
  inside += "://";
  http::append_authority(inside, head.authority, http::default_port(head.scheme));
  const HttpRules rules{*target_->resources, target_->paths};
  return http::map_dav_urls(head.fields, [&](http::DavField field, std::string_view url) -> std::optional<std::string> {
    const auto target = http::behind_host(url, virtual_host_);
    if (!target) return std::nullopt;
    const std::string_view path = target->substr(0, target->find('?'));
    const std::string_view query = target->substr(path.size());
    // COPY and MOVE write at their Destination. A tag of If may also be the request's own path.
    const bool may_be_named =
        is_allowed(rules, "PUT", path) || (field == http::DavField::if_tag && is_allowed(rules, head.method, path));
    if (!may_be_named || path == "*" || (!query.empty() && !http::is_query(query.substr(1)))) return std::nullopt;
    return inside + std::string(*target);
  });
}

void MappingExchange::refuse_request(const http::RequestHead& head, const HttpRefusal& why) {
  log_.limited(Log::Level::warn, "mapping.not_allowed",
               {{"virtual_host", target_->back_end.target.name},
                {"method", head.method},
                {"path", head.path},
                {"hint", why.hint}});
  refuse({why.reason, false, "the agent does not expose this path and method"});
}

void MappingExchange::push(std::span<const Bytes> pieces) {
  // SPEC 5.7: HEAD(request) is first, and nothing follows HEAD(trailers).
  if (!order_.take_body()) return refuse({Reason::aborted, false, "the request's body is out of place"});
  if (failure_) return;
  back_end_->write(pieces);
}

void MappingExchange::on_finished(bool aborted) {
  if (aborted || !order_.has_head())
    return refuse({Reason::aborted, false, aborted ? "the request is incomplete" : "the request's head is missing"});
  back_end_->finish(std::move(request_trailers_));
}

// ---- the response

void MappingExchange::on_connected() {
  is_accepted_ = true;
  stream_.accept();
}

void MappingExchange::on_response(http::ResponseHead head) {
  http::append_via(head.fields, back_end_->version());
  http::map_back(head.fields, {.internal_scheme = target_->scheme,
                               .internal = target_->back_end.target.endpoint,
                               .outside = virtual_host_,
                               .strips_secure = target_->strips_secure});
  // Mapping may have made it longer, by as much as a hostile back end likes.
  if (head.fields.bytes() > http::tunnel_head_limits.head_bytes_max)
    return on_failed({Reason::target_not_http, false, "the response's head is too long once its URLs are mapped back"});
  const auto form = stream_.head_form();
  // RFC 9110 15.2: a client must not depend on them, and the final response is still to come.
  if (form == HeadForm::older && http::is_interim(head.status) && ++interims_ > older_interims_max) return;
  stream_.send_head(http::to_message(head, form));
  if (!http::is_interim(head.status)) plane_.counters().http_responses(head.status).add();
}

void MappingExchange::on_body_readable() {
  stream_.set_readable();
}

StreamEnd::Pull MappingExchange::pull(std::span<std::byte> room) {
  if (failure_) {
    plane_.relays().retire(*this);
    return {0, Source::aborted, *failure_};
  }
  const auto pulled = back_end_->pull(room);
  switch (pulled.state) {
    case BackEndExchange::BodyState::more: return {pulled.bytes, Source::more};
    case BackEndExchange::BodyState::blocked: return {pulled.bytes, Source::blocked};
    case BackEndExchange::BodyState::ended:
      return end_body(stream_, back_end_->trailers(), pulled.bytes, sent_trailers_);
    case BackEndExchange::BodyState::failed: break;
  }
  plane_.relays().retire(*this);
  return {0, Source::aborted, pulled.why};
}

void MappingExchange::on_taken(std::size_t bytes) {
  stream_.take(bytes);
}

// ---- the ends

/// Rejects the stream with the reason, or resets it if it is accepted already.
void MappingExchange::refuse(const protocol::Reject& why) {
  if (is_accepted_) {
    stream_.drop(why.reason);
  } else {
    stream_.reject(why);
  }
  back_end_->break_off();
  plane_.relays().retire(*this);
}

/// Where the back end broke a rule, the client gets a text about it: it may have to fix the back end.
void MappingExchange::on_failed(const protocol::Reject& why) {
  const bool has_text = why.reason == Reason::target_not_http || why.reason == Reason::target_tls_failed;
  if (!is_accepted_ || !has_text || stream_.head_form() == HeadForm::older) return refuse(why);
  back_end_->break_off();
  stream_.send_head(http::to_failure(why.text));
  failure_ = why.reason;
  stream_.set_readable();
}

void MappingExchange::on_reset(Reason reason) {
  // A server resets what it has the whole answer to, too: the rest of the request is not wanted any more.
  if (reason != Reason::tunnel_lost && !back_end_->is_answered()) admission_.note_reset();
  // Now, not in the destructor: a request that is cancelled together with its head must not be sent to the back end.
  back_end_->break_off();
  plane_.relays().retire(*this);
}

void MappingExchange::on_over() {
  back_end_->end();
  plane_.relays().retire(*this);
}

void MappingExchange::on_tick(protocol::Time now) {
  if (!order_.has_head() && now - began_ >= head_time_max)
    return refuse({Reason::stalled, false, "the request's head was not received in time"});
  back_end_->on_tick(now);
}

}  // namespace culvert::agent
