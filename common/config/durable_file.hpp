// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string_view>

#include <sys/types.h>

#include "common/base/error.hpp"

namespace culvert {

/// Replaces the file's content so that after a crash, also of the machine, the older or the newer content is there in
/// full: writes a file beside it, syncs it, renames it, syncs the folder. `mode` counts from the first byte on,
/// whatever the umask is. If the caller is root, the file gets the owner of its folder. Blocks.
///
/// Code "file.not_written"; the text names the file and what the system said. After it the older content is there;
/// only if the last sync failed, the newer. Nothing of a failed write is left behind, except by a crash: names of such
/// leftovers end in ".new", and the next write of the same file replaces it. One write of a file at a time.
Result<void> write_durably(const std::filesystem::path& file, std::string_view content, mode_t mode);
/// Syncs a folder, so that renames and removals in it last. Code "file.not_written".
Result<void> sync_folder(const std::filesystem::path& folder);

}  // namespace culvert
