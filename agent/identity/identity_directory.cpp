// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/identity_directory.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <string_view>
#include <system_error>

#include <fmt/core.h>

#include "common/config/open_folder.hpp"

namespace culvert::agent {

namespace {
// Names in the directory and in the folder of an identity.
const std::string current_name = "current";
const std::string fresh_link_name = current_name + ".new";
const std::string pending_name = "pending.pem";
const std::string key_name = "key.pem";
const std::string certificate_name = "certificate.pem";
const std::string authorities_name = "authorities.pem";
constexpr std::string_view generation_prefix = "generation-";

/// The number in the name of an identity's folder, if it is one that we could have made.
std::optional<std::uint64_t> generation_of(std::string_view name) {
  if (!name.starts_with(generation_prefix)) return std::nullopt;
  name.remove_prefix(generation_prefix.size());
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  // Longer numbers than one can write one identity after another would leave none to go on with.
  if (error != std::errc() || end != name.data() + name.size() || name.size() > 15) return std::nullopt;
  return number;
}

/// Above that of every folder, also of those that a crash left behind.
std::string next_generation(const OpenFolder& directory) {
  std::uint64_t last = 0;
  for (const std::string& name : directory.names()) last = std::max(last, generation_of(name).value_or(0));
  return fmt::format("{}{}", generation_prefix, last + 1);
}

std::unexpected<Error> not_written(Error error) {
  return fail("identity.not_written", std::move(error.text));
}

/// Opens the directory, and waits until nobody else writes in it.
Result<OpenFolder> open_to_write(const std::filesystem::path& path) {
  auto directory = OpenFolder::open_or_make(path, 0700);
  if (directory) directory->lock();
  return directory;
}

Result<void> write_files(const OpenFolder& directory, const std::string& generation, const Identity& identity) {
  const auto folder = directory.make_folder(generation, 0700);
  if (!folder) return std::unexpected(folder.error());
  if (auto written = folder->write_new(key_name, identity.key.reveal(), 0600); !written) return written;
  if (auto written = folder->write_new(certificate_name, identity.certificate, 0644); !written) return written;
  if (auto written = folder->write_new(authorities_name, identity.authorities, 0644); !written) return written;
  if (auto synced = folder->sync(); !synced) return synced;
  // The folder's own name must last before a link leads to it.
  return directory.sync();
}

/// Makes the folder the one in force.
Result<void> switch_to(const OpenFolder& directory, const std::string& generation) {
  directory.remove(fresh_link_name);
  if (auto made = directory.make_link(fresh_link_name, generation); !made) return made;
  return directory.rename(fresh_link_name, current_name);
}

/// Removes what the identity in force does not need, except for the one before it.
void clean_up(const OpenFolder& directory, const std::string& generation, const std::string& previous) {
  for (const std::string& name : directory.names()) {
    const bool is_old = generation_of(name) && name != generation && name != previous;
    if (is_old || name == fresh_link_name || name == pending_name || name == pending_name + ".new")
      directory.remove(name);
  }
}

}  // namespace

bool IdentityDirectory::has_identity() const {
  const CredentialFiles all = files();
  return std::ranges::all_of(std::array{all.certificate, all.private_key, all.ca}, [](const auto& file) {
    std::error_code ignored;
    return std::filesystem::exists(file, ignored);
  });
}

Result<void> IdentityDirectory::write(const Identity& identity) {
  const auto directory = open_to_write(directory_);
  if (!directory) return not_written(directory.error());
  const std::string previous = directory->link_target(current_name).value_or("");
  const std::string generation = next_generation(*directory);
  auto written = write_files(*directory, generation, identity);
  if (written) written = switch_to(*directory, generation);
  if (!written) {
    directory->remove(fresh_link_name);
    directory->remove(generation);
    return not_written(std::move(written.error()));
  }
  // If this fails, a crash may bring the previous identity back: it and the pending key stay.
  if (auto synced = directory->sync(); !synced) return not_written(std::move(synced.error()));
  clean_up(*directory, generation, previous);
  return {};
}

Result<std::optional<Secret>> IdentityDirectory::pending() const {
  const std::filesystem::path file = directory_ / pending_name;
  std::error_code error;
  if (!std::filesystem::exists(file, error) && !error) return std::optional<Secret>();
  auto key = read_secret_file(file);
  if (!key) return std::unexpected(std::move(key.error()));
  return std::optional(std::move(*key));
}

Result<void> IdentityDirectory::keep_pending(const Secret& key) {
  const auto directory = open_to_write(directory_);
  if (!directory) return not_written(directory.error());
  if (auto kept = directory->replace(pending_name, key.reveal(), 0600); !kept)
    return not_written(std::move(kept.error()));
  return {};
}

}  // namespace culvert::agent
