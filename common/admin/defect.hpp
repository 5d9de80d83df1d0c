// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <functional>
#include <string>

#include "common/admin/log.hpp"

namespace culvert {

/// What a TaskGroup does with an exception that nobody expected: the task is over, the process lives, and a person is
/// told.
inline std::function<void(std::exception_ptr)> report_defect(Log& log, std::string task) {
  return [&log, task = std::move(task)](const std::exception_ptr& exception) {
    try {
      std::rethrow_exception(exception);
    } catch (const std::exception& thrown) {
      log.error("defect", {{"task", task}, {"what", thrown.what()}});
    } catch (...) {
      log.error("defect", {{"task", task}, {"what", "an unknown exception"}});
    }
  };
}

}  // namespace culvert
