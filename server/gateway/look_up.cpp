// SPDX-License-Identifier: Apache-2.0
#include "server/gateway/look_up.hpp"

#include <chrono>
#include <utility>

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

#include "common/tunnel/data_plane.hpp"
#include "server/proxy/proxy_client.hpp"

namespace culvert::server {

namespace json = boost::json;

namespace {

/// SDKs want one: they compare it with nothing.
constexpr std::string_view owner_name = "culvert";

/// "Bearer abc" as an entry of authTokens.
json::object token_of(std::string_view authorization) {
  const std::size_t space = std::min(authorization.find(' '), authorization.size());
  const std::string_view value = authorization.substr(std::min(space + 1, authorization.size()));
  return {{"type", authorization.substr(0, space)},
          {"value", value},
          {"http_header", json::object{{"key", "Authorization"}, {"value", authorization}}}};
}

}  // namespace

LookUp::LookUp(GatewayContext& gateway, Upstream::Client& client, std::shared_ptr<const Destination> destination,
               std::string caller)
    : gateway_(gateway), client_(client), destination_(std::move(destination)), caller_(std::move(caller)) {}

void LookUp::start() {
  const ExternalTarget& target = *destination_->target;
  std::shared_ptr<GrantSource> source = target.token;
  if (target.caller_tokens && !caller_.empty()) source = target.caller_tokens->of(caller_);
  if (target.caller_tokens && caller_.empty())
    return answer(fail("gateway.token_failed", "the user's token is missing: field X-user-token"));
  if (!source) return answer(std::shared_ptr<const Grant>());
  if (auto grant = source->current(std::chrono::steady_clock::now())) return answer(std::move(grant));
  gateway_.keeper.ask(client_.connection().plane().worker(), std::move(source), nullptr,
                      [this, alive = std::weak_ptr(alive_)](const Result<std::shared_ptr<const Grant>>& grant) {
                        if (!alive.expired() && !is_over_) answer(grant);
                      });
}

void LookUp::answer(const Result<std::shared_ptr<const Grant>>& grant) {
  json::array tokens;
  const auto login = destination_->target->login.find("Authorization");
  if (login) tokens.push_back(token_of(*login));
  if (!grant) {
    tokens.push_back(json::object{{"type", ""}, {"value", ""}, {"error", grant.error().text}});
  } else if (*grant) {
    const auto left = (*grant)->ends - std::chrono::steady_clock::now();
    json::object token = token_of((*grant)->fields.find("Authorization").value_or(""));
    token["expires_in"] = std::to_string(std::chrono::duration_cast<std::chrono::seconds>(left).count());
    tokens.push_back(std::move(token));
  }
  json::object document{{"owner", json::object{{"SubaccountId", owner_name}, {"InstanceId", nullptr}}},
                        {"destinationConfiguration", destination_->properties}};
  if (!tokens.empty()) document["authTokens"] = std::move(tokens);
  const std::string text = json::serialize(document);
  http::ResponseHead head;
  head.fields.add("Content-Type", "application/json");
  head.fields.add("Cache-Control", "no-store");
  head.framing = {http::Framing::Kind::length, text.size()};
  client_.on_accepted();
  client_.on_response(std::move(head));
  const StreamEnd::Bytes bytes = std::as_bytes(std::span(text));
  client_.push(std::span(&bytes, 1));
  client_.on_finished({});
}

}  // namespace culvert::server
