// SPDX-License-Identifier: Apache-2.0
#include "common/admin/line_limit.hpp"

#include <utility>

namespace culvert {

std::optional<std::uint64_t> LineLimit::admit(std::string_view kind, Time now) {
  auto found = kinds_.find(kind);
  if (found == kinds_.end()) found = kinds_.emplace(std::string(kind), Kind{now, 0}).first;
  Kind& entry = found->second;
  if (now < entry.next) {
    ++entry.suppressed;
    return std::nullopt;
  }
  entry.next = now + std::chrono::seconds(1);
  return std::exchange(entry.suppressed, 0);
}

}  // namespace culvert
