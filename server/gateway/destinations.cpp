// SPDX-License-Identifier: Apache-2.0
#include "server/gateway/destinations.hpp"

#include <algorithm>
#include <set>
#include <system_error>
#include <utility>

#include <fmt/core.h>

namespace culvert::server {

namespace fs = std::filesystem;

namespace {

std::unexpected<Error> bad(std::string text) {
  return fail("gateway.bad_destination", std::move(text));
}

LoginType type_of(DestinationLogin login) {
  switch (login) {
    case DestinationLogin::none: return LoginType::none;
    case DestinationLogin::basic: return LoginType::basic;
    case DestinationLogin::client_certificate: return LoginType::certificate;
    case DestinationLogin::client_credentials: return LoginType::oauth;
    case DestinationLogin::resource_owner: return LoginType::password;
    case DestinationLogin::jwt_bearer: return LoginType::jwt_bearer;
    case DestinationLogin::token_exchange: return LoginType::token_exchange;
    case DestinationLogin::principal_propagation: return LoginType::principal_propagation;
  }
  return LoginType::none;
}

/// Certificate and key are in one file.
Result<void> take_key_store(LoginTexts& login, const std::string& location, const ReadKeyStore& read_key_store) {
  if (location.empty()) return {};
  if (!location.ends_with(".pem"))
    return bad(
        fmt::format("KeyStoreLocation: \"{}\" is not a file in PEM; convert it: openssl pkcs12 -in FILE -nodes "
                    "-out NAME.pem, and name that",
                    location));
  auto pem = read_key_store(location);
  if (!pem) return std::unexpected(pem.error());
  login.certificate = pem->copy();
  login.private_key = std::move(*pem);
  login.certificate_name = login.key_name = location;
  return {};
}

Result<DestinationDefinition> read_file(const fs::path& file) {
  const auto text = read_secret_file(file);
  if (!text) return std::unexpected(text.error());
  return read_destination(text->reveal());
}

Result<Destination> make(const DestinationDefinition& definition, const std::string& account, TargetBuilder& builder,
                         const ReadKeyStore& read_key_store) {
  const auto description = describe(definition, account, read_key_store);
  if (!description) return std::unexpected(description.error());
  auto target = builder.build(*description);
  if (!target) return std::unexpected(target.error());
  // It can be looked up all the same: the client then calls it through the HTTP proxy.
  if (definition.proxy == DestinationProxy::on_premise && account.empty())
    (*target)->problem = "an on-premise destination needs account of [gateway]: whose agents lead there";
  Destination destination{definition.name, std::move(*target), {}};
  for (const DestinationProperty& property : definition.properties)
    destination.properties[property.name] = property.value.reveal();
  return destination;
}

Result<Destination> load(const fs::path& file, const std::string& account, TargetBuilder& builder) {
  const auto definition = read_file(file);
  if (!definition) return std::unexpected(definition.error());
  return make(*definition, account, builder, [&file](const std::string& location) {
    // Only a name: nothing outside of the directory is read.
    return read_secret_file(file.parent_path() / fs::path(location).filename());
  });
}

/// Takes the destinations of a directory or a Secret, one after the other.
class Collection {
 public:
  /// `where` is the file or the key that defines it.
  void add(std::string_view where, Result<Destination> destination) {
    if (destination && !names_.insert(destination->name).second)
      destination = bad(fmt::format("Name: \"{}\" is defined by another one already", destination->name));
    if (destination)
      loaded.destinations.push_back(std::move(*destination));
    else
      loaded.refused.push_back({destination.error().code, fmt::format("{}: {}", where, destination.error().text)});
  }

  LoadedDestinations loaded;

 private:
  std::set<std::string> names_;
};

}  // namespace

Result<TargetDescription> describe(const DestinationDefinition& definition, const std::string& account,
                                   const ReadKeyStore& read_key_store) {
  if (definition.type != DestinationType::http)
    return bad("Type: only HTTP destinations are served by this port; others need a port of their own, in a cluster");
  TargetDescription description{.name = std::string(destination_prefix) + definition.name,
                                .url = definition.url,
                                .parameters = definition.parameters,
                                .skip_verify = definition.trust_all,
                                .connect_timeout = definition.connect_timeout,
                                .first_byte_timeout = definition.read_timeout,
                                .idle_timeout = definition.read_timeout};
  if (definition.proxy == DestinationProxy::on_premise) {
    description.account = account;
    description.location = definition.location_id;
  }
  LoginTexts& login = description.login;
  login.type = type_of(definition.login);
  const DestinationTokenService& service = definition.token_service;
  if (service.is_common) return bad("tokenServiceURLType: Common is not supported; write the tenant's own URL");
  if (login.type == LoginType::basic) {
    login.user = definition.user;
    login.secret = definition.password.copy();
  } else {
    login.user = service.client_id;
    login.secret = service.client_secret.copy();
    login.owner = definition.user;
    login.owner_password = definition.password.copy();
  }
  login.service_user = service.user;
  login.service_password = service.password.copy();
  login.token_url = service.url;
  login.in_form = service.client_in_form;
  login.scope = service.scope;
  const bool is_certificate = login.type == LoginType::certificate;
  if (auto taken = take_key_store(login, is_certificate ? definition.key_store.location : service.key_store.location,
                                  read_key_store);
      !taken)
    return std::unexpected(taken.error());
  if (login.type == LoginType::oauth && !service.key_store.location.empty())
    login.type = LoginType::oauth_with_certificate;
  return description;
}

LoadedDestinations load_destinations(const fs::path& directory, const std::string& account, TargetBuilder& builder) {
  Collection all;
  std::error_code error;
  std::vector<fs::path> files;
  for (fs::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
    const fs::path& path = entry->path();
    const bool is_definition = !path.filename().native().starts_with('.') && path.extension() != ".pem";
    if (is_definition && !entry->is_directory(error)) files.push_back(path);
  }
  if (error) {
    all.loaded.refused.push_back(
        {"gateway.bad_destination", fmt::format("{}: {}", directory.string(), error.message())});
    return std::move(all.loaded);
  }
  std::ranges::sort(files);
  for (const fs::path& file : files) all.add(file.string(), load(file, account, builder));
  return std::move(all.loaded);
}

LoadedDestinations load_destinations(const DestinationTexts& texts, const std::string& account,
                                     TargetBuilder& builder) {
  Collection all;
  const auto read_key_store = [&texts](const std::string& location) -> Result<Secret> {
    const auto found = texts.find(location);
    if (found == texts.end())
      return bad(fmt::format("KeyStoreLocation: the Secret has no key \"{}\"; add it, in PEM", location));
    return found->second.copy();
  };
  for (const auto& [key, text] : texts) {
    if (key.ends_with(".pem")) continue;
    const auto definition = read_destination(text.reveal());
    if (!definition) {
      all.add(key, std::unexpected(definition.error()));
    } else if (definition->type == DestinationType::http) {  // Others are plain ports.
      all.add(key, make(*definition, account, builder, read_key_store));
    }
  }
  return std::move(all.loaded);
}

}  // namespace culvert::server
