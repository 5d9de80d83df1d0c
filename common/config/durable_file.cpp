// SPDX-License-Identifier: Apache-2.0
#include "common/config/durable_file.hpp"

#include "common/config/open_folder.hpp"

namespace culvert {

Result<void> write_durably(const std::filesystem::path& file, std::string_view content, mode_t mode) {
  const auto folder = OpenFolder::open(file.parent_path());
  if (!folder) return std::unexpected(folder.error());
  return folder->replace(file.filename(), content, mode);
}

Result<void> sync_folder(const std::filesystem::path& folder) {
  const auto open = OpenFolder::open(folder);
  if (!open) return std::unexpected(open.error());
  return open->sync();
}

}  // namespace culvert
