// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

namespace culvert::simulation {

/// Runs bulk streams of one tunnel whose sources give pieces of very different sizes. No stream may ever be more than
/// three quanta ahead of another. Throws Failure.
void check_fairness(std::uint64_t seed);

}  // namespace culvert::simulation
