// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/program/trial.hpp"

namespace culvert::agent {

/// The options of culvert-agent without a file, and what they mean.
Trial trial();

}  // namespace culvert::agent
