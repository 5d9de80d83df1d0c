// SPDX-License-Identifier: Apache-2.0
// An agent that is killed, has no space, cannot write or loses power, at each system call of its joining and of its
// renewals, has the older or the newer identity afterwards, and goes on from there.

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "agent/identity/identity_directory.hpp"
#include "tests/agent/identity/sample_identity.hpp"
#include "tests/testing/fault_points.hpp"
#include "tests/testing/file_facts.hpp"
#include "tests/testing/temporary_directory.hpp"

namespace culvert::agent {
namespace {

using culvert::testing::at_each_point;
using culvert::testing::Fault;
using culvert::testing::FaultRun;
using culvert::testing::FaultStep;
using culvert::testing::mode_of;
using culvert::testing::names_in;
using culvert::testing::TemporaryDirectory;
using testing::sample_identity;
using testing::sample_key;
using testing::version_in;
using Names = std::vector<std::string>;

class IdentityDirectoryWithFaults : public ::testing::TestWithParam<Fault> {
 protected:
  bool kills() const {
    return GetParam() != Fault::interruption && GetParam() != Fault::io_error && GetParam() != Fault::disk_full &&
           GetParam() != Fault::read_only;
  }

  /// A join and its renewals. As many for the commonest fault that the chain has 200 points.
  int versions() const { return GetParam() == Fault::kill ? 8 : 3; }

  /// Two steps for each version: keep the key that is asked for, and write the identity that was issued.
  std::vector<FaultStep> chain() const {
    std::vector<FaultStep> steps;
    for (int version = 1; version <= versions(); ++version) {
      steps.emplace_back([=, this] { return IdentityDirectory(path_).keep_pending(sample_key(version)).has_value(); });
      steps.emplace_back([=, this] { return IdentityDirectory(path_).write(sample_identity(version)).has_value(); });
    }
    return steps;
  }

  void check_pending(const FaultRun& run, int in_force) const {
    const auto pending = IdentityDirectory(path_).pending();
    ASSERT_TRUE(pending) << pending.error().text;
    const int asked_for = run.steps / 2 + 1;
    const bool was_asked = run.steps % 2 == 1;
    // A certificate may be on its way: its key must be there until the identity is.
    if (was_asked && in_force < asked_for) {
      EXPECT_TRUE(pending->has_value());
    }
    if (!pending->has_value()) return;
    EXPECT_EQ(mode_of(path_ / "pending.pem"), 0600u);
    // If it could not be removed, that of a finished write is still there.
    const bool is_left = (GetParam() == Fault::read_only || GetParam() == Fault::io_error) &&
                         (*pending)->reveal() == sample_key(asked_for - 1).reveal();
    EXPECT_TRUE(is_left || (*pending)->reveal() == sample_key(asked_for).reveal());
  }

  void check_modes() const {
    const auto [certificate, private_key, ca] = IdentityDirectory(path_).files();
    EXPECT_EQ(mode_of(private_key), 0600u);
    EXPECT_EQ(mode_of(private_key.parent_path().parent_path()), 0700u);
    EXPECT_EQ(mode_of(certificate), 0644u);
    EXPECT_EQ(mode_of(ca), 0644u);
  }

  /// Nothing but the identity in force, the one before it, and maybe a pending key.
  void check_tidy(int in_force) const {
    Names folders;
    for (const std::string& name : names_in(path_)) {
      if (name == "current" || name == "pending.pem") continue;
      folders.push_back(name);
      const int version = version_in(path_ / name);
      EXPECT_TRUE(version == in_force || (version > 0 && version >= in_force - 1)) << name;
    }
    EXPECT_LE(folders.size(), 2u);
  }

  /// The program starts again, and gets the next certificate.
  void check_next_write(int in_force) const {
    const int next = in_force + 1;
    IdentityDirectory directory(path_);
    const auto written = directory.write(sample_identity(next));
    ASSERT_TRUE(written) << written.error().text;
    EXPECT_EQ(version_in(directory), next);
    EXPECT_FALSE(std::filesystem::exists(path_ / "pending.pem"));
    check_modes();
    check_tidy(next);
    EXPECT_EQ(names_in(path_).size(), in_force == 0 ? 2u : 3u);
  }

  const TemporaryDirectory parent_;
  const std::filesystem::path path_ = parent_.path() / "agent";
};

TEST_P(IdentityDirectoryWithFaults, has_the_older_or_the_newer_identity_and_goes_on) {
  const auto steps = chain();
  const auto prepare = [&] { std::filesystem::remove_all(path_); };
  const int points = at_each_point(GetParam(), prepare, steps, [&](const FaultRun& run) {
    SCOPED_TRACE(fmt::format("{} after {} steps", run.call, run.steps));
    ASSERT_EQ(run.killed, run.reached && kills());
    const int written = run.steps / 2;
    const bool is_writing = run.steps % 2 == 1;
    const int in_force = version_in(IdentityDirectory(path_));
    EXPECT_TRUE(in_force == written || (is_writing && in_force == written + 1)) << in_force;
    // The next write removes what this one could not, so that is no reason to fail.
    const bool is_harmless = GetParam() == Fault::interruption || run.call.starts_with("unlink");
    EXPECT_TRUE(run.steps < 2 * versions() || !run.reached || is_harmless);
    EXPECT_TRUE(run.steps == 2 * versions() || (run.reached && GetParam() != Fault::interruption));
    if (in_force > 0) check_modes();
    check_pending(run, in_force);
    // A switch that could not be synced leaves the older folders, in case a crash undoes it.
    if (GetParam() == Fault::disk_full && in_force == written && in_force > 0) check_tidy(in_force);
    check_next_write(in_force);
  });
  const bool only_writes = GetParam() == Fault::short_write || GetParam() == Fault::interruption;
  // Each version writes four files.
  EXPECT_GE(points, only_writes ? 4 * versions() : GetParam() == Fault::kill ? 200 : 60);
  RecordProperty("points", points);
}

INSTANTIATE_TEST_SUITE_P(EachFault, IdentityDirectoryWithFaults,
                         ::testing::Values(Fault::kill, Fault::short_write, Fault::power_loss,
                                           Fault::power_loss_after_rename, Fault::interruption, Fault::io_error,
                                           Fault::disk_full, Fault::read_only));

}  // namespace
}  // namespace culvert::agent
