// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <fmt/core.h>

#include "agent/identity/identity_directory.hpp"
#include "tests/testing/file_facts.hpp"

// Identities of which each file's content follows from a number, so that files that do not belong together, or are not
// whole, are noticed.

namespace culvert::agent::testing {

inline std::string sample_text(const char* what, int version) {
  return fmt::format("{} {} {}\n", what, version, std::string(300, 'x'));
}

/// What read_secret_file() makes of it: without the newline.
inline Secret sample_key(int version) {
  const std::string text = sample_text("key", version);
  return Secret(std::vector<char>(text.begin(), text.end() - 1));
}

inline Identity sample_identity(int version) {
  return {.key = sample_key(version),
          .certificate = sample_text("certificate", version),
          .authorities = sample_text("authorities", version)};
}

/// The version of the identity in a folder, if all its files have it; otherwise -1.
inline int version_in(const std::filesystem::path& folder) {
  using culvert::testing::content_of;
  int version = -1;
  // NOLINTNEXTLINE(bugprone-unchecked-string-to-number-conversion)
  if (std::sscanf(content_of(folder / "key.pem").c_str(), "key %d", &version) != 1) return -1;
  const bool fits = content_of(folder / "key.pem") == sample_key(version).reveal() &&
                    content_of(folder / "certificate.pem") == sample_text("certificate", version) &&
                    content_of(folder / "authorities.pem") == sample_text("authorities", version);
  return fits ? version : -1;
}

/// That in force; 0 if there is none.
inline int version_in(const IdentityDirectory& directory) {
  return directory.has_identity() ? version_in(directory.files().private_key.parent_path()) : 0;
}

}  // namespace culvert::agent::testing
