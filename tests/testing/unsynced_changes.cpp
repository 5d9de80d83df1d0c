// SPDX-License-Identifier: Apache-2.0
#include "tests/testing/unsynced_changes.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <stdexcept>

#include <fmt/core.h>
#include <sys/syscall.h>
#include <unistd.h>

// System calls by number, since libc's names are those of the fault points.

namespace culvert::testing {
namespace {

Inode inode_of(int fd) {
  struct stat status{};
  if (::fstat(fd, &status) != 0) throw std::runtime_error("fstat");
  return {status.st_dev, status.st_ino};
}

int open_raw(int folder, const char* name, int flags, mode_t mode = 0) {
  return static_cast<int>(::syscall(SYS_openat, folder, name, flags | O_CLOEXEC, mode));
}

void restore(int folder, const char* name, const Entry& entry) {
  if (entry.is_link) {
    ::syscall(SYS_symlinkat, entry.content.c_str(), folder, name);
    return;
  }
  const int file = open_raw(folder, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
  ::syscall(SYS_write, file, entry.content.data(), entry.content.size());
  ::syscall(SYS_fchmod, file, entry.mode);
}

}  // namespace

std::optional<Entry> read_entry(int folder, const char* name) {
  struct stat status{};
  if (::fstatat(folder, name, &status, AT_SYMLINK_NOFOLLOW) != 0) return std::nullopt;
  std::array<char, 65536> buffer{};
  ssize_t size = 0;
  if (S_ISLNK(status.st_mode)) {
    size = ::readlinkat(folder, name, buffer.data(), buffer.size());
  } else if (S_ISREG(status.st_mode)) {
    const int file = open_raw(folder, name, O_RDONLY);
    size = ::read(file, buffer.data(), buffer.size());
    ::close(file);
  } else {
    return std::nullopt;
  }
  if (size < 0 || static_cast<std::size_t>(size) == buffer.size()) throw std::runtime_error("too large to restore");
  return Entry{.is_link = S_ISLNK(status.st_mode),
               .mode = status.st_mode & 07777,
               .content = std::string(buffer.data(), static_cast<std::size_t>(size))};
}

bool is_regular_file(int fd) {
  struct stat status{};
  return ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
}

void UnsyncedChanges::written(int fd) {
  const Inode inode = inode_of(fd);
  if (std::ranges::find(growths_, inode, &Growth::inode) != growths_.end()) return;
  struct stat status{};
  ::fstat(fd, &status);
  growths_.push_back({.file = ::dup(fd), .inode = inode, .size = status.st_size});
}

void UnsyncedChanges::synced(int fd) {
  const Inode inode = inode_of(fd);
  std::erase_if(growths_, [&](const Growth& growth) { return growth.inode == inode; });
  std::erase_if(changes_, [&](const Change& change) { return change.place.inode == inode; });
}

void UnsyncedChanges::made(int folder, const char* name) {
  changes_.push_back({.place = place_of(folder, name)});
}

void UnsyncedChanges::renamed(int from_folder, const char* from, int to_folder, const char* to,
                              std::optional<Entry> replaced) {
  const Place source = place_of(from_folder, from);
  Place destination = place_of(to_folder, to);
  if (!(source.inode == destination.inode)) throw std::runtime_error("a rename into another folder is not modelled");
  changes_.push_back({.place = std::move(destination), .from = source.name, .replaced = std::move(replaced)});
}

void UnsyncedChanges::lose(bool with_renames) {
  for (const Growth& growth : growths_) ::syscall(SYS_ftruncate, growth.file, growth.size);
  for (auto change = changes_.rbegin(); change != changes_.rend(); ++change) {
    const auto& [folder, inode, name] = change->place;
    if (!change->from) {
      if (::syscall(SYS_unlinkat, folder, name.c_str(), 0) == 0 || errno != EISDIR) continue;
      // A folder is lost with everything in it. Nothing here may be a fault point, so not std::filesystem.
      const int lost = open_raw(folder, name.c_str(), O_RDONLY | O_DIRECTORY);
      for (const auto& entry : std::filesystem::directory_iterator(fmt::format("/proc/self/fd/{}", lost)))
        ::syscall(SYS_unlinkat, lost, entry.path().filename().c_str(), 0);
      if (::syscall(SYS_unlinkat, folder, name.c_str(), AT_REMOVEDIR) != 0) throw std::runtime_error("nested folder");
    } else if (with_renames) {
      ::syscall(SYS_renameat2, folder, name.c_str(), folder, change->from->c_str(), 0);
      if (change->replaced) restore(folder, name.c_str(), *change->replaced);
    }
  }
}

UnsyncedChanges::Place UnsyncedChanges::place_of(int folder, const char* name) {
  const std::filesystem::path path(name);
  const std::filesystem::path parent = path.has_parent_path() ? path.parent_path() : ".";
  const int fd = open_raw(folder, parent.c_str(), O_RDONLY | O_DIRECTORY);
  if (fd < 0) throw std::runtime_error("no folder of " + path.string());
  return {.folder = fd, .inode = inode_of(fd), .name = path.filename()};
}

}  // namespace culvert::testing
