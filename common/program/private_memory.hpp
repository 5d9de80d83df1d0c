// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace culvert {

/// Keeps keys, tokens and cookies in the process (docs/threat-model.md): no core file, and no other process of the same
/// user may read the memory. Call it before any secret is loaded. Does nothing under sanitizers, which need the right.
void keep_memory_private();

}  // namespace culvert
