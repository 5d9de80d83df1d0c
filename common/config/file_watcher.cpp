// SPDX-License-Identifier: Apache-2.0
#include "common/config/file_watcher.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <system_error>
#include <utility>

#include <fmt/core.h>
#include <sys/inotify.h>
#include <unistd.h>

namespace culvert {

namespace fs = std::filesystem;

namespace {
// Not IN_MODIFY: a file that is being written counts when it is closed. IN_ATTRIB: somebody may fix a file's mode.
constexpr std::uint32_t watched_events = IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM |
                                         IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR;
constexpr std::uint32_t directory_gone = IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_UNMOUNT;
constexpr std::chrono::seconds retry_delay{2};
constexpr std::string_view kubernetes_link = "..data";
}  // namespace

FileWatcher::FileWatcher(boost::asio::io_context& context, std::function<void()> on_change)
    : on_change_(std::move(on_change)), inotify_(context), retry_(context) {
  const int descriptor = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (descriptor < 0) return;  // watch() reports it.
  inotify_.assign(descriptor);
  arm();
}

FileWatcher::~FileWatcher() = default;

Result<void> FileWatcher::watch(std::vector<fs::path> files, fs::path drop_in_directory) {
  files_ = std::move(files);
  drop_in_directory_ = std::move(drop_in_directory);
  rescan();
  if (refusal_) return std::unexpected(*refusal_);
  return {};
}

void FileWatcher::rescan() {
  refusal_.reset();
  if (!inotify_.is_open()) {
    refusal_ = Error{"reload.unwatched",
                     "changes of files go unnoticed: the system has no inotify instance left; reload by SIGHUP, or "
                     "raise fs.inotify.max_user_instances"};
    return;
  }
  std::map<int, Directory> found;
  some_missing_ = false;
  // Two names of one directory share one watch, so their names are merged.
  const auto add = [&](const fs::path& directory, bool optional) -> Directory* {
    const int watch = ::inotify_add_watch(inotify_.native_handle(), directory.c_str(), watched_events);
    if (watch >= 0) return &found[watch];
    if (errno == ENOENT || errno == ENOTDIR) {
      some_missing_ = some_missing_ || !optional;
    } else {
      refusal_ = Error{"reload.unwatched", fmt::format("changes in {} go unnoticed: {}; reload by SIGHUP",
                                                       directory.string(), std::generic_category().message(errno))};
    }
    return nullptr;
  };
  const auto add_name = [&](const fs::path& path) {
    if (Directory* directory = add(path.parent_path(), false)) directory->names.insert(path.filename().string());
  };
  for (const fs::path& file : files_) {
    if (!file.has_filename()) {
      if (Directory* directory = add(file, false)) directory->any_name = true;
      continue;
    }
    add_name(file);
    std::error_code error;
    const fs::path target = fs::canonical(file, error);
    if (!error && target != file) add_name(target);
  }
  if (!drop_in_directory_.empty()) {
    add_name(drop_in_directory_);
    if (Directory* directory = add(drop_in_directory_, true)) directory->any_toml = true;
  }
  for (const auto& [watch, directory] : directories_) {
    if (!found.contains(watch)) ::inotify_rm_watch(inotify_.native_handle(), watch);
  }
  directories_ = std::move(found);
  if (some_missing_) look_again_later();
}

void FileWatcher::arm() {
  inotify_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                      [this, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
                        if (error || alive.expired()) return;
                        const bool changed = read_events();
                        arm();
                        if (changed) on_change_();
                      });
}

bool FileWatcher::read_events() {
  if (!inotify_.is_open()) return false;
  alignas(inotify_event) std::array<char, 16384> buffer{};
  bool changed = false;
  for (ssize_t size = 0; (size = ::read(inotify_.native_handle(), buffer.data(), buffer.size())) > 0;) {
    for (ssize_t at = 0; at < size;) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof event);
      // The name is padded with zeros to `len`.
      const char* name = buffer.data() + at + sizeof event;
      changed = changed || is_relevant(event.wd, event.mask, event.len == 0 ? "" : name);
      at += static_cast<ssize_t>(sizeof event + event.len);
    }
  }
  // Links may lead elsewhere now, and the drop-in directory may be new. watch() has reported what cannot be watched.
  if (changed) rescan();
  return changed;
}

bool FileWatcher::is_relevant(int watch, std::uint32_t mask, std::string_view name) const {
  if ((mask & IN_Q_OVERFLOW) != 0) return true;
  const auto found = directories_.find(watch);
  if (found == directories_.end()) return false;
  const Directory& directory = found->second;
  if (directory.any_name && !name.empty() && !name.starts_with('.')) return true;
  if ((mask & directory_gone) != 0 || name == kubernetes_link || directory.names.contains(name)) return true;
  return directory.any_toml && name.ends_with(".toml") && !name.starts_with('.');
}

void FileWatcher::look_again_later() {
  retry_.expires_after(retry_delay);
  retry_.async_wait([this, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (error || alive.expired()) return;
    const std::size_t before = directories_.size();
    rescan();
    if (directories_.size() > before) on_change_();
  });
}

}  // namespace culvert
