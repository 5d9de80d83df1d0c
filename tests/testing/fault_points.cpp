// SPDX-License-Identifier: Apache-2.0
#include "tests/testing/fault_points.hpp"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <utility>

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/testing/unsynced_changes.hpp"

namespace culvert::testing {
namespace {

/// What the child reports; in memory that outlives it.
struct Report {
  std::atomic<int> steps = 0;
  std::atomic<bool> reached = false;
  std::atomic<bool> failed = false;
  char call[200] = "";
};

/// A system call with the result in libc's way.
template <typename... Arguments>
long raw(long number, Arguments... arguments) {
  return ::syscall(number, arguments...);
}

[[noreturn]] void die() {
  raw(SYS_kill, ::getpid(), SIGKILL);
  std::abort();
}

/// Counts the points of a child process and carries out its fault.
class FaultPlan {
 public:
  FaultPlan(Fault fault, int point, Report& report) : fault_(fault), point_(point), report_(report) {}

  /// Before a call that changes the file system: 0, or the error with which it must fail.
  int enter(const char* call, const char* name, bool needs_space) {
    if (fault_ == Fault::short_write || fault_ == Fault::interruption) return 0;
    if (fault_ == Fault::disk_full && !needs_space) return 0;
    const bool is_first = !report_.reached;
    if (!is_reached(call, name)) return 0;
    switch (fault_) {
      case Fault::io_error: return is_first ? EIO : 0;
      case Fault::disk_full: return ENOSPC;
      case Fault::read_only: return EROFS;
      case Fault::power_loss:
      case Fault::power_loss_after_rename: unsynced_.lose(fault_ == Fault::power_loss); die();
      case Fault::kill:
      case Fault::short_write:
      case Fault::interruption: die();
    }
    die();
  }

  /// In place of a write to a regular file.
  ssize_t write(int fd, const void* bytes, std::size_t size) {
    if (std::exchange(interrupt_, false)) {
      errno = EINTR;
      return -1;
    }
    const bool only_writes = fault_ == Fault::short_write || fault_ == Fault::interruption;
    const bool first = !report_.reached;
    const int error = only_writes ? 0 : enter("write", "", true);
    const bool here = only_writes && first && is_reached("write", "");
    if ((here || (error == ENOSPC && first)) && size > 1) {
      const ssize_t half = raw(SYS_write, fd, bytes, size / 2);
      if (fault_ == Fault::short_write) die();
      interrupt_ = fault_ == Fault::interruption;
      return half;
    }
    errno = error;
    if (error != 0) return -1;
    unsynced_.written(fd);
    return raw(SYS_write, fd, bytes, size);
  }

  UnsyncedChanges& unsynced() { return unsynced_; }
  std::mutex& mutex() { return mutex_; }

 private:
  bool is_reached(const char* call, const char* name) {
    if (++count_ < point_) return false;
    if (count_ == point_) {
      std::snprintf(report_.call, sizeof report_.call, "%s %s", call, name);
      report_.reached = true;
    }
    return true;
  }

