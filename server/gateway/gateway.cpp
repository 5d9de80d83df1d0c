// SPDX-License-Identifier: Apache-2.0
#include "server/gateway/gateway.hpp"

#include <utility>

#include <boost/json/object.hpp>
#include <fmt/core.h>

#include "common/admin/defect.hpp"
#include "common/base/utc_time.hpp"
#include "server/auth/token.hpp"
#include "server/gateway/gateway_upstream.hpp"
#include "server/gateway/look_up.hpp"
#include "server/proxy/client_exchange.hpp"
#include "server/proxy/proxy_client.hpp"

namespace culvert::server {

namespace {

std::string_view status_class(std::size_t hundred) {
  constexpr std::string_view names[] = {"none", "1xx", "2xx", "3xx", "4xx", "5xx"};
  return names[hundred];
}

/// The labels of a target's metrics.
struct TargetLabels {
  std::string_view application;
  std::string_view service;
  std::string_view entry;
  std::string_view destination;
};
TargetLabels names_of(const ExternalTarget& target) {
  const std::string_view name = target.name;
  if (name.starts_with(destination_prefix)) return {"", "", "", name.substr(destination_prefix.size())};
  const std::size_t first = std::min(name.find('/'), name.size());
  const std::size_t second = std::min(name.find('/', first + 1), name.size());
  return {name.substr(0, first), name.substr(std::min(first + 1, name.size()), second - first - 1),
          name.substr(std::min(second + 1, name.size())), ""};
}

/// Only where no destination is named, which may have such a path itself.
bool is_for_look_up(const http::RequestHead& head) {
  return head.method == "GET" && head.path.starts_with(look_up_path) && !head.fields.find("X-Destination-Name");
}

ProxyError path_too_short(GatewayPort port) {
  return {.status = 400,
          .code = "gateway.path_too_short",
          .type = "http_request_error",
          .text = port == GatewayPort::services ? "the path is not /APPLICATION/SERVICE/path"
                                                : "the path is not /APPLICATION/SERVICE/ENTRY/path",
          .hint = "see docs/external-systems.md for the two ports",
          .challenge = {}};
}

/// The token in "Authorization: Bearer …"; empty: there is none.
std::string bearer_in(const http::Fields& fields, std::string_view name = "Authorization") {
  const auto value = fields.find(name);
  if (!value) return {};
  return std::string(bearer_token(*value).value_or(""));
}

ProxyError no_caller_token() {
  return {.status = 401,
          .code = "gateway.no_caller_token",
          .type = "http_request_error",
          .text = "the target wants the token of the caller's user",
          .hint = "send it in the field Authorization, as Bearer",
          .challenge = {}};
}

/// Begins the exchange with a target whose part of the path is `rest`, the last of the request's.
void send_to_target(GatewayContext& gateway, ClientExchange& exchange, ProxyClient& client,
                    std::shared_ptr<const ExternalTarget> target, std::string_view rest, bool compatible_errors) {
  GatewayUpstream::Request request{.target = std::move(target),
                                   .head = exchange.head(),
                                   .names = {},
                                   .caller = {},
                                   .compatible_errors = compatible_errors};
  const ExternalTarget& there = *request.target;
  const std::string_view whole = exchange.head().path;
  request.names = {exchange.head().authority, std::string(whole.substr(0, whole.size() - rest.size()))};
  if (there.caller_tokens || there.passes_caller) {
    request.caller = bearer_in(request.head.fields);
    if (request.caller.empty()) return client.answer(no_caller_token());
    request.head.fields.erase("Authorization");
  }
  request.uses_login = make_request(request.head, there, rest, exchange.course().request.version);
  if (there.passes_caller) request.head.fields.set("SAP-Connectivity-Authentication", "Bearer " + request.caller);
  exchange.begin(std::make_unique<GatewayUpstream>(gateway, exchange.near_side(), std::move(request)));
}

/// Begins the exchange of a request at one of the two ports for applications.
void open_target(GatewayContext& gateway, GatewayPort port, ProxyClient& client, ClientExchange& exchange) {
  const auto path = split_gateway_path(exchange.head().path, port);
  if (!path) return client.answer(path_too_short(port));
  const auto rules = gateway.rules.get();
  auto target = rules->table.find(*path, port);
  if (!target) return client.answer(target.error());
  send_to_target(gateway, exchange, client, std::move(*target), path->rest, rules->compatible_errors);
}

ProxyError unknown_destination() {
  return {.status = 404,
          .code = "gateway.unknown_destination",
          .type = "destination_not_found",
          .text = "there is no destination of this name",
          .hint = "name one in the field X-Destination-Name, once; `culvert-server status` lists them",
          .challenge = {}};
}

/// Sends a request to a destination, with the whole path.
void send_to_destination(GatewayContext& gateway, ClientExchange& exchange, ProxyClient& client,
                         const std::shared_ptr<const Destination>& destination, bool compatible_errors) {
  http::RequestHead& head = exchange.head();
  head.fields.erase("X-Destination-Name");
  std::shared_ptr<const ExternalTarget> target(destination, destination->target.get());
  send_to_target(gateway, exchange, client, std::move(target), head.path, compatible_errors);
}

/// Begins the exchange of a request at the port of a Destination object; "*": the request names the destination. There
/// is no look-up, which would show secrets: whoever may make such an object need not see them.
void open_port_of_destination(GatewayContext& gateway, const std::string& name, ProxyClient& client,
                              ClientExchange& exchange) {
  const http::RequestHead& head = exchange.head();
  const auto rules = gateway.rules.get();
  const bool is_named = name != "*" || head.fields.count("X-Destination-Name") == 1;
  const auto destination =
      rules->table.find_destination(name != "*" ? name : head.fields.find("X-Destination-Name").value_or(""));
  if (!destination || !is_named) return client.answer(unknown_destination());
  send_to_destination(gateway, exchange, client, destination, rules->compatible_errors);
}

ProxyError look_ups_are_closed() {
  return {.status = 403,
          .code = "gateway.look_up_closed",
          .type = "http_request_denied",
          .text = "look-ups are answered to callers with a token only, since secrets are in the answers",
          .hint = "add [[gateway.issuer]]",
          .challenge = {}};
}

/// Begins the exchange of a request at the port for destinations.
void open_destination(GatewayContext& gateway, ProxyClient& client, ClientExchange& exchange) {
  http::RequestHead& head = exchange.head();
  const auto rules = gateway.rules.get();
  const bool is_look_up = is_for_look_up(head);
  const std::string name(is_look_up ? std::string_view(head.path).substr(look_up_path.size())
                                    : head.fields.find("X-Destination-Name").value_or(""));
  auto destination = rules->table.find_destination(name);
  if (is_look_up && !rules->answers_look_ups) return client.answer(look_ups_are_closed());
  if (!destination && is_look_up) {
    // SDKs compare the text, to tell a destination that is not there from a failure.
    http::Fields fields;
    fields.add("Content-Type", "application/json");
    return client.answer_with(404, std::move(fields),
                              R"({"ErrorMessage":"Configuration with the specified name was not found"})");
  }
  if (!destination || (!is_look_up && head.fields.count("X-Destination-Name") != 1))
    return client.answer(unknown_destination());
  if (is_look_up) {
    std::string caller(head.fields.find("X-user-token").value_or(""));
    return exchange.begin(
        std::make_unique<LookUp>(gateway, exchange.near_side(), std::move(destination), std::move(caller)));
  }
  send_to_destination(gateway, exchange, client, destination, rules->compatible_errors);
}

void answer_health(ProxyClient& client, ClientExchange& exchange) {
  const bool is_known = exchange.head().path == "/v1/health";
  http::Fields fields;
  fields.add("Content-Type", "application/json");
  client.answer_with(is_known ? 200 : 404, std::move(fields),
                     is_known ? R"({"status":"ok"})" : R"({"code":404,"error":"only /v1/health is here"})");
}

}  // namespace

GatewayContext::GatewayContext(DataPlanes& planes, Log& program_log)
    : log(program_log), home(planes.home()), keeper(planes.home(), program_log) {
  for (std::size_t i = 0; i < planes.size(); ++i) {
    DataPlane& plane = planes.plane(i);
    locals.push_back({std::make_unique<TargetDialer>(plane.worker(), plane.counters().dials, log),
                      std::make_shared<BackEndPool>(plane.worker())});
  }
}

std::shared_ptr<HttpPortContext> Gateway::make_port(const TunnelDirectory& directory, GatewayPort port) {
  return std::make_shared<HttpPortContext>(
      directory, context_->log, http::Role::origin, ErrorFormat::gateway,
      [context = context_, port](ProxyClient& client, ClientExchange& exchange, const Caller&) {
        open_target(*context, port, client, exchange);
      });
}

Gateway::Gateway(DataPlanes& planes, Log& log, const TunnelDirectory& directory)
    : planes_(planes),
      directory_(directory),
      context_(std::make_shared<GatewayContext>(planes, log)),
      services_(make_port(directory, GatewayPort::services)),
      entries_(make_port(directory, GatewayPort::entries)),
      destinations_(std::make_shared<HttpPortContext>(
          directory, log, http::Role::origin, ErrorFormat::gateway,
          [context = context_](ProxyClient& client, ClientExchange& exchange, const Caller&) {
            open_destination(*context, client, exchange);
          })),
      health_(std::make_shared<HttpPortContext>(
          directory, log, http::Role::origin, ErrorFormat::gateway,
          [](ProxyClient& client, ClientExchange& exchange, const Caller&) { answer_health(client, exchange); })),
      since_(wall_clock_now()),
      tasks_(planes.home().context().get_executor(), report_defect(log, "gateway")) {
  destinations_->is_for_server = is_for_look_up;
}

std::shared_ptr<Meter> Gateway::meter_of(const std::string& name) {
  auto& meter = meters_[name];
  if (!meter) meter = std::make_shared<Meter>();
  return meter;
}

void Gateway::commit(const GatewayPlan* plan, std::shared_ptr<TokenCheck> tokens, PasswordChecker& passwords,
                     const std::shared_ptr<const http::HeadLimits>& head_limits) {
  for (const auto& port : {services_, entries_, destinations_, health_}) port->head_limits.publish(head_limits);
  for (const auto& [name, port] : object_ports_) port->head_limits.publish(head_limits);
  targets_.clear();
  known_destinations_.clear();
  settings_.reset();
  if (plan != nullptr) {
    settings_ = plan->settings;
    head_limits_ = plan->head_limits;
    targets_ = plan->targets;
    known_destinations_ = plan->destinations.destinations;
    for (const Error& error : plan->destinations.refused)
      context_->log.error("destination.refused", {{"code", error.code}, {"text", error.text}});
    auto rules = std::make_shared<HttpPortRules>();
    rules->callers = plan->settings.callers;
    rules->ask = ask_by(rules_of(rules->callers, std::move(tokens)), passwords);
    rules->abandoned_after = plan->settings.abandoned_after;
    for (const auto& port : {services_, entries_, destinations_}) port->rules.publish(rules);
    for (const auto& [name, port] : object_ports_) port->rules.publish(rules);
    auto open = std::make_shared<HttpPortRules>();
    open->callers.account = "gateway";
    open->ask = ask_by(rules_of(open->callers, nullptr), passwords);
    health_->rules.publish(std::move(open));
  }
  if (!settings_) cluster_ = {};
  publish_table();
  make_cluster_targets();
}

void Gateway::follow_cluster(std::shared_ptr<const std::vector<NamedTarget>> targets) {
  if (!targets || targets == wanted_) return;
  wanted_ = std::move(targets);
  make_cluster_targets();
}

void Gateway::follow_cluster(std::shared_ptr<const DestinationTexts> definitions) {
  if (definitions == wanted_definitions_) return;
  wanted_definitions_ = std::move(definitions);
  make_cluster_targets();
}

std::shared_ptr<HttpPortContext> Gateway::port_of_destination(const std::string& name) {
  std::erase_if(object_ports_,
                [&name](const auto& each) { return each.first != name && each.second.use_count() == 1; });
  auto& port = object_ports_[name];
  if (port) return port;
  port = std::make_shared<HttpPortContext>(
      directory_, context_->log, http::Role::origin, ErrorFormat::gateway,
      [context = context_, name](ProxyClient& client, ClientExchange& exchange, const Caller&) {
        open_port_of_destination(*context, name, client, exchange);
      });
  port->rules.publish(destinations_->rules.get());
  port->head_limits.publish(destinations_->head_limits.get());
  return port;
}

void Gateway::make_cluster_targets() {
  if (!settings_ || tasks_.is_stopping() || (!wanted_ && !wanted_definitions_ && cluster_.is_empty())) return;
  ++makings_;
  tasks_.spawn(make(wanted_, wanted_definitions_, *settings_, head_limits_));
}

boost::asio::awaitable<void> Gateway::make(std::shared_ptr<const std::vector<NamedTarget>> targets,
                                           std::shared_ptr<const DestinationTexts> definitions,
                                           GatewaySettings settings, http::HeadLimits head_limits) {
  const std::uint64_t making = makings_;
  std::function<ClusterTargets()> work = [targets, definitions, settings, head_limits] {
    TargetBuilder builder(settings, head_limits);
    ClusterTargets built;
    if (targets) {
      for (const NamedTarget& named : *targets) built.targets.push_back(builder.build(named));
    }
    if (definitions) built.destinations = load_destinations(*definitions, settings.account, builder);
    return built;
  };
  auto built = co_await offload_.run(std::move(work), Deadline::max());
  // A later change may have begun meanwhile.
  if (!built || making != makings_) co_return;
  has_made_ = true;
  cluster_ = std::move(*built);
  for (const Error& error : cluster_.destinations.refused)
    context_->log.error("destination.refused", {{"code", error.code}, {"text", error.text}});
  publish_table();
}

/// Grants and meters of the targets go on.
void Gateway::publish_table() {
  std::map<std::string, const GrantSource*> sources;
  const auto older = context_->rules.get();
  older->table.each([&sources](const ExternalTarget& target) {
    for (const auto& source : {target.token, target.csrf}) {
      if (source) sources.emplace(source->key(), source.get());
    }
  });
  const auto go_on = [&](ExternalTarget& target) {
    for (const auto& source : {target.token, target.csrf}) {
      const auto same = source ? sources.find(source->key()) : sources.end();
      if (same != sources.end() && same->second != source.get()) source->adopt(*same->second);
    }
    if (!target.meter) target.meter = meter_of(target.name);
  };
  auto rules = std::make_shared<GatewayRules>();
  rules->compatible_errors = settings_ && settings_->compatible_errors;
  rules->answers_look_ups = settings_ && !settings_->callers.issuers.empty();
  for (const auto* all : {&targets_, &cluster_.targets}) {
    for (const BuiltTarget& built : *all) {
      go_on(*built.target);
      rules->table.add(built.application, built.service, built.entry, built.owner, built.target);
    }
  }
  // Where both define a name, that of the file counts.
  for (const auto* all : {&cluster_.destinations.destinations, &known_destinations_}) {
    for (const Destination& destination : *all) {
      go_on(*destination.target);
      rules->table.add(std::make_shared<const Destination>(destination));
    }
  }
  context_->rules.publish(std::move(rules));
}

void Gateway::request_stop() {
  tasks_.request_stop();
  context_->keeper.request_stop();
  planes_.on_each([context = context_](DataPlane& plane) {
    GatewayContext::Local& local = context->locals[plane.worker().index()];
    local.pool->close();
    local.dialer->request_stop();
  });
}

bool Gateway::is_over(DataPlane& plane) const {
  const std::size_t index = plane.worker().index();
  return context_->locals[index].dialer->size() == 0 &&
         (index != 0 || (context_->keeper.is_over() && tasks_.size() == 0));
}

boost::json::array Gateway::status() const {
  boost::json::array all;
  context_->rules.get()->table.each([&](const ExternalTarget& target) {
    const Meter::Totals totals = target.meter->totals();
    boost::json::object responses;
    for (std::size_t i = 0; i < totals.responses.size(); ++i) responses[status_class(i)] = totals.responses[i];
    boost::json::object object{{"name", target.name},
                               {"usable", target.problem.empty()},
                               {"problem", target.problem},
                               {"since", utc_text(since_)},
                               {"requests", totals.requests()},
                               {"responses", std::move(responses)},
                               {"bytes_sent", totals.bytes_sent},
                               {"bytes_received", totals.bytes_received}};
    if (target.token)
      object["tokens"] = boost::json::object{{"fetched", target.token->fetched()}, {"failed", target.token->failed()}};
    all.push_back(std::move(object));
  });
  return all;
}

void Gateway::collect(MetricsPage& page) const {
  context_->rules.get()->table.each([&page](const ExternalTarget& target) {
    const Meter::Totals totals = target.meter->totals();
    // A target without requests has no series: there may be thousands.
    if (totals.requests() == 0) return;
    const TargetLabels of = names_of(target);
    for (std::size_t i = 0; i < totals.responses.size(); ++i) {
      if (totals.responses[i] == 0) continue;
      page.counter("culvert_gateway_requests_total", "Requests to targets of the gateway, by the answer's status.",
                   {{"application", of.application},
                    {"service", of.service},
                    {"entry", of.entry},
                    {"destination", of.destination},
                    {"status", status_class(i)}},
                   totals.responses[i]);
    }
    page.histogram("culvert_gateway_request_seconds", "Time from a request's head to the end of its answer.",
                   {{"application", of.application},
                    {"service", of.service},
                    {"entry", of.entry},
                    {"destination", of.destination}},
                   Meter::bounds_seconds, totals.durations, totals.time);
    page.counter("culvert_gateway_sent_bytes_total", "Bytes of requests' bodies to targets.",
                 {{"application", of.application},
                  {"service", of.service},
                  {"entry", of.entry},
                  {"destination", of.destination}},
                 totals.bytes_sent);
    page.counter("culvert_gateway_received_bytes_total", "Bytes of responses' bodies from targets.",
                 {{"application", of.application},
                  {"service", of.service},
                  {"entry", of.entry},
                  {"destination", of.destination}},
                 totals.bytes_received);
    if (!target.token) return;
    page.counter("culvert_gateway_tokens_total", "Access tokens that were asked for, by outcome.",
                 {{"application", of.application},
                  {"service", of.service},
                  {"entry", of.entry},
                  {"destination", of.destination},
                  {"outcome", "fetched"}},
                 target.token->fetched());
    page.counter("culvert_gateway_tokens_total", "Access tokens that were asked for, by outcome.",
                 {{"application", of.application},
                  {"service", of.service},
                  {"entry", of.entry},
                  {"destination", of.destination},
                  {"outcome", "failed"}},
                 target.token->failed());
  });
}

}  // namespace culvert::server
