// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

// Fault injection for code that writes files. fault_points.cpp defines open, write, fsync, rename and the like itself,
// in front of libc's. Link it only into a test program of its own: no other test should run on its system calls, and
// no fsync of the program reaches the disk. std::ofstream opens its file inside libc, out of reach of the faults.

namespace culvert::testing {

/// What happens at a fault point: a system call that changes the file system. A write counts if it goes to a regular
/// file, an open if it may make a file.
enum class Fault : std::uint8_t {
  kill,         ///< SIGKILL in place of the call.
  short_write,  ///< Only at a write: half of its bytes, then SIGKILL.
  /// SIGKILL in place of the call, and everything that was not synced is lost: bytes in files, and names in folders.
  /// What was removed stays removed, synced or not.
  power_loss,
  power_loss_after_rename,  ///< The same, except that each rename lasts, synced or not.
  interruption,             ///< Only at a write: half of its bytes, and EINTR at the next. No reason to fail.
  io_error,                 ///< Only this call fails, with EIO.
  disk_full,                ///< This and all later calls that need space fail with ENOSPC; a write first stores half.
  read_only,                ///< This and all later calls fail with EROFS.
};

/// A part of the work under test, e.g. one write. Returns whether it succeeded.
using FaultStep = std::function<bool()>;

/// How the work went.
struct FaultRun {
  bool reached = false;  ///< The work has so many points, so the fault happened.
  bool killed = false;   ///< By the fault. Any other crash of the work throws.
  int steps = 0;         ///< Steps that returned true. The next one failed, or was killed, or there is none.
  std::string call;      ///< The call at the point, e.g. "rename current.new".
};

/// Runs the steps in a child process until one returns false, with a fault at point number `point`, counted from 1
/// over all of them. Call it while the program has one thread; a step may start its own.
FaultRun run_with_fault(Fault fault, int point, std::span<const FaultStep> steps);

/// Prepares, runs the steps with the fault, and checks; for each point from 1 on, until the steps end before it. The
/// last run, without a fault, is checked too. Returns the number of points.
int at_each_point(Fault fault, const std::function<void()>& prepare, std::span<const FaultStep> steps,
                  const std::function<void(const FaultRun&)>& check);

}  // namespace culvert::testing
