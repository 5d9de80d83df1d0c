// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/object.hpp>

#include "common/base/error.hpp"
#include "server/gateway/target_builder.hpp"
#include "server/targets/destination_definition.hpp"
#include "server/targets/target_description.hpp"

namespace culvert::server {

/// Before the name of a destination, in the name of its target.
inline constexpr std::string_view destination_prefix = "destination ";

/// A destination that the gateway serves.
struct Destination {
  std::string name;
  std::shared_ptr<ExternalTarget> target;
  boost::json::object properties;  ///< As they were exported, for the look-up: secrets are in them.
};

/// What the files of a directory define. One that cannot be used harms no other.
struct LoadedDestinations {
  std::vector<Destination> destinations;
  std::vector<Error> refused;  ///< Each names its file, or the key in its Secret.
};

/// Reads the definitions in `directory`, one in each file: *.pem and *.key are certificates and keys that they name.
/// `account` is that of the agents for on-premise ones. Blocks.
LoadedDestinations load_destinations(const std::filesystem::path& directory, const std::string& account,
                                     TargetBuilder& builder);

/// The same for the values of a Secret of a cluster, except for the types that have plain ports. A definition names
/// certificates by their keys there.
LoadedDestinations load_destinations(const DestinationTexts& texts, const std::string& account, TargetBuilder& builder);

/// The target of a definition. `read_key_store` returns the certificates and the key of a key store in PEM. Errors:
/// "gateway.bad_destination".
using ReadKeyStore = std::function<Result<Secret>(const std::string& location)>;
Result<TargetDescription> describe(const DestinationDefinition& definition, const std::string& account,
                                   const ReadKeyStore& read_key_store);

}  // namespace culvert::server
