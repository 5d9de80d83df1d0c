// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/program/trial.hpp"

namespace culvert::server {

/// Returns the options of culvert-server without a file, and their meaning.
Trial trial();

}  // namespace culvert::server
