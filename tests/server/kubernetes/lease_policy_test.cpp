// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/lease_policy.hpp"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace culvert::server {
namespace {

using namespace std::chrono_literals;
using Policy = LeasePolicy;
using Begun = Policy::Begun;
using Conflict = Policy::Conflict;
using Create = Policy::Create;
using End = Policy::End;
using Failed = Policy::Failed;
using Get = Policy::Get;
using Missing = Policy::Missing;
using Update = Policy::Update;
using Wait = Policy::Wait;
using Written = Policy::Written;

Policy::Found found(std::string version, std::string holder, std::chrono::seconds duration = 12s) {
  return {{.version = std::move(version),
           .holder = std::move(holder),
           .duration = duration,
           .transitions = 5,
           .acquired = "2026-01-01T00:00:00Z"}};
}
const Update renewed{.releases = false, .transitions = 5, .acquired = "2026-01-01T00:00:00Z"};
const Update taken{.releases = false, .transitions = 6, .acquired = ""};
const Update released{.releases = true, .transitions = 5, .acquired = "2026-01-01T00:00:00Z"};

/// The outcome that is given to the policy at that second, the step that it must return, and whether the Lease is ours
/// then.
struct Line {
  int second;
  Policy::Outcome outcome;
  Policy::Step step;
  bool is_ours;
  bool leaves_before = false;
};

std::string text_of(const Policy::Step& step) {
  return std::vector<std::string>{"Get", "Create", "Update", "Wait", "End"}[step.index()];
}

void follow(const std::vector<Line>& lines) {
  Policy policy("us");
  const Policy::Clock::time_point start{1000h};
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const Line& line = lines[i];
    const auto now = start + std::chrono::seconds(line.second);
    if (line.leaves_before) policy.leave();
    const Policy::Step step = policy.next(line.outcome, now);
    EXPECT_EQ(step, line.step) << "line " << i << ": " << text_of(step) << " instead of " << text_of(line.step);
    EXPECT_EQ(policy.is_ours(now), line.is_ours) << "line " << i;
  }
}

TEST(LeasePolicy, creates_the_lease_where_there_is_none_and_renews_it) {
  follow({{0, Begun{}, Get{}, false},
          {0, Missing{}, Create{}, false},
          {1, Written{}, Wait{3s}, true},
          {4, Begun{}, Get{}, true},
          {5, found("1", "us"), renewed, true},
          {5, Written{}, Wait{4s}, true}});
}

TEST(LeasePolicy, waits_while_another_replica_holds_it) {
  follow({{0, Begun{}, Get{}, false},
          {0, found("1", "them"), Wait{2s}, false},
          {2, Begun{}, Get{}, false},
          {2, found("1", "them"), Wait{2s}, false},
          {11, found("1", "them"), Wait{2s}, false},
          {12, found("1", "them"), taken, false},
          {12, Written{}, Wait{4s}, true}});
}

TEST(LeasePolicy, counts_from_the_change_that_it_saw_by_its_own_clock) {
  // How old the record was when it was first seen does not count: nothing that it says of times is looked at.
  follow({{0, found("1", "them"), Wait{2s}, false},
          {10, found("2", "them"), Wait{2s}, false},
          {21, found("2", "them"), Wait{2s}, false},
          {22, found("2", "them"), taken, false}});
}

TEST(LeasePolicy, waits_for_as_long_as_the_record_says) {
  follow({{0, found("1", "them", 60s), Wait{2s}, false},
          {59, found("1", "them", 60s), Wait{2s}, false},
          {60, found("1", "them", 60s), taken, false}});
  follow({{0, found("1", "them", std::chrono::seconds::max()), Wait{2s}, false}});
  follow({{0, found("1", "them", 0s), taken, false}});
}

TEST(LeasePolicy, takes_a_lease_without_a_holder_at_once) {
  follow({{0, found("1", ""), taken, false}, {0, Written{}, Wait{4s}, true}});
}

TEST(LeasePolicy, takes_up_its_own_after_a_restart) {
  follow({{0, found("1", "us"), renewed, false}, {0, Written{}, Wait{4s}, true}});
}

TEST(LeasePolicy, does_not_have_it_after_a_conflict) {
  follow({{0, Missing{}, Create{}, false}, {0, Conflict{}, Wait{2s}, false}, {2, found("1", "them"), Wait{2s}, false}});
  follow({{0, found("1", ""), taken, false},
          {0, Written{}, Wait{4s}, true},
          {4, found("2", "us"), renewed, true},
          {4, Conflict{}, Wait{2s}, false}});
}

TEST(LeasePolicy, loses_it_to_the_holder_that_it_reads) {
  follow({{0, found("1", ""), taken, false}, {0, Written{}, Wait{4s}, true}, {4, found("2", "them"), Wait{2s}, false}});
}

TEST(LeasePolicy, keeps_it_through_failures_until_the_last_renewal_is_too_old) {
  follow({{0, found("1", ""), taken, false},
          {1, Written{}, Wait{3s}, true},
          {5, Failed{}, Wait{2s}, true},
          {7, found("2", "us"), renewed, true},
          {7, Failed{}, Wait{2s}, true},
          {8, Begun{}, Get{}, false},  // 12 s after 0, when the write began, others may take it; we stop 4 s before.
          {11, Failed{}, Wait{2s}, false},
          {13, found("2", "us"), renewed, false},
          {14, Written{}, Wait{3s}, true}});
}

TEST(LeasePolicy, counts_a_renewal_from_when_it_began) {
  follow({{0, found("1", ""), taken, false}, {3, Written{}, Wait{1s}, true}, {8, Begun{}, Get{}, false}});
}

TEST(LeasePolicy, creates_it_anew_when_somebody_deletes_it) {
  follow({{0, found("1", ""), taken, false}, {0, Written{}, Wait{4s}, true}, {4, Missing{}, Create{}, true}});
}

TEST(LeasePolicy, gives_it_up_when_it_leaves) {
  follow({{0, found("1", ""), taken, false},
          {0, Written{}, Wait{4s}, true},
          {1, Begun{}, Get{}, false, true},
          {1, found("2", "us"), released, false},
          {1, Written{}, End{}, false}});
}

TEST(LeasePolicy, undoes_a_renewal_that_was_under_way_when_it_leaves) {
  follow({{0, found("1", "us"), renewed, false},
          {0, Written{}, Get{}, false, true},
          {0, found("2", "us"), released, false},
          {0, Conflict{}, Get{}, false},
          {0, found("3", "us"), released, false},
          {0, Written{}, End{}, false}});
}

TEST(LeasePolicy, leaves_what_is_not_ours_alone) {
  follow({{0, found("1", "them"), End{}, false, true}});
  follow({{0, found("1", ""), End{}, false, true}});
  follow({{0, Missing{}, End{}, false, true}});
  follow({{0, Failed{}, End{}, false, true}});
}

}  // namespace
}  // namespace culvert::server