  const Fault fault_;
  const int point_;
  Report& report_;
  int count_ = 0;
  bool interrupt_ = false;
  UnsyncedChanges unsynced_;
  std::mutex mutex_;
};

/// Only in a child process, and there until its end.
FaultPlan* plan = nullptr;

/// Does `call`, a system call that changes entry `name`, unless its fault comes first. `then` notes the change.
template <typename Call, typename Then>
int change(const char* title, const char* name, bool needs_space, Call call, Then then) {
  if (plan == nullptr) return static_cast<int>(call());
  const std::scoped_lock lock(plan->mutex());
  if (const int error = plan->enter(title, name, needs_space); error != 0) {
    errno = error;
    return -1;
  }
  const int result = static_cast<int>(call());
  if (result >= 0) then(plan->unsynced());
  return result;
}

void nothing(UnsyncedChanges& /*unsynced*/) {}

int open_at(int folder, const char* name, int flags, mode_t mode) {
  const auto call = [&] { return raw(SYS_openat, folder, name, flags, mode); };
  if (plan == nullptr || (flags & (O_CREAT | O_TRUNC)) == 0) return static_cast<int>(call());
  const bool exists = raw(SYS_faccessat, folder, name, F_OK) == 0;
  return change("open", name, true, call, [&](UnsyncedChanges& unsynced) {
    if (!exists) unsynced.made(folder, name);
  });
}

int rename_at(int from_folder, const char* from, int to_folder, const char* to) {
  std::optional<Entry> replaced;
  if (plan != nullptr) replaced = read_entry(to_folder, to);
  return change(
      "rename", from, true, [&] { return raw(SYS_renameat2, from_folder, from, to_folder, to, 0); },
      [&](UnsyncedChanges& unsynced) { unsynced.renamed(from_folder, from, to_folder, to, std::move(replaced)); });
}

int sync(int fd) {
  return change("fsync", "", true, [] { return 0; }, [&](UnsyncedChanges& unsynced) { unsynced.synced(fd); });
}

int unlink_at(int folder, const char* name, int flags) {
  return change("unlink", name, false, [&] { return raw(SYS_unlinkat, folder, name, flags); }, nothing);
}

int make_folder_at(int folder, const char* name, mode_t mode) {
  return change(
      "mkdir", name, true, [&] { return raw(SYS_mkdirat, folder, name, mode); },
      [&](UnsyncedChanges& unsynced) { unsynced.made(folder, name); });
}

int link_at(const char* target, int folder, const char* name) {
  return change(
      "symlink", name, true, [&] { return raw(SYS_symlinkat, target, folder, name); },
      [&](UnsyncedChanges& unsynced) { unsynced.made(folder, name); });
}

int change_owner(int folder, const char* name, uid_t user, gid_t group, int flags) {
  return change("chown", name, false, [&] { return raw(SYS_fchownat, folder, name, user, group, flags); }, nothing);
}

[[noreturn]] void run_child(Fault fault, int point, std::span<const FaultStep> steps, Report& report) {
  plan = std::make_unique<FaultPlan>(fault, point, report).release();
  for (const FaultStep& step : steps) {
    report.failed = !step();
    if (report.failed) break;
    ++report.steps;
  }
  ::_exit(0);
}

}  // namespace

FaultRun run_with_fault(Fault fault, int point, std::span<const FaultStep> steps) {
  void* const memory = ::mmap(nullptr, sizeof(Report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::runtime_error("no shared memory");
  Report& report = *new (memory) Report;
  std::fflush(nullptr);  // or the child writes it too
  const pid_t child = ::fork();
  if (child == 0) run_child(fault, point, steps, report);
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child) throw std::runtime_error("no child process");
  FaultRun run{.reached = report.reached, .killed = WIFSIGNALED(status), .steps = report.steps, .call = report.call};
  const bool well = run.killed ? run.reached && WTERMSIG(status) == SIGKILL : status == 0;
  const bool failed = report.failed;
  ::munmap(memory, sizeof(Report));
  if (!well) throw std::runtime_error(fmt::format("the work crashed: status {}, {}", status, run.call));
  if (failed && !run.reached) throw std::runtime_error("the work failed without a fault");
  return run;
}

int at_each_point(Fault fault, const std::function<void()>& prepare, std::span<const FaultStep> steps,
                  const std::function<void(const FaultRun&)>& check) {
  for (int point = 1;; ++point) {
    prepare();
    const FaultRun run = run_with_fault(fault, point, steps);
    check(run);
    if (!run.reached) return point - 1;
  }
}

}  // namespace culvert::testing

// The program's own definitions take precedence over those of shared libraries, also for calls from within libstdc++,
// and over the weak ones of a sanitizer. Their names are given to the linker only, since headers rename some
// (open to open64).
// NOLINTBEGIN(bugprone-reserved-identifier)
namespace {
using namespace culvert::testing;

mode_t mode_of(int flags, va_list& arguments) {
  return (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;
}
}  // namespace

#define CULVERT_OPEN(symbol)                                                        \
  extern "C" int fault_##symbol(const char* path, int flags, ...) __asm__(#symbol); \
  extern "C" int fault_##symbol(const char* path, int flags, ...) {                 \
    va_list arguments;                                                              \
    va_start(arguments, flags);                                                     \
    const mode_t mode = mode_of(flags, arguments);                                  \
    va_end(arguments);                                                              \
    return open_at(AT_FDCWD, path, flags, mode);                                    \
  }
#define CULVERT_OPENAT(symbol)                                                                  \
  extern "C" int fault_##symbol(int folder, const char* path, int flags, ...) __asm__(#symbol); \
  extern "C" int fault_##symbol(int folder, const char* path, int flags, ...) {                 \
    va_list arguments;                                                                          \
    va_start(arguments, flags);                                                                 \
    const mode_t mode = mode_of(flags, arguments);                                              \
    va_end(arguments);                                                                          \
    return open_at(folder, path, flags, mode);                                                  \
  }
