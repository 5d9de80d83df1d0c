// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/application_policy.hpp"

#include <gtest/gtest.h>

#include "server/kubernetes/conditions.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {
namespace {

using namespace std::chrono_literals;
using Outcome = ApplicationPolicy::Outcome;
const ApplicationPolicy::Time start{1000h};
const ApplicationReport good{};
const ApplicationReport missing{.problems = {},
                                .secret_problems = {{"SecretMissing", "service \"s\": there is no Secret \"a\""}},
                                .skips_verify = false,
                                .gateway = {}};

/// An object as the informer has it, which gets what is written.
struct ApplicationPolicyTest : ::testing::Test {
  ApplicationPolicyTest() {
    object.uid = "u";
    object.version = "1";
    object.generation = 1;
  }
  std::optional<ApplicationWrite> next(const ApplicationReport& report, std::chrono::seconds after = 0s) {
    return policy.next_write("shop", object, report, start + after, "2026-01-01T00:00:00Z");
  }
  /// The API server takes the write, and the watch reports it.
  void take(const ApplicationWrite& write, std::chrono::seconds after = 0s) {
    policy.note(write, Outcome::done, start + after);
    object.status = write.status.status;
    object.version += "1";
  }
  ApplicationObject object;
  ApplicationPolicy policy;
};

TEST_F(ApplicationPolicyTest, writes_a_status_once) {
  const auto write = next(good);
  ASSERT_TRUE(write);
  EXPECT_TRUE(write->has_new_status);
  EXPECT_TRUE(write->events.empty());
  EXPECT_EQ(write->status.version, "1");
  policy.note(*write, Outcome::done, start);
  EXPECT_FALSE(next(good)) << "the watch has not reported it yet";
  take(*write);
  EXPECT_FALSE(next(good));
  EXPECT_FALSE(next(good, 1h));
}

TEST_F(ApplicationPolicyTest, tells_of_a_new_problem_once) {
  const auto write = next(missing);
  ASSERT_TRUE(write);
  ASSERT_EQ(write->events.size(), 1U);
  EXPECT_EQ(write->events[0].reason, "SecretMissing");
  take(*write);
  EXPECT_FALSE(next(missing, 1h));
  auto other = missing;
  other.secret_problems.push_back({"SecretMissing", "another"});
  const auto more = next(other);
  ASSERT_TRUE(more);
  EXPECT_EQ(more->events.size(), 1U) << "it has changed";
  take(*more);
  const auto over = next(good);
  ASSERT_TRUE(over);
  EXPECT_TRUE(over->events.empty());
  take(*over);
  const auto again = next(missing);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->events.size(), 1U);
}

TEST_F(ApplicationPolicyTest, another_writer_does_not_tell_of_it_again) {
  take(*next(missing));
  ApplicationPolicy fresh;
  EXPECT_FALSE(fresh.next_write("shop", object, missing, start, "2026-01-01T00:00:01Z"));
}

TEST_F(ApplicationPolicyTest, tells_of_a_problem_where_the_definition_has_no_status) {
  const auto write = next(missing);
  EXPECT_EQ(write->events.size(), 1U);
  policy.note(*write, Outcome::untaken, start);
  EXPECT_FALSE(next(missing, 1s)) << "not all the time";
  EXPECT_FALSE(next(missing, 299s));
  const auto again = next(missing, 300s);
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->has_new_status);
  EXPECT_TRUE(again->events.empty());
  policy.note(*again, Outcome::untaken, start + 300s);
  EXPECT_TRUE(next(good, 301s)) << "something has changed";
}

TEST_F(ApplicationPolicyTest, a_definition_that_drops_the_status_is_not_written_to_all_the_time) {
  const auto write = next(missing);
  policy.note(*write, Outcome::done, start);  // The object and its version stay as they are.
  EXPECT_FALSE(next(missing, 60s));
  const auto again = next(missing, 300s);
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->events.empty());
}

TEST_F(ApplicationPolicyTest, a_failure_is_retried_with_its_events) {
  policy.note(*next(missing), Outcome::failed, start);
  EXPECT_FALSE(next(missing, 9s));
  const auto again = next(missing, 10s);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->events.size(), 1U);
}

TEST_F(ApplicationPolicyTest, an_object_that_has_changed_meanwhile_is_tried_at_once) {
  policy.note(*next(missing), Outcome::untaken, start);
  object.version = "2";
  EXPECT_TRUE(next(missing));
}

TEST_F(ApplicationPolicyTest, a_new_object_of_the_same_name_has_no_past) {
  take(*next(missing));
  object.uid = "v";
  object.status = {};
  const auto write = next(missing);
  ASSERT_TRUE(write);
  EXPECT_EQ(write->events.size(), 1U);
}

TEST_F(ApplicationPolicyTest, does_nothing_for_an_object_that_is_being_deleted) {
  object.is_going = true;
  EXPECT_FALSE(next(missing));
}

}  // namespace
}  // namespace culvert::server
