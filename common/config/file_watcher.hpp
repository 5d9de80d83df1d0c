// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include "common/base/error.hpp"

namespace culvert {

/// Reports changes of files, by inotify on their *directories*: so it sees an editor that replaces the file by a new
/// one, and Kubernetes, which swaps the link `..data` next to the names. It follows symbolic links: the target's
/// directory is watched as well. When a directory disappears, it is looked for again. Lives on one thread, the
/// io_context's.
class FileWatcher {
 public:
  /// `on_change` is called on the io_context's thread, several times for one change; it must not destroy this.
  FileWatcher(boost::asio::io_context& context, std::function<void()> on_change);
  ~FileWatcher();
  FileWatcher(const FileWatcher&) = delete;
  FileWatcher& operator=(const FileWatcher&) = delete;

  /// Watches exactly `files`, and the *.toml in `drop_in_directory`, which need not exist. Absolute paths; one that
  /// ends with a slash is a directory, and stands for all files in it. Code "reload.unwatched": the system refuses to
  /// watch some of them; the others are watched.
  Result<void> watch(std::vector<std::filesystem::path> files, std::filesystem::path drop_in_directory);
  /// Call before reading the files: changes up to now are not reported any more.
  void forget_changes() { (void)read_events(); }

 private:
  struct Directory {
    std::set<std::string, std::less<>> names;
    bool any_toml = false;
    bool any_name = false;
  };

  void arm();
  /// Reads all pending events. Returns whether one of them is relevant.
  bool read_events();
  bool is_relevant(int watch, std::uint32_t mask, std::string_view name) const;
  void rescan();
  void look_again_later();

  std::vector<std::filesystem::path> files_;
  std::filesystem::path drop_in_directory_;
  std::function<void()> on_change_;
  boost::asio::posix::stream_descriptor inotify_;
  boost::asio::steady_timer retry_;
  std::map<int, Directory> directories_;
  bool some_missing_ = false;
  std::optional<Error> refusal_;  // Error of the last rescan().
  std::shared_ptr<bool> alive_ =
      std::make_shared<bool>(true);  // Queued handlers hold it weakly: this may be destroyed first.
};

}  // namespace culvert
