// SPDX-License-Identifier: Apache-2.0
#include "common/config/open_folder.hpp"

#include <cerrno>
#include <cstdio>
#include <memory>
#include <system_error>
#include <utility>

#include <dirent.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace culvert {

namespace {
constexpr int folder_flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;

std::unexpected<Error> not_written_at(const std::filesystem::path& path, int error) {
  return fail("file.not_written",
              fmt::format("cannot write {}: {}", path.string(), std::generic_category().message(error)));
}

bool write_all(int file, std::string_view content) {
  while (!content.empty()) {
    const ssize_t count = ::write(file, content.data(), content.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    content.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

std::vector<std::string> names_in(int folder) {
  // A descriptor of its own, since reading moves the position that duplicates share.
  UniqueFd copy(::openat(folder, ".", folder_flags));
  struct Close {
    void operator()(DIR* stream) const { ::closedir(stream); }
  };
  const std::unique_ptr<DIR, Close> stream(copy ? ::fdopendir(copy.get()) : nullptr);
  if (!stream) return {};
  copy.release();
  std::vector<std::string> names;
  while (const dirent* const entry = ::readdir(stream.get())) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  return names;
}

}  // namespace

Result<OpenFolder> OpenFolder::open(const std::filesystem::path& path) {
  UniqueFd folder(::open(path.empty() ? "." : path.c_str(), folder_flags));
  if (!folder) return not_written_at(path, errno);
  return OpenFolder(path, std::move(folder));
}

Result<OpenFolder> OpenFolder::open_or_make(const std::filesystem::path& path, mode_t mode) {
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored)) return open(path);
  const std::filesystem::path whole = path.has_filename() ? path : path.parent_path();
  const auto above = open(whole.parent_path());
  if (!above) return std::unexpected(above.error());
  auto made = above->make_folder(whole.filename(), mode);
  if (!made) return made;
  if (auto synced = above->sync(); !synced) return std::unexpected(std::move(synced.error()));
  return made;
}

OpenFolder::OpenFolder(std::filesystem::path path, UniqueFd folder)
    : path_(std::move(path)), folder_(std::move(folder)) {
  struct stat status{};
  if (::geteuid() == 0 && ::fstat(folder_.get(), &status) == 0 && status.st_uid != 0)
    owner_ = Owner{status.st_uid, status.st_gid};
}

void OpenFolder::lock() const {
  while (::flock(folder_.get(), LOCK_EX) != 0 && errno == EINTR) {
  }
}

std::vector<std::string> OpenFolder::names() const {
  return names_in(folder_.get());
}

std::optional<std::string> OpenFolder::link_target(const std::string& name) const {
  std::string target(4096, '\0');
  const ssize_t size = ::readlinkat(folder_.get(), name.c_str(), target.data(), target.size());
  if (size < 0) return std::nullopt;
  target.resize(static_cast<std::size_t>(size));
  return target;
}

Result<void> OpenFolder::write_new(const std::string& name, std::string_view content, mode_t mode) const {
  const UniqueFd file(
      ::openat(folder_.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
  if (!file) return not_written(name);
  // fchmod, since the umask may have taken bits away.
  if (give_to_owner(file.get()) && ::fchmod(file.get(), mode) == 0 && write_all(file.get(), content) &&
      ::fsync(file.get()) == 0)
    return {};
  auto failure = not_written(name);
  remove(name);
  return failure;
}

Result<void> OpenFolder::replace(const std::string& name, std::string_view content, mode_t mode) const {
  const std::string fresh = name + ".new";
  remove(fresh);
  if (auto written = write_new(fresh, content, mode); !written) return written;
  if (auto renamed = rename(fresh, name); !renamed) {
    remove(fresh);
    return renamed;
  }
  return sync();
}

Result<OpenFolder> OpenFolder::make_folder(const std::string& name, mode_t mode) const {
  if (::mkdirat(folder_.get(), name.c_str(), mode) != 0) return not_written(name);
  auto folder = open_folder(name);
  if (folder && give_to_owner(folder->folder_.get()) && ::fchmod(folder->folder_.get(), mode) == 0) {
    folder->owner_ = owner_;
    return folder;
  }
  auto failure = folder ? not_written(name) : std::unexpected(std::move(folder.error()));
  remove(name);
  return failure;
}

Result<void> OpenFolder::make_link(const std::string& name, const std::string& target) const {
  if (::symlinkat(target.c_str(), folder_.get(), name.c_str()) != 0) return not_written(name);
  if (!owner_ || ::fchownat(folder_.get(), name.c_str(), owner_->user, owner_->group, AT_SYMLINK_NOFOLLOW) == 0)
    return {};
  auto failure = not_written(name);
  remove(name);
  return failure;
}

Result<void> OpenFolder::rename(const std::string& from, const std::string& to) const {
  if (::renameat(folder_.get(), from.c_str(), folder_.get(), to.c_str()) != 0) return not_written(to);
  return {};
}

Result<void> OpenFolder::sync() const {
  if (::fsync(folder_.get()) != 0) return not_written_at(path_, errno);
  return {};
}

void OpenFolder::remove(const std::string& name) const {
  if (::unlinkat(folder_.get(), name.c_str(), 0) == 0 || errno != EISDIR) return;
  {
    const auto folder = open_folder(name);
    if (!folder) return;
    for (const std::string& file : folder->names()) ::unlinkat(folder->folder_.get(), file.c_str(), 0);
  }
  ::unlinkat(folder_.get(), name.c_str(), AT_REMOVEDIR);
}

std::unexpected<Error> OpenFolder::not_written(const std::string& name) const {
  return not_written_at(path_ / name, errno);
}

Result<OpenFolder> OpenFolder::open_folder(const std::string& name) const {
  UniqueFd folder(::openat(folder_.get(), name.c_str(), folder_flags | O_NOFOLLOW));
  if (!folder) return not_written(name);
  return OpenFolder(path_ / name, std::move(folder));
}

bool OpenFolder::give_to_owner(int fd) const {
  return !owner_ || ::fchown(fd, owner_->user, owner_->group) == 0;
}

}  // namespace culvert
