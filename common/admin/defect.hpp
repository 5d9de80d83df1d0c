// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <functional>
#include <string>

#include "common/admin/log.hpp"

namespace culvert {

/// Logs an unexpected exception that ended a task of a TaskGroup. The process continues.
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