CULVERT_OPEN(open)
CULVERT_OPEN(open64)
CULVERT_OPENAT(openat)
CULVERT_OPENAT(openat64)

#define CULVERT_CALL(symbol, parameters)                     \
  extern "C" int fault_##symbol parameters __asm__(#symbol); \
  extern "C" int fault_##symbol parameters

CULVERT_CALL(fsync, (int fd)) {
  return sync(fd);
}
CULVERT_CALL(fdatasync, (int fd)) {
  return sync(fd);
}
CULVERT_CALL(rename, (const char* from, const char* to)) {
  return rename_at(AT_FDCWD, from, AT_FDCWD, to);
}
CULVERT_CALL(renameat, (int from_folder, const char* from, int to_folder, const char* to)) {
  return rename_at(from_folder, from, to_folder, to);
}
CULVERT_CALL(symlink, (const char* target, const char* name)) {
  return link_at(target, AT_FDCWD, name);
}
CULVERT_CALL(symlinkat, (const char* target, int folder, const char* name)) {
  return link_at(target, folder, name);
}
CULVERT_CALL(mkdir, (const char* name, mode_t mode)) {
  return make_folder_at(AT_FDCWD, name, mode);
}
CULVERT_CALL(mkdirat, (int folder, const char* name, mode_t mode)) {
  return make_folder_at(folder, name, mode);
}
CULVERT_CALL(unlink, (const char* name)) {
  return unlink_at(AT_FDCWD, name, 0);
}
CULVERT_CALL(rmdir, (const char* name)) {
  return unlink_at(AT_FDCWD, name, AT_REMOVEDIR);
}
CULVERT_CALL(unlinkat, (int folder, const char* name, int flags)) {
  return unlink_at(folder, name, flags);
}
CULVERT_CALL(chmod, (const char* name, mode_t mode)) {
  return change("chmod", name, false, [&] { return raw(SYS_fchmodat, AT_FDCWD, name, mode); }, nothing);
}
CULVERT_CALL(fchmod, (int fd, mode_t mode)) {
  return change("fchmod", "", false, [&] { return raw(SYS_fchmod, fd, mode); }, nothing);
}
CULVERT_CALL(fchown, (int fd, uid_t user, gid_t group)) {
  return change("fchown", "", false, [&] { return raw(SYS_fchown, fd, user, group); }, nothing);
}
CULVERT_CALL(chown, (const char* name, uid_t user, gid_t group)) {
  return change_owner(AT_FDCWD, name, user, group, 0);
}
CULVERT_CALL(lchown, (const char* name, uid_t user, gid_t group)) {
  return change_owner(AT_FDCWD, name, user, group, AT_SYMLINK_NOFOLLOW);
}
CULVERT_CALL(fchownat, (int folder, const char* name, uid_t user, gid_t group, int flags)) {
  return change_owner(folder, name, user, group, flags);
}

extern "C" ssize_t fault_write(int fd, const void* bytes, std::size_t size) __asm__("write");
extern "C" ssize_t fault_write(int fd, const void* bytes, std::size_t size) {
  // Pipes, event descriptors and the program's own output are not files that survive.
  if (plan == nullptr || fd <= STDERR_FILENO || !is_regular_file(fd)) return raw(SYS_write, fd, bytes, size);
  const std::scoped_lock lock(plan->mutex());
  return plan->write(fd, bytes, size);
}
// NOLINTEND(bugprone-reserved-identifier)
