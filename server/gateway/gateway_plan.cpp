// SPDX-License-Identifier: Apache-2.0
#include "server/gateway/gateway_plan.hpp"

#include <map>
#include <utility>

#include <fmt/core.h>

#include "common/config/secret_file.hpp"
#include "server/gateway/target_builder.hpp"
#include "server/targets/gateway_path.hpp"

namespace culvert::server {

namespace {

Result<Secret> read_if(const std::filesystem::path& file, Openness openness = Openness::secret) {
  if (file.empty()) return Secret({});
  return read_secret_file(file, openness);
}

Result<LoginTexts> read_login(const CredentialSettings& settings) {
  LoginTexts login{.type = settings.type,
                   .user = settings.user,
                   .token_url = settings.token_url,
                   .in_form = settings.in_form,
                   .scope = settings.scope,
                   .certificate_name = settings.certificate.string(),
                   .key_name = settings.private_key.string()};
  auto secret = read_if(settings.secret_file);
  if (!secret) return std::unexpected(secret.error());
  login.secret = std::move(*secret);
  auto certificate = read_if(settings.certificate, Openness::certificate);
  if (!certificate) return std::unexpected(certificate.error());
  login.certificate = std::move(*certificate);
  auto key = read_if(settings.private_key);
  if (!key) return std::unexpected(key.error());
  login.private_key = std::move(*key);
  return login;
}

Result<TargetDescription> describe(const std::string& application, const ApiSettings& api) {
  TargetDescription description{
      .name = fmt::format("{}/{}/{}", application, normal_name(api.service), normal_name(api.entry)),
      .url = api.url,
      .csrf_url = api.csrf_url,
      .skip_verify = api.skip_verify,
      .connect_timeout = api.connect_timeout,
      .first_byte_timeout = api.first_byte_timeout,
      .idle_timeout = api.idle_timeout};
  description.account = api.account;
  description.location = api.location;
  auto login = read_login(api.credentials);
  if (!login) return std::unexpected(login.error());
  description.login = std::move(*login);
  if (api.parameters_file.empty()) return description;
  const auto text = read_secret_file(api.parameters_file);
  if (!text) return std::unexpected(text.error());
  auto parameters = read_request_parameters_file(text->reveal());
  if (!parameters)
    return fail(parameters.error().code, fmt::format("{}: {}", api.parameters_file.string(), parameters.error().text));
  description.parameters = std::move(*parameters);
  return description;
}

/// In a file two names that become alike are a mistake at once.
Result<void> check_names(const ApplicationSettings& application) {
  std::map<std::string, std::string> services;
  std::map<std::string, std::string> entries;
  for (const ApiSettings& api : application.apis) {
    const std::string service = normal_name(api.service);
    const std::string entry = service + "/" + normal_name(api.entry);
    const std::string& same = services.try_emplace(service, api.service).first->second;
    if (same != api.service)
      return fail(
          "gateway.ambiguous_service",
          fmt::format("application \"{}\": the services \"{}\" and \"{}\" are both \"{}\" in a path; rename one",
                      application.name, same, api.service, service));
    if (!entries.try_emplace(entry, api.entry).second)
      return fail("gateway.ambiguous_entry",
                  fmt::format("application \"{}\": two entries are both \"{}\" in a path; give each a name of its own, "
                              "with key entry",
                              application.name, entry));
  }
  return {};
}

}  // namespace

Result<GatewayPlan> GatewayPlan::load(const GatewaySettings& settings, const http::HeadLimits& head_limits) {
  GatewayPlan plan{settings, head_limits, {}, {}};
  TargetBuilder builder(settings, head_limits);
  for (const ApplicationSettings& application : settings.applications) {
    if (auto names = check_names(application); !names) return std::unexpected(names.error());
    for (const ApiSettings& api : application.apis) {
      auto description = describe(application.name, api);
      if (!description) return std::unexpected(description.error());
      auto target = builder.build(*description);
      if (!target) return std::unexpected(target.error());
      plan.targets.push_back({application.name, api.service, api.entry, api.service, std::move(*target)});
    }
  }
  if (!settings.definitions.empty())
    plan.destinations = load_destinations(settings.definitions, settings.account, builder);
  return plan;
}

}  // namespace culvert::server
