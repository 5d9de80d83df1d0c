// SPDX-License-Identifier: Apache-2.0
#include "server/gateway/target_builder.hpp"

#include <initializer_list>
#include <string_view>
#include <utility>

#include <fmt/core.h>

#include "common/base/base64.hpp"
#include "common/base/base64url.hpp"
#include "common/tls/digest.hpp"
#include "server/gateway/csrf_source.hpp"
#include "server/gateway/token_source.hpp"

namespace culvert::server {

using Type = LoginType;

namespace {

/// A digest of texts that are secrets, so that it may be a key in memory. Lengths keep them apart.
std::string digest_of(std::initializer_list<std::string_view> texts) {
  std::string all;
  for (const std::string_view text : texts) all += fmt::format("{}:{},", text.size(), text);
  const Sha256 digest = sha256(all);
  return encode_base64url({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

Secret login_of(std::string_view user, std::string_view password) {
  std::vector<char> pair;
  pair.reserve(user.size() + 1 + password.size());
  pair.assign(user.begin(), user.end());
  pair.push_back(':');
  pair.insert(pair.end(), password.begin(), password.end());
  return Secret(std::move(pair));
}

boost::asio::awaitable<Result<std::vector<char>>> give(std::shared_ptr<const Secret> secret) {
  co_return std::vector<char>(secret->reveal().begin(), secret->reveal().end());
}

std::string text_of(const RequestParameters& parameters) {
  std::string text = parameters.query;
  for (const auto& [name, value] : parameters.fields) text.append("\n").append(name).append(": ").append(value);
  return text;
}

}  // namespace

TargetBuilder::TargetBuilder(const GatewaySettings& settings, const http::HeadLimits& head_limits)
    : ca_(settings.ca),
      allows_skip_verify_(settings.allow_skip_verify),
      head_limits_(head_limits),
      addresses_(std::make_shared<const AddressRule>(AddressRule{.networks = settings.targets, .and_public = true})),
      proxy_settings_(settings.proxy) {
  // With other authorities, networks or another proxy, older connections must not be used any more.
  const auto text = ca_.empty() ? Result<Secret>(Secret({})) : read_secret_file(ca_, Openness::certificate);
  rules_digest_ = digest_of({text ? text->reveal() : "", settings.targets.text(),
                             proxy_settings_ ? to_string(proxy_settings_->address) : ""});
}

/// nullptr: it is dialled directly.
Result<std::shared_ptr<const ConnectProxy>> TargetBuilder::proxy_for(const std::string& host) {
  if (!proxy_settings_ || bypasses_proxy(host, proxy_settings_->no_proxy)) return nullptr;
  if (proxy_) return proxy_;
  auto proxy = std::make_shared<ConnectProxy>();
  proxy->endpoint = proxy_settings_->address;
  if (!proxy_settings_->user.empty()) {
    auto password = read_secret_file(proxy_settings_->password_file);
    if (!password) return std::unexpected(password.error());
    // Kept in memory: a changed file makes another configuration.
    auto pair = std::make_shared<const Secret>(login_of(proxy_settings_->user, password->reveal()));
    proxy->credentials = [pair](Deadline) { return give(pair); };
  }
  proxy_ = std::move(proxy);
  return proxy_;
}

Result<TargetBuilder::NamedTls> TargetBuilder::tls(const LoginTexts* shown, bool skip_verify) {
  const std::string_view certificate = shown ? shown->certificate.reveal() : "";
  const std::string_view key = shown ? shown->private_key.reveal() : "";
  const std::string digest = digest_of({rules_digest_, certificate, key, skip_verify ? "skip" : "verify"});
  if (const auto known = tls_.find(digest); known != tls_.end()) return known->second;
  auto context = TlsContext::for_outside({.ca = ca_,
                                          .certificate = certificate,
                                          .private_key = key,
                                          .certificate_name = shown ? shown->certificate_name : "",
                                          .key_name = shown ? shown->key_name : "",
                                          .skips_verify = skip_verify});
  if (!context) return std::unexpected(context.error());
  return tls_.emplace(digest, NamedTls{std::move(*context), digest}).first->second;
}

Result<OutsideServer> TargetBuilder::outside(const std::string& url, const LoginTexts* shown, bool skip_verify) {
  auto parsed = parse_target_url(url);
  if (!parsed) return std::unexpected(parsed.error());
  auto proxy = proxy_for(parsed->server.host);
  if (!proxy) return std::unexpected(proxy.error());
  OutsideServer server{std::move(*parsed), std::nullopt, addresses_, std::move(*proxy)};
  if (server.url.scheme == http::Scheme::http) return server;
  auto context = tls(shown, skip_verify);
  if (!context) return std::unexpected(context.error());
  server.tls = std::move(context->context);
  return server;
}

Result<std::shared_ptr<const TokenSource::Settings>> TargetBuilder::token_settings(
    const TargetDescription& description) {
  const LoginTexts& login = description.login;
  const bool shows_certificate = login.type != Type::oauth && !login.certificate.reveal().empty();
  auto service = outside(login.token_url, shows_certificate ? &login : nullptr, description.skip_verify);
  if (!service) return std::unexpected(service.error());
  return std::make_shared<const TokenSource::Settings>(
      TokenSource::Settings{.service = std::move(*service),
                            .grant = login.type,
                            .owner = login.owner,
                            .owner_password = login.owner_password.copy(),
                            .service_user = login.service_user,
                            .service_password = login.service_password.copy(),
                            .client_id = login.user,
                            .client_secret = login.secret.copy(),
                            .in_form = login.in_form,
                            .scope = login.scope,
                            .parameters = description.parameters});
}

Result<void> TargetBuilder::log_in(ExternalTarget& target, const TargetDescription& description) {
  const LoginTexts& login = description.login;
  const std::string key =
      digest_of({fmt::format("{}", static_cast<int>(login.type)), login.user, login.secret.reveal(), login.owner,
                 login.owner_password.reveal(), login.service_user, login.service_password.reveal(), login.token_url,
                 login.in_form ? "form" : "header", login.scope, login.certificate.reveal(), login.private_key.reveal(),
                 description.skip_verify ? "skip" : "verify", text_of(description.parameters)});
  switch (login.type) {
    case Type::none:
    case Type::certificate: break;
    case Type::principal_propagation: target.passes_caller = true; break;
    case Type::basic: target.login.add("Authorization", basic_authorization(login.user, login.secret.reveal())); break;
    case Type::oauth:
    case Type::oauth_with_certificate:
    case Type::password: {
      auto& source = sources_["token " + key];
      if (!source) {
        auto settings = token_settings(description);
        if (!settings) return std::unexpected(settings.error());
        source = std::make_shared<TokenSource>(target.name, "token " + key, std::move(*settings));
      }
      target.token = source;
      break;
    }
    case Type::jwt_bearer:
    case Type::token_exchange: {
      auto settings = token_settings(description);
      if (!settings) return std::unexpected(settings.error());
      target.caller_tokens = std::make_shared<CallerTokens>(target.name, "token " + key, std::move(*settings));
      break;
    }
  }
  if (description.csrf_url.empty()) return {};
  const std::string csrf_key = fmt::format("csrf {} {}", description.csrf_url, key);
  auto& source = sources_[csrf_key];
  if (!source) {
    auto server =
        outside(description.csrf_url, login.type == Type::certificate ? &login : nullptr, description.skip_verify);
    if (!server) return std::unexpected(server.error());
    source = std::make_shared<CsrfSource>(target.name, csrf_key,
                                          CsrfSource::Settings{.server = std::move(*server),
                                                               .login = target.login,
                                                               .token = target.token,
                                                               .parameters = description.parameters});
  }
  target.csrf = source;
  return {};
}

Result<std::shared_ptr<ExternalTarget>> TargetBuilder::build(const TargetDescription& description) {
  auto url = parse_target_url(description.url);
  if (!url) return std::unexpected(url.error());
  if (description.skip_verify && !allows_skip_verify_)
    return fail("gateway.skip_verify_refused",
                "verification of the target's certificate must not be turned off without allow_skip_verify = true of "
                "[gateway]; better add its authority to ca");
  auto target = std::make_shared<ExternalTarget>();
  target->name = description.name;
  target->url = std::move(*url);
  if (!description.account.empty()) target->route = Route{description.account, description.location};
  if (auto logged_in = log_in(*target, description); !logged_in) return std::unexpected(logged_in.error());
  target->parameters = description.parameters;
  if (target->route) return target;
  auto proxy = proxy_for(target->url.server.host);
  if (!proxy) return std::unexpected(proxy.error());
  BackEndTarget& back_end = target->back_end;
  back_end.target = {.endpoint = target->url.server,
                     .name = target->name,
                     .connect_time_max = description.connect_timeout,
                     .tls = std::nullopt,
                     .addresses = addresses_,
                     .proxy = std::move(*proxy),
                     .connections = nullptr,
                     .connections_max = 0};
  std::string tls_name = rules_digest_;
  if (target->url.scheme == http::Scheme::https) {
    auto context =
        tls(description.login.type == Type::certificate ? &description.login : nullptr, description.skip_verify);
    if (!context) return std::unexpected(context.error());
    tls_name = context->name;
    back_end.target.tls = StreamTarget::Tls{std::move(context->context), target->url.server.host};
  }
  back_end.key = fmt::format("{} {}", tls_name, to_string(target->url.server));
  back_end.first_byte_time_max = description.first_byte_timeout;
  back_end.idle_time_max = description.idle_timeout;
  back_end.head_limits = head_limits_;
  return target;
}

BuiltTarget TargetBuilder::build(const NamedTarget& named) {
  BuiltTarget built{named.application, named.service, named.entry, named.owner, nullptr};
  std::string problem = named.problem;
  if (problem.empty()) {
    auto target = build(named.description);
    if (target) {
      built.target = std::move(*target);
      return built;
    }
    problem = target.error().text;
  }
  built.target = std::make_shared<ExternalTarget>();
  built.target->name = named.description.name;
  built.target->problem = std::move(problem);
  return built;
}

}  // namespace culvert::server
