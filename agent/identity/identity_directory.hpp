// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>

#include "agent/config/config.hpp"
#include "common/base/error.hpp"
#include "common/config/secret_file.hpp"
#include "common/config/settings.hpp"

namespace culvert::agent {

/// What an agent has of its own for one server: PEM texts that belong together.
struct Identity {
  Secret key;
  std::string certificate;  ///< The chain, leaf first.
  std::string authorities;
};

/// The directory of an identity that renews itself: `[[server]] identity`. The files of one identity are replaced all
/// at once: they are in a folder of their own, and the symbolic link `current` names the one in force. Whatever ends
/// the program or the machine in the middle of a write, the older or the newer identity is whole. Blocks: off the
/// loops.
///
///   DIRECTORY/current -> generation-7      certificate.pem, key.pem (0600), authorities.pem
///   DIRECTORY/pending.pem                  0600: the key of a certificate that was asked for and has not come yet
class IdentityDirectory {
 public:
  explicit IdentityDirectory(std::filesystem::path directory) : directory_(std::move(directory)) {}

  const std::filesystem::path& path() const { return directory_; }
  /// The files in force; they exist once write() has succeeded.
  CredentialFiles files() const { return identity_files(directory_); }
  bool has_identity() const;

  /// Replaces the identity, and removes the pending key and the folders of older ones except the last. The directory is
  /// made (0700) if it is missing; the folder above it must exist. If the caller is root, the files get the directory's
  /// owner, and a directory that is made here gets that of the folder above. Waits for another process that writes
  /// here.
  ///
  /// Code "identity.not_written" (names the file and what the system said): the older identity is in force; only if the
  /// last sync failed, the newer. The pending key is still there.
  Result<void> write(const Identity& identity);

  /// The key that was kept by keep_pending(), if there is one. Codes: those of read_secret_file().
  Result<std::optional<Secret>> pending() const;
  /// Keeps a key before its certificate is asked for, so that an answer that is lost can be asked for again. Makes the
  /// directory as write() does. Code "identity.not_written".
  Result<void> keep_pending(const Secret& key);

 private:
  std::filesystem::path directory_;
};

}  // namespace culvert::agent
