// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/error.hpp"

namespace culvert {

/// A password or a key in memory. It cannot be printed or copied; its destructor wipes the bytes.
class Secret {
 public:
  /// Takes ownership of the bytes; the caller must not keep copies of them.
  explicit Secret(std::vector<char> bytes) : bytes_(std::move(bytes)) {}
  /// Takes a copy of bytes that somebody else holds.
  static Secret of(std::string_view bytes) { return Secret(std::vector<char>(bytes.begin(), bytes.end())); }
  Secret(Secret&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
  Secret& operator=(Secret&& other) noexcept;
  Secret(const Secret&) = delete;
  Secret& operator=(const Secret&) = delete;
  ~Secret() { wipe(); }

  /// Another one with the same bytes: copies are made on purpose only.
  Secret copy() const { return Secret(bytes_); }
  /// The bytes themselves, valid while this lives. They must not get into a log, an error or an argument.
  std::string_view reveal() const { return {bytes_.data(), bytes_.size()}; }

 private:
  void wipe();
  std::vector<char> bytes_;
};

/// Reads a file that holds one secret, without its final newline. Blocks. Codes: "secret.unreadable" (missing, no
/// permission, not a regular file), "secret.mode" (others may read or write it), "secret.empty", "secret.too_large"
/// (above 64 KiB), "secret.wrong_encoding" (a byte order mark or UTF-16). No text shows any content. Everybody may
/// read the file of a certificate, which is not secret.
enum class Openness : std::uint8_t { secret, certificate };
Result<Secret> read_secret_file(const std::filesystem::path& path, Openness openness = Openness::secret);

}  // namespace culvert
