// SPDX-License-Identifier: Apache-2.0
#include "server/enrolment/state_files.hpp"

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <map>
#include <string>
#include <system_error>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config/durable_file.hpp"

namespace culvert::server {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view suffix = ".json";
/// How write_durably() names what it has not finished.
constexpr std::string_view unfinished_suffix = ".new";
/// Far more than an agent needs.
constexpr std::size_t file_bytes_max = std::size_t{64} << 10;
constexpr mode_t folder_mode = 0700;
constexpr mode_t file_mode = 0600;

std::string reason_of(int error) {
  return std::generic_category().message(error);
}

std::unexpected<Error> unusable(const fs::path& path, const std::string& reason) {
  return fail("enrolment.unusable",
              fmt::format("cannot use {}: {}; the state directory must exist and belong to the server's user",
                          path.string(), reason));
}

std::unexpected<Error> malformed(const fs::path& path, std::string_view flaw) {
  return fail("enrolment.malformed",
              fmt::format("{}: {}; restore the file from a backup, or move it away and add the agent again",
                          path.string(), flaw));
}

// What exists is only opened, so that a server starts with a disk that is full, or mounted read-only: its agents come
// in, and only changes fail.
Result<void> make_folder(const fs::path& folder) {
  std::error_code ignored;
  if (fs::is_directory(folder, ignored)) return {};
  if (::mkdir(folder.c_str(), folder_mode) != 0) return unusable(folder, reason_of(errno));
  return sync_folder(folder.parent_path());
}

Result<UniqueFd> lock_of(const fs::path& directory) {
  constexpr int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY;
  const fs::path file = directory / "lock";
  UniqueFd lock(::open(file.c_str(), flags));
  if (!lock && errno == ENOENT) lock = UniqueFd(::open(file.c_str(), flags | O_CREAT, file_mode));
  if (!lock) return unusable(file, reason_of(errno));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno != EWOULDBLOCK) return unusable(file, reason_of(errno));
  return fail("enrolment.in_use",
              fmt::format("another server process uses {}: one server process owns a state directory; stop it, or set "
                          "another directory as state in [enrolment]",
                          directory.string()));
}

/// Reads one byte more than allowed, to notice a file that is too long.
Result<std::string> read_file(const fs::path& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  if (!file) return unusable(path, reason_of(errno));
  std::string text(file_bytes_max + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    const ssize_t count = ::read(file.get(), text.data() + size, text.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return unusable(path, reason_of(errno));
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  if (size > file_bytes_max) return malformed(path, "it has more than 64 KiB");
  text.resize(size);
  return text;
}

Result<StoredAgent> read_agent(const fs::path& path) {
  std::string name = path.filename().string();
  if (name.ends_with(suffix)) name.resize(name.size() - suffix.size());
  if (path.extension() != suffix || !is_agent_name(name)) return malformed(path, "it is not the file of an agent");
  auto text = read_file(path);
  if (!text) return std::unexpected(std::move(text.error()));
  auto agent = parse_agent(name, *text);
  if (!agent) return malformed(path, agent.error().text);
  return agent;
}

}  // namespace

Result<StateFiles> StateFiles::open(fs::path directory, Write write) {
  directory = fs::absolute(directory);
  if (!directory.has_filename()) directory = directory.parent_path();  // It ends with a slash.
  if (auto made = make_folder(directory); !made) return std::unexpected(std::move(made.error()));
  auto lock = lock_of(directory);
  if (!lock) return std::unexpected(std::move(lock.error()));
  if (auto made = make_folder(directory / "agents"); !made) return std::unexpected(std::move(made.error()));
  return StateFiles(std::move(directory), std::move(write), std::move(*lock));
}

Result<std::vector<StoredAgent>> StateFiles::load() const {
  std::error_code error;
  std::vector<fs::path> paths;
  for (fs::directory_iterator entry(agents_, error), end; !error && entry != end; entry.increment(error))
    paths.push_back(entry->path());
  if (error) return unusable(agents_, error.message());
  std::ranges::sort(paths);  // So that the same fault is reported each time.
  std::vector<StoredAgent> agents;
  std::map<std::string, fs::path> keys;
  std::map<std::string, fs::path> tokens;
  for (const fs::path& path : paths) {
    if (path.native().ends_with(unfinished_suffix)) {
      fs::remove(path, error);  // If it stays, it harms nothing.
      continue;
    }
    auto agent = read_agent(path);
    if (!agent) return std::unexpected(std::move(agent.error()));
    const auto [same, is_new] = keys.try_emplace(key_of(agent->record), path);
    if (!is_new) return malformed(path, fmt::format("it is the same agent as {}", same->second.string()));
    if (const auto& token = agent->token; token) {
      const auto [twin, is_own] = tokens.try_emplace(token->id, path);
      if (!is_own) return malformed(path, fmt::format("it has the join token of {}", twin->second.string()));
    }
    agents.push_back(std::move(*agent));
  }
  return agents;
}

Result<void> StateFiles::write(const StoredAgent& agent) const {
  return write_(file_of(agent.record.name), to_json(agent), file_mode);
}

Result<void> StateFiles::remove(std::string_view name) const {
  const fs::path file = file_of(name);
  if (::unlink(file.c_str()) != 0 && errno != ENOENT)
    return fail("file.not_written", fmt::format("cannot remove {}: {}", file.string(), reason_of(errno)));
  return sync_folder(agents_);
}

fs::path StateFiles::file_of(std::string_view name) const {
  return agents_ / (std::string(name) + std::string(suffix));
}

}  // namespace culvert::server
