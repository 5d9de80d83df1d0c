// SPDX-License-Identifier: Apache-2.0
// What a write leaves behind when the process, the disk or the machine fails in the middle, at each system call.

#include <array>
#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "common/config/durable_file.hpp"
#include "tests/testing/fault_points.hpp"
#include "tests/testing/file_facts.hpp"
#include "tests/testing/temporary_directory.hpp"

namespace culvert {
namespace {

using testing::at_each_point;
using testing::content_of;
using testing::Fault;
using testing::FaultRun;
using testing::FaultStep;
using testing::mode_of;
using testing::names_in;
using testing::TemporaryDirectory;
using Names = std::vector<std::string>;

constexpr std::array all_faults{
    Fault::kill,         Fault::short_write, Fault::power_loss, Fault::power_loss_after_rename,
    Fault::interruption, Fault::io_error,    Fault::disk_full,  Fault::read_only};

std::string content(int version) {
  return std::string(100, static_cast<char>('0' + version));
}

bool is_kill(Fault fault) {
  return fault != Fault::interruption && fault != Fault::io_error && fault != Fault::disk_full &&
         fault != Fault::read_only;
}

class WriteDurablyWithFaults : public ::testing::TestWithParam<Fault> {};

TEST_P(WriteDurablyWithFaults, leaves_the_older_or_the_newer_content_whole) {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "state";
  std::vector<FaultStep> steps;
  for (int version = 1; version <= 3; ++version)
    steps.emplace_back([file, version] { return write_durably(file, content(version), 0600).has_value(); });
  const auto prepare = [&] {
    std::filesystem::remove(directory.path() / "state.new");
    ASSERT_TRUE(write_durably(file, content(0), 0600));
  };
  const int points = at_each_point(GetParam(), prepare, steps, [&](const FaultRun& run) {
    SCOPED_TRACE(run.call);
    EXPECT_EQ(run.killed, run.reached && is_kill(GetParam()));
    const bool is_harmless = GetParam() == Fault::interruption || run.call.starts_with("unlink");
    EXPECT_TRUE(run.steps == 3 || (run.reached && GetParam() != Fault::interruption));
    EXPECT_TRUE(run.steps < 3 || !run.reached || is_harmless);
    const bool is_older = content_of(file) == content(run.steps);
    EXPECT_TRUE(is_older || (run.steps < 3 && content_of(file) == content(run.steps + 1))) << content_of(file);
    EXPECT_EQ(mode_of(file), 0600u);
    if (!run.killed && GetParam() != Fault::read_only) {
      EXPECT_EQ(names_in(directory.path()), Names{"state"});
    }
    EXPECT_TRUE(write_durably(file, content(9), 0600));
    EXPECT_EQ(names_in(directory.path()), Names{"state"});
  });
  EXPECT_GE(points, GetParam() == Fault::short_write || GetParam() == Fault::interruption ? 3 : 15);
}

INSTANTIATE_TEST_SUITE_P(EachFault, WriteDurablyWithFaults, ::testing::ValuesIn(all_faults));

/// How a careless writer differs from write_durably().
struct Careless {
  bool in_place = false;
  bool syncs_file = true;
  bool syncs_folder = true;
  bool gives_up_when_interrupted = false;
};

bool write_carelessly(const std::filesystem::path& file, const std::string& content, Careless careless) {
  const std::string target = file.string() + (careless.in_place ? "" : ".new");
  const int fd = ::open(target.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return false;
  std::size_t written = 0;
  while (written < content.size()) {
    const ssize_t count = ::write(fd, content.data() + written, content.size() - written);
    if (count < 0 && (errno != EINTR || careless.gives_up_when_interrupted)) break;
    if (count > 0) written += static_cast<std::size_t>(count);
  }
  bool good = written == content.size() && (!careless.syncs_file || ::fsync(fd) == 0);
  ::close(fd);
  if (!careless.in_place) good = good && ::rename(target.c_str(), file.c_str()) == 0;
  return good && (!careless.syncs_folder || sync_folder(file.parent_path()));
}

/// Whether a fault leaves something else than the older or the newer content, or makes a success untrue.
bool does_harm(Fault fault, Careless careless) {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "state";
  std::vector<FaultStep> steps;
  for (int version = 1; version <= 2; ++version)
    steps.emplace_back([=] { return write_carelessly(file, content(version), careless); });
  bool harm = false;
  at_each_point(
      fault, [&] { directory.write("state", content(0)); }, steps,
      [&](const FaultRun& run) {
        const std::string found = content_of(file);
        const bool whole = found == content(run.steps) || (run.steps < 2 && found == content(run.steps + 1));
        harm = harm || !whole || (fault == Fault::interruption && run.steps < 2);
      });
  return harm;
}

TEST(FaultPoints, show_the_mistakes_of_careless_writers) {
  EXPECT_TRUE(does_harm(Fault::kill, {.in_place = true}));
  EXPECT_TRUE(does_harm(Fault::short_write, {.in_place = true}));
  EXPECT_TRUE(does_harm(Fault::disk_full, {.in_place = true}));
  EXPECT_TRUE(does_harm(Fault::power_loss_after_rename, {.syncs_file = false}));
  EXPECT_TRUE(does_harm(Fault::power_loss, {.syncs_folder = false}));
  EXPECT_TRUE(does_harm(Fault::interruption, {.gives_up_when_interrupted = true}));
}

TEST(FaultPoints, find_no_fault_with_a_careful_writer) {
  for (const Fault fault : all_faults) EXPECT_FALSE(does_harm(fault, {})) << static_cast<int>(fault);
}

TEST(FaultPoints, report_the_call_and_the_steps_before_it) {
  const TemporaryDirectory directory;
  const auto file = directory.path() / "state";
  const std::array<FaultStep, 2> steps{[&] { return write_durably(file, "a", 0600).has_value(); },
                                       [&] { return ::rename(file.c_str(), (file.string() + "2").c_str()) == 0; }};
  std::vector<std::string> calls;
  at_each_point(
      Fault::kill, [&] { std::filesystem::remove(file); }, steps,
      [&](const FaultRun& run) {
        calls.push_back(run.call);
        EXPECT_EQ(run.steps, !run.reached ? 2 : run.call.contains("/state") ? 1 : 0) << run.call;
      });
  ASSERT_GT(calls.size(), 7u);
  EXPECT_EQ(calls[1], "open state.new");
  EXPECT_EQ(calls[calls.size() - 2], "rename " + file.string());
  EXPECT_EQ(calls.back(), "");
}

TEST(FaultPoints, do_not_take_a_crash_or_a_failure_of_the_work_for_their_own) {
  const std::array<FaultStep, 1> aborts{[]() -> bool { ::_exit(3); }};
  EXPECT_THROW(testing::run_with_fault(Fault::kill, 1, aborts), std::runtime_error);
  const std::array<FaultStep, 1> fails{[] { return false; }};
  EXPECT_THROW(testing::run_with_fault(Fault::kill, 1, fails), std::runtime_error);
}

}  // namespace
}  // namespace culvert
