// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace culvert {

/// Whether the program can serve clients now.
struct Readiness {
  bool ready = false;
  std::string reason;  ///< One line for people; empty when ready.
};

}  // namespace culvert
