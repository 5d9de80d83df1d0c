// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <vector>

#include "common/base/error.hpp"
#include "common/program/program.hpp"
#include "server/targets/destination_text.hpp"

namespace culvert::server {

/// A file that `destinations import` was given.
struct ExportFile {
  std::string name;
  Result<std::string> content;
};

/// What came of the files.
struct DestinationImport {
  std::vector<ExportedDestination> usable;  ///< Valid and supported ones, each name once.
  std::vector<std::string> report;          ///< A line for each destination and each unusable file, without secrets.
  bool all_usable = true;
};
/// Splits the files' destinations and checks each. Of two with one name the first is taken. Pure.
DestinationImport import_destinations(std::span<const ExportFile> files);

/// The manifest of the Secret `culvert-destinations`, as JSON with a key for each destination.
std::string destinations_secret(std::span<const ExportedDestination> destinations);

/// `culvert-server destinations import FILE… [--directory DIRECTORY]`
Program::Tool destinations_tool();

}  // namespace culvert::server
