// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>

namespace culvert::testing {

/// A file or folder, by what it is rather than by its name.
struct Inode {
  dev_t device = 0;
  ino_t number = 0;
  friend bool operator==(const Inode&, const Inode&) = default;
};

/// What a name led to: a symbolic link's target, or a regular file's content.
struct Entry {
  bool is_link = false;
  mode_t mode = 0;
  std::string content;
};

/// The entry, if it exists and is a link or a regular file. `folder` may be AT_FDCWD.
std::optional<Entry> read_entry(int folder, const char* name);
bool is_regular_file(int fd);

/// Changes of the file system that a loss of power may undo, since nothing has synced them. It never closes the
/// descriptors that it duplicates: it lives in a short process.
class UnsyncedChanges {
 public:
  /// Before bytes are written to the file.
  void written(int fd);
  void synced(int fd);
  /// After a name was made. `folder` may be AT_FDCWD; then `name` may be a path.
  void made(int folder, const char* name);
  void renamed(int from_folder, const char* from, int to_folder, const char* to, std::optional<Entry> replaced);

  /// Undoes all of it, with or without the renames. No fault may happen any more: the caller ends the process next.
  void lose(bool with_renames);

 private:
  /// A name in a folder that is kept open.
  struct Place {
    int folder = -1;
    Inode inode;  ///< The folder.
    std::string name;
  };
  struct Change {
    Place place;
    std::optional<std::string> from = std::nullopt;  ///< It was renamed, from this name in the same folder.
    std::optional<Entry> replaced = std::nullopt;
  };
  struct Growth {
    int file = -1;
    Inode inode;
    off_t size = 0;  ///< At the last sync.
  };

  static Place place_of(int folder, const char* name);

  std::vector<Change> changes_;
  std::vector<Growth> growths_;
};

}  // namespace culvert::testing
