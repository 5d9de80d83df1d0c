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

/// Tells when files change, by inotify on their *directories*: so it sees an editor that puts a new file in the old
/// one's place, and Kubernetes, which swaps the link `..data` beside the names. A symbolic link is followed too: the
/// target's directory is watched as well. A directory that goes away is looked for again. Lives on one thread, the
/// io_context's.
class FileWatcher {
 public:
  /// `on_change` is called on the io_context's thread, several times for one change; it must not destroy this.
  FileWatcher(boost::asio::io_context& context, std::function<void()> on_change);
  ~FileWatcher();
  FileWatcher(const FileWatcher&) = delete;
  FileWatcher& operator=(const FileWatcher&) = delete;

  /// From now on watches `files`, and the *.toml in `drop_in_directory`, which need not be there; no others. Absolute
  /// paths. Code "reload.unwatched": the system refuses to watch some; the others are watched.
  Result<void> watch(std::vector<std::filesystem::path> files, std::filesystem::path drop_in_directory);
  /// For one who is about to read the files: what has changed so far will not be told any more.
  void forget_changes() { (void)read_events(); }

 private:
  struct Directory {
    std::set<std::string, std::less<>> names;
    bool any_toml = false;
  };

  void arm();
  /// Takes all events there are; whether one of them matters.
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
  std::optional<Error> refusal_;  // Of the last rescan().
  std::shared_ptr<bool> alive_ =
      std::make_shared<bool>(true);  // Handlers that are queued when this goes hold it weakly.
};

}  // namespace culvert
