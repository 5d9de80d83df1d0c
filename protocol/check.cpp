// SPDX-License-Identifier: Apache-2.0
#include "protocol/check.hpp"

#include <cstdio>
#include <cstdlib>

namespace culvert {

void check_failed(const char* claim, std::source_location where) {
  std::fprintf(stderr, "culvert: defect: %s does not hold (%s:%u in %s)\n", claim, where.file_name(),
               static_cast<unsigned>(where.line()), where.function_name());
  std::abort();
}

}  // namespace culvert
