// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/program/trial.hpp"

namespace culvert::agent {

/// Returns the options of culvert-agent without a file, and their meaning.
Trial trial();

}  // namespace culvert::agent
