// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/program/trial.hpp"

namespace culvert::server {

/// The options of culvert-server without a file, and what they mean.
Trial trial();

}  // namespace culvert::server
