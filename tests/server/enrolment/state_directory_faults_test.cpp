// SPDX-License-Identifier: Apache-2.0
// What a state directory holds after the process, the disk or the machine failed in the middle of each change.

#include <array>
#include <optional>

#include <gtest/gtest.h>

#include "tests/server/enrolment/opened_state.hpp"
#include "tests/testing/fault_points.hpp"
#include "tests/testing/temporary_directory.hpp"

namespace culvert::server {
namespace {

using namespace std::chrono_literals;
using testing::claim_of;
using testing::Fault;
using testing::FaultRun;
using testing::FaultStep;
using testing::note_of;
using testing::OpenedState;
using testing::record_of;
using Agents = std::vector<StoredAgent>;

constexpr std::array all_faults{
    Fault::kill,         Fault::short_write, Fault::power_loss, Fault::power_loss_after_rename,
    Fault::interruption, Fault::io_error,    Fault::disk_full,  Fault::read_only};

bool is_kill(Fault fault) {
  return fault == Fault::kill || fault == Fault::short_write || fault == Fault::power_loss ||
         fault == Fault::power_loss_after_rename;
}

StateDirectoryOptions options() {
  StateDirectoryOptions options;
  options.now = [] { return std::chrono::system_clock::time_point(1'700'000'000s); };
  return options;
}

/// Tokens are random, so that two runs differ in them.
Agents without_secrets(Agents agents) {
  for (StoredAgent& agent : agents) {
    if (!agent.token) continue;
    agent.token->id.clear();
    agent.token->secret = {};
  }
  return agents;
}

/// One folder whose agents go through the same changes in each run: the token of edge-0 is used, edge-1 is
/// added, disabled, gets another token, edge-2 is added, edge-1 enabled, and edge-0 renews and is removed.
class Course {
 public:
  Course() {
    for (int done = 0; done <= step_count; ++done) {
      prepare();
      for (int step = 0; step < done; ++step) steps_.at(static_cast<std::size_t>(step))();
      close();
      states_.push_back(load());
    }
  }

  void prepare() {
    close();
    std::filesystem::remove_all(path());
    OpenedState state(path(), options());
    token_ = state.wait(state->add(record_of("edge-0"))).value();
  }
  void close() { state_.reset(); }
  Agents load() const {
    const OpenedState state(path(), options());
    return without_secrets(state->list());
  }

  std::span<const FaultStep> steps() const { return steps_; }
  /// What is known after the step of this number, from 0 on.
  const Agents& state_after(int step) const { return states_.at(static_cast<std::size_t>(step)); }
  std::filesystem::path path() const { return directory_.path() / "state"; }

  static constexpr int step_count = 8;

 private:
  OpenedState& state() {
    if (!state_) state_.emplace(path(), options());
    return *state_;
  }

  testing::TemporaryDirectory directory_;
  std::optional<OpenedState> state_;  ///< Of the process that runs the steps.
  NewToken token_;
  std::vector<FaultStep> steps_{
      [this] {
        const auto record = state()->show("edge-0")->record;
        return state().wait(state()->take(claim_of(token_), record, note_of("01"))).has_value();
      },
      [this] { return state().wait(state()->add(record_of("edge-1", "acme", "berlin"))).has_value(); },
      [this] { return state().wait(state()->set_enabled("edge-1", false)).has_value(); },
      [this] { return state().wait(state()->new_token("edge-1")).has_value(); },
      [this] { return state().wait(state()->add(record_of("edge-2"))).has_value(); },
      [this] { return state().wait(state()->set_enabled("edge-1", true)).has_value(); },
      [this] {
        state().wait(state()->note_renewal(state()->show("edge-0")->record, note_of("02")));
        return state()->show("edge-0")->record.certificate == note_of("02");
      },
      [this] { return state().wait(state()->remove("edge-0")).has_value(); }};
  std::vector<Agents> states_;
};

class StateDirectoryWithFaults : public ::testing::TestWithParam<Fault> {};

TEST_P(StateDirectoryWithFaults, loads_and_holds_the_older_or_the_newer_state) {
  Course course;
  const Fault fault = GetParam();
  const int points = testing::at_each_point(
      fault, [&] { course.prepare(); }, course.steps(),
      [&](const FaultRun& run) {
        SCOPED_TRACE(run.call + " after step " + std::to_string(run.steps));
        EXPECT_EQ(run.killed, run.reached && is_kill(fault));
        // That no older leftover can be removed is no reason to fail either.
        const bool is_harmless =
            fault == Fault::interruption ||
            (fault == Fault::io_error && run.call.starts_with("unlink") && run.call.ends_with("new"));
        EXPECT_EQ(run.steps == Course::step_count, !run.reached || is_harmless);
        const Agents found = course.load();
        const bool is_newer = run.steps < Course::step_count && found == course.state_after(run.steps + 1);
        EXPECT_TRUE(found == course.state_after(run.steps) || is_newer);
        // It works on, and nothing is in the way.
        OpenedState state(course.path(), options());
        EXPECT_TRUE(state.wait(state->add(record_of("edge-9"))));
      });
  RecordProperty("points", points);
  EXPECT_GE(points, fault == Fault::short_write || fault == Fault::interruption ? 5 : 20);
}

TEST(StateDirectoryFaults, leave_a_new_directory_that_can_be_opened) {
  const testing::TemporaryDirectory directory;
  const auto path = directory.path() / "state";
  const std::array<FaultStep, 1> steps{[&] {
    const auto files = StateFiles::open(path, &write_durably);
    return files && files->load();
  }};
  for (const Fault fault : {Fault::kill, Fault::io_error, Fault::disk_full, Fault::read_only}) {
    const int points = testing::at_each_point(
        fault, [&] { std::filesystem::remove_all(path); }, steps,
        [&](const FaultRun& run) {
          SCOPED_TRACE(run.call);
          EXPECT_EQ(run.steps == 1, !run.reached);
          OpenedState state(path, options());
          EXPECT_TRUE(state->list().empty());
          EXPECT_TRUE(state.wait(state->add(record_of("edge-1"))));
        });
    EXPECT_GE(points, 5);
  }
}

INSTANTIATE_TEST_SUITE_P(EachFault, StateDirectoryWithFaults, ::testing::ValuesIn(all_faults));

}  // namespace
}  // namespace culvert::server
