// SPDX-License-Identifier: Apache-2.0
#include "server/gateway/token_source.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "common/base/base64.hpp"
#include "server/gateway/token_answer.hpp"

namespace culvert::server {

namespace {

std::vector<FormField> fields_of_grant(const TokenSource::Settings& settings, std::string_view caller) {
  std::vector<FormField> fields;
  switch (settings.grant) {
    case LoginType::password:
      fields = {
          {"grant_type", "password"}, {"username", settings.owner}, {"password", settings.owner_password.reveal()}};
      break;
    case LoginType::jwt_bearer:
      fields = {{"grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"}, {"assertion", caller}};
      break;
    case LoginType::token_exchange:
      fields = {{"grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"},
                {"subject_token", caller},
                {"subject_token_type", "urn:ietf:params:oauth:token-type:access_token"}};
      break;
    case LoginType::none:
    case LoginType::basic:
    case LoginType::certificate:
    case LoginType::principal_propagation:
    case LoginType::oauth:
    case LoginType::oauth_with_certificate: fields = {{"grant_type", "client_credentials"}}; break;
  }
  fields.push_back({"scope", settings.scope});
  return fields;
}

}  // namespace

boost::asio::awaitable<Result<Grant>> TokenSource::fetch(Dialer& dialer, Deadline deadline) {
  const Settings& settings = *settings_;
  const bool has_secret = !settings.client_secret.reveal().empty();
  const bool shows_user = !settings.service_user.empty();
  const bool shows_client = has_secret && !settings.in_form && !shows_user;
  std::vector<FormField> form = fields_of_grant(settings, caller_.reveal());
  if (!shows_client) form.push_back({"client_id", settings.client_id});
  if (has_secret && !shows_client) form.push_back({"client_secret", settings.client_secret.reveal()});
  http::RequestHead head;
  head.method = "POST";
  head.query = settings.parameters.query;
  for (const auto& [name, value] : settings.parameters.fields) head.fields.add(name, value);
  head.fields.set("Content-Type", "application/x-www-form-urlencoded");
  head.fields.set("Accept", "application/json");
  if (shows_client) {
    head.fields.set("Authorization", basic_authorization(form_encoded(settings.client_id),
                                                         form_encoded(settings.client_secret.reveal())));
  } else if (shows_user) {
    head.fields.set("Authorization", basic_authorization(settings.service_user, settings.service_password.reveal()));
  }
  const auto asked = Clock::now();  // The service counts from some moment after it.
  auto answer = co_await ask_outside(dialer, settings.service, std::move(head), client_form(form),
                                     token_answer_bytes_max, deadline);
  if (!answer)
    co_return fail("gateway.token_failed", fmt::format("the token service cannot be asked: {}", answer.error().text));
  auto token = read_token_answer(answer->head.status, answer->body);
  if (!token) co_return std::unexpected(token.error());
  Grant grant;
  grant.fields.add("Authorization", "Bearer " + token->text);
  // Services count in whole seconds, so it may end up to one earlier.
  const std::chrono::milliseconds lifetime = token->lifetime;
  grant.ends = asked + lifetime - std::min<std::chrono::milliseconds>(lifetime / 8, std::chrono::seconds(1));
  // A third of its life earlier, but not more than a minute.
  grant.renew = grant.ends - std::min<std::chrono::milliseconds>(lifetime / 3, std::chrono::minutes(1));
  co_return grant;
}

std::shared_ptr<GrantSource> CallerTokens::of(std::string_view caller) {
  const Sha256 digest = sha256(caller);
  return sources_.with([&](auto& sources) {
    if (const auto known = sources.find(digest); known != sources.end()) return known->second;
    if (sources.size() >= callers_max) {
      const auto now = GrantSource::Clock::now();
      std::erase_if(sources, [now](const auto& each) { return !each.second->current(now); });
      if (sources.size() >= callers_max) sources.clear();
    }
    std::shared_ptr<GrantSource> source = std::make_shared<TokenSource>(name_, key_, settings_, Secret::of(caller));
    return sources.emplace(digest, std::move(source)).first->second;
  });
}

}  // namespace culvert::server
