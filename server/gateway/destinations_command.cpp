// SPDX-License-Identifier: Apache-2.0
#include "server/gateway/destinations_command.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <ranges>
#include <system_error>
#include <utility>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include "common/config/open_folder.hpp"
#include "common/net/unique_fd.hpp"
#include "server/targets/destination_definition.hpp"

namespace culvert::server {

namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::string_view usage = "write destinations import FILE… [--directory DIRECTORY]";
/// What Kubernetes stores in one Secret.
constexpr std::size_t secret_bytes_max = std::size_t{1} << 20;

Result<std::string> read_export(const fs::path& path) {
  const auto unreadable = [](int error) {
    return fail("gateway.bad_destination", fmt::format("cannot read it: {}", std::generic_category().message(error)));
  };
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!file) return unreadable(errno);
  // One byte more than an export may have, so that one that is too long is noticed.
  std::string content(export_bytes_max + 1, '\0');
  std::size_t size = 0;
  while (size < content.size()) {
    const ssize_t count = ::read(file.get(), content.data() + size, content.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return unreadable(errno);
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  content.resize(size);
  return content;
}

/// Properties hold one destination, which keeps its text.
Result<std::vector<ExportedDestination>> destinations_of(const ExportFile& file) {
  if (!file.content) return std::unexpected(file.content.error());
  if (is_json_export(*file.content)) return split_export(*file.content);
  return std::vector<ExportedDestination>{{"", *file.content}};
}

/// Checks one destination; adds it, or the reason why not.
void import_one(DestinationImport& import, const std::string& file, std::size_t number,
                ExportedDestination destination) {
  const auto definition = read_destination(destination.text);
  if (!definition) {
    import.all_usable = false;
    // The name may be what is wrong, and not fit for a terminal.
    const bool is_shown =
        !destination.name.empty() && std::ranges::all_of(destination.name, [](char c) { return c > ' ' && c <= '~'; });
    import.report.push_back(fmt::format("{}: {}: not usable: {}", file,
                                        is_shown ? destination.name : fmt::format("destination {}", number),
                                        definition.error().text));
    return;
  }
  const std::string& name = definition->name;
  if (std::ranges::find(import.usable, name, &ExportedDestination::name) != import.usable.end()) {
    import.all_usable = false;
    import.report.push_back(
        fmt::format("{}: {}: not usable: another one has this name already; remove or rename one", file, name));
    return;
  }
  import.report.push_back(fmt::format("{}: {}: supported", file, name));
  for (const std::string& note : definition->notes)
    import.report.push_back(fmt::format("{}: {}: note: {}", file, name, note));
  import.usable.push_back({name, std::move(destination.text)});
}

int write_directory(const fs::path& directory, const DestinationImport& import) {
  const auto folder = OpenFolder::open_or_make(directory, 0700);
  Result<void> written;
  if (!folder) written = std::unexpected(folder.error());
  for (const ExportedDestination& destination : import.usable) {
    if (written) written = folder->replace(destination.name, destination.text, 0600);
  }
  if (written) return 0;
  std::fprintf(stderr, "culvert-server: %s\n", written.error().text.c_str());
  return static_cast<int>(ExitStatus::try_again);
}

int write_secret(const DestinationImport& import) {
  const std::string secret = destinations_secret(import.usable);
  if (secret.size() > secret_bytes_max) {
    std::fputs("culvert-server: a Secret has at most 1 MiB; import fewer destinations\n", stderr);
    return static_cast<int>(ExitStatus::configuration);
  }
  if (std::fwrite(secret.data(), 1, secret.size(), stdout) == secret.size() && std::fflush(stdout) == 0) return 0;
  std::fprintf(stderr, "culvert-server: cannot write to standard output: %s\n",
               std::generic_category().message(errno).c_str());
  return static_cast<int>(ExitStatus::try_again);
}

int run_destinations(const Trial::Values& options) {
  const auto words = options.find("import");
  if (words == options.end() || words->second.size() < 2 || words->second.front() != "import") {
    std::fprintf(stderr, "culvert-server: %s\n", std::string(usage).c_str());
    return static_cast<int>(ExitStatus::usage);
  }
  std::vector<ExportFile> files;
  for (const std::string& name : words->second | std::views::drop(1)) files.push_back({name, read_export(name)});
  const DestinationImport import = import_destinations(files);
  for (const std::string& line : import.report) std::fprintf(stderr, "%s\n", line.c_str());
  // An empty Secret would replace one that is in use.
  int status = 0;
  if (!import.usable.empty()) {
    const auto directory = options.find("--directory");
    status = directory == options.end() ? write_secret(import) : write_directory(directory->second.front(), import);
  }
  if (status != 0) return status;
  return import.all_usable ? 0 : static_cast<int>(ExitStatus::configuration);
}

}  // namespace

DestinationImport import_destinations(std::span<const ExportFile> files) {
  DestinationImport import;
  for (const ExportFile& file : files) {
    auto destinations = destinations_of(file);
    if (!destinations) {
      import.all_usable = false;
      import.report.push_back(fmt::format("{}: not usable: {}", file.name, destinations.error().text));
      continue;
    }
    std::size_t number = 0;
    for (ExportedDestination& destination : *destinations)
      import_one(import, file.name, ++number, std::move(destination));
  }
  return import;
}

std::string destinations_secret(std::span<const ExportedDestination> destinations) {
  json::object keys;
  for (const ExportedDestination& destination : destinations) keys[destination.name] = destination.text;
  const json::object secret{{"apiVersion", "v1"},
                            {"kind", "Secret"},
                            {"metadata", {{"name", "culvert-destinations"}}},
                            {"type", "Opaque"},
                            {"stringData", std::move(keys)}};
  return json::serialize(secret) + "\n";
}

Program::Tool destinations_tool() {
  return {"destinations",
          "Check exported destinations, and print them as a Kubernetes Secret",
          {{"import", "FILE", "The word import, and exports as JSON or properties", Trial::Count::many},
           {"--directory", "DIRECTORY", "Write a file for each destination into it, instead of a Secret",
            Trial::Count::optional}},
          [](const Trial::Values& options, const fs::path&) { return run_destinations(options); }};
}

}  // namespace culvert::server
