// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/port_pool.hpp"

#include <gtest/gtest.h>

namespace culvert::server {
namespace {

TEST(PortPool, begins_with_the_lowest_and_ends_when_none_is_left) {
  PortPool pool({20100, 20102});
  pool.update({});
  EXPECT_EQ(pool.take(), 20100);
  EXPECT_EQ(pool.take(), 20101);
  EXPECT_EQ(pool.take(), 20102);
  EXPECT_EQ(pool.take(), 0) << "none is left";
}

TEST(PortPool, does_not_give_out_what_is_in_use) {
  PortPool pool({20100, 20102});
  pool.update({20101});
  EXPECT_EQ(pool.take(), 20102);
  EXPECT_EQ(pool.take(), 20100);
  EXPECT_EQ(pool.take(), 0);
  PortPool full({20101, 20101});
  full.update({20101});
  EXPECT_EQ(full.take(), 0);
}

TEST(PortPool, gives_out_last_what_came_back_last) {
  PortPool pool({20100, 20103});
  pool.update({});
  EXPECT_EQ(pool.take(), 20100);
  EXPECT_EQ(pool.take(), 20101);
  pool.update({20100, 20101});
  pool.update({20100});  // 20101 came back,
  pool.update({});       // and then 20100.
  EXPECT_EQ(pool.take(), 20102);
  EXPECT_EQ(pool.take(), 20103);
  EXPECT_EQ(pool.take(), 20101);
  EXPECT_EQ(pool.take(), 20100);
}

TEST(PortPool, lets_a_port_wait_although_it_is_the_next_by_number) {
  PortPool pool({20100, 20102});
  pool.update({20100, 20101, 20102});
  pool.update({20101});  // 20100 and 20102 have been free for longer
  pool.update({});       // than 20101.
  EXPECT_EQ(pool.take(), 20100);
  EXPECT_EQ(pool.take(), 20102);
  EXPECT_EQ(pool.take(), 20101);
}

TEST(PortPool, goes_on_behind_the_highest_port_in_use_after_a_restart) {
  PortPool pool({20100, 20105});
  pool.update({8042, 20100, 20103, 30000});
  EXPECT_EQ(pool.take(), 20104);
  EXPECT_EQ(pool.take(), 20105);
  EXPECT_EQ(pool.take(), 20101);
}

TEST(PortPool, knows_of_ports_that_another_replica_gave_out) {
  PortPool pool({20100, 20102});
  pool.update({});
  pool.update({20100});
  EXPECT_EQ(pool.take(), 20101);
  pool.update({20101});
  EXPECT_EQ(pool.take(), 20102);
  EXPECT_EQ(pool.take(), 20100);
}

TEST(PortPool, takes_back_what_was_given_out_and_not_used) {
  PortPool pool({20100, 20101});
  pool.update({});
  EXPECT_EQ(pool.take(), 20100);
  pool.update({});
  EXPECT_EQ(pool.take(), 20101);
  EXPECT_EQ(pool.take(), 20100);
}

}  // namespace
}  // namespace culvert::server
