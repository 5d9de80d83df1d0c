// SPDX-License-Identifier: Apache-2.0
#include "common/config/secret_file.hpp"

#include <cerrno>
#include <cstring>  // explicit_bzero
#include <system_error>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include "common/net/unique_fd.hpp"

namespace culvert {

namespace {
constexpr std::size_t secret_bytes_max = std::size_t{64} << 10;

std::unexpected<Error> unreadable(const std::filesystem::path& path, int error) {
  return fail("secret.unreadable",
              fmt::format("cannot read {}: {}", path.string(), std::generic_category().message(error)));
}

/// Reads into one allocation that never moves, so that no copy stays behind. Reads one byte more than allowed, to
/// notice a file that is too long.
Result<std::vector<char>> read_all(int fd, const std::filesystem::path& path) {
  std::vector<char> bytes(secret_bytes_max + 1);
  std::size_t size = 0;
  while (size < bytes.size()) {
    const ssize_t count = ::read(fd, bytes.data() + size, bytes.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) {
      const int error = errno;
      ::explicit_bzero(bytes.data(), bytes.size());
      return unreadable(path, error);
    }
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  bytes.resize(size);
  return bytes;
}

/// Nothing is wrong: "". A program that stores text as UTF-16, or marks it as UTF-8, changes the secret's bytes.
std::string_view foreign_encoding(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) return "begins with a byte order mark (BOM)";
  const bool is_utf16 = text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff") || text.contains('\0');
  return is_utf16 ? "is UTF-16, or has zero bytes" : "";
}

}  // namespace

Secret& Secret::operator=(Secret&& other) noexcept {
  if (this != &other) {
    wipe();
    bytes_ = std::exchange(other.bytes_, {});
  }
  return *this;
}

void Secret::wipe() {
  // Wipes the whole allocation: what was cut off at its end (a newline) is still in it.
  if (bytes_.capacity() == 0) return;
  bytes_.resize(bytes_.capacity());
  ::explicit_bzero(bytes_.data(), bytes_.size());
}

Result<Secret> read_secret_file(const std::filesystem::path& path, Openness openness) {
  // Non-blocking, since opening a pipe without a writer would wait without end.
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!file) return unreadable(path, errno);
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) return unreadable(path, errno);
  if (!S_ISREG(status.st_mode))
    return fail("secret.unreadable", fmt::format("{} is not a regular file", path.string()));
  // The group may read it: a Kubernetes secret with fsGroup and a service's own group need that. Others never may.
  if (openness == Openness::secret && (status.st_mode & 0007) != 0) {
    return fail("secret.mode", fmt::format("{} is open to every user of this machine (mode {:04o}); chmod o-rwx it",
                                           path.string(), status.st_mode & 07777));
  }
  auto bytes = read_all(file.get(), path);
  if (!bytes) return std::unexpected(std::move(bytes.error()));
  Secret whole(std::move(*bytes));
  std::string_view text = whole.reveal();
  if (text.size() > secret_bytes_max) {
    return fail("secret.too_large", fmt::format("{} has more than 64 KiB; is it the right file?", path.string()));
  }
  if (const auto flaw = foreign_encoding(text); !flaw.empty()) {
    return fail("secret.wrong_encoding", fmt::format("{} {}; store it as UTF-8 without a mark", path.string(), flaw));
  }
  if (text.ends_with('\n')) text.remove_suffix(text.ends_with("\r\n") ? 2 : 1);
  if (text.empty()) return fail("secret.empty", fmt::format("{} is empty", path.string()));
  return Secret::of(text);
}

}  // namespace culvert
