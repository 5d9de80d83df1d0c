// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "common/base/error.hpp"
#include "common/net/unique_fd.hpp"
#include "server/enrolment/agent_file.hpp"

namespace culvert::server {

/// The files of a state directory: DIRECTORY/lock, which this process holds, and DIRECTORY/agents/NAME.json. Every call
/// blocks.
class StateFiles {
 public:
  /// Replaces a file: write_durably(), or what a test puts in its place.
  using Write = std::function<Result<void>(const std::filesystem::path&, std::string_view, mode_t)>;

  /// Makes the folders if they are missing, and takes the lock, which the destructor releases. Codes:
  /// "enrolment.in_use" (another server process has it), "enrolment.unusable".
  static Result<StateFiles> open(std::filesystem::path directory, Write write);

  /// Every agent. Removes what a crash has left of an unfinished write. Codes: "enrolment.malformed" (the text names
  /// the file), "enrolment.unusable".
  Result<std::vector<StoredAgent>> load() const;
  /// Afterwards, or after an error, the older or the newer content is there in full. Code "file.not_written".
  Result<void> write(const StoredAgent& agent) const;
  /// A file that is missing is no error, so that a failed removal can be repeated. Code "file.not_written".
  Result<void> remove(std::string_view name) const;

  const std::filesystem::path& directory() const { return directory_; }

 private:
  StateFiles(std::filesystem::path directory, Write write, UniqueFd lock)
      : directory_(std::move(directory)),
        agents_(directory_ / "agents"),
        write_(std::move(write)),
        lock_(std::move(lock)) {}
  std::filesystem::path file_of(std::string_view name) const;

  std::filesystem::path directory_;
  std::filesystem::path agents_;
  Write write_;
  UniqueFd lock_;
};

}  // namespace culvert::server
