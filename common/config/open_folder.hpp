// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "common/base/error.hpp"
#include "common/net/unique_fd.hpp"

namespace culvert {

/// A folder that is kept open, so that its entries are changed in this folder whatever happens to its path. No
/// operation follows a symbolic link in it. Hence root may write in a folder that belongs to another user; what it
/// makes there gets the folder's owner. Names are of entries, without "/". All of it blocks.
///
/// The code of all errors is "file.not_written"; the text names the file and what the system said.
class OpenFolder {
 public:
  static Result<OpenFolder> open(const std::filesystem::path& path);
  /// Makes the folder with this mode if it is missing. The folder above it must exist.
  static Result<OpenFolder> open_or_make(const std::filesystem::path& path, mode_t mode);
  /// Waits until nobody else has the lock of the folder. It lasts as long as this object. Does nothing where the file
  /// system has no locks.
  void lock() const;

  std::vector<std::string> names() const;  ///< Of all entries; unsorted.
  std::optional<std::string> link_target(const std::string& name) const;

  /// Makes a file with exactly this mode, which counts from the first byte on, and syncs it. No entry of the name may
  /// exist. After a failure none does.
  Result<void> write_new(const std::string& name, std::string_view content, mode_t mode) const;
  /// As write_durably() does, whatever the entry is now.
  Result<void> replace(const std::string& name, std::string_view content, mode_t mode) const;
  /// Makes a folder with exactly this mode, and opens it. No entry of the name may exist.
  Result<OpenFolder> make_folder(const std::string& name, mode_t mode) const;
  Result<void> make_link(const std::string& name, const std::string& target) const;
  Result<void> rename(const std::string& from, const std::string& to) const;
  /// Makes changes of names in the folder last.
  Result<void> sync() const;
  /// Removes the entry; a folder, with the files in it. Does nothing if it cannot, or if there is no such entry.
  void remove(const std::string& name) const;

 private:
  struct Owner {
    uid_t user;
    gid_t group;
  };

  OpenFolder(std::filesystem::path path, UniqueFd folder);
  /// The error of the last system call.
  std::unexpected<Error> not_written(const std::string& name) const;
  /// Opens a folder in this one.
  Result<OpenFolder> open_folder(const std::string& name) const;
  bool give_to_owner(int fd) const;

  std::filesystem::path path_;  ///< For texts.
  UniqueFd folder_;
  std::optional<Owner> owner_;  ///< Of new entries, if it is not the caller.
};

}  // namespace culvert
