// SPDX-License-Identifier: Apache-2.0
#include "protocol/tunnel_state.hpp"

#include <variant>

#include <gtest/gtest.h>

#include "protocol/frame_writer.hpp"
#include "tests/testing/session_pair.hpp"

namespace culvert::protocol {
namespace {

/// A server's side of the tunnel whose HELLO has come.
class TunnelStateTest : public testing::Test {
 protected:
  TunnelStateTest() {
    const Bytes hello = encode(Hello{});
    const FrameHeader header{FrameType::hello, 0, 0, static_cast<std::uint32_t>(hello.size())};
    EXPECT_FALSE(tunnel.receive({header, hello}, now));
  }
  Bytes write(std::size_t room_bytes) {
    Bytes room(room_bytes);
    room.resize(tunnel.write(room));
    return room;
  }

  const Time now{1};
  Queue<Event> events;
  TunnelState tunnel{Role::server, {}, events, now};
};

TEST_F(TunnelStateTest, nothing_overtakes_a_welcome_that_waits_for_room) {
  tunnel.welcome({}, now);
  EXPECT_EQ(write(number_frame_bytes), Bytes{}) << "the first PING would fit";
  EXPECT_TRUE(tunnel.goes_first());
  EXPECT_EQ(write(4'096), joined({welcome_frame(), number_frame(FrameType::ping, 0, 1)}));
  EXPECT_FALSE(tunnel.goes_first());
  EXPECT_FALSE(tunnel.needs_room());
}

TEST_F(TunnelStateTest, frames_of_streams_overtake_replicas_that_wait_for_room) {
  tunnel.welcome({}, now);
  (void)write(4'096);
  tunnel.tell_replicas({std::string(200, 'r')});
  EXPECT_EQ(write(100), Bytes{});
  EXPECT_TRUE(tunnel.needs_room());
  EXPECT_FALSE(tunnel.goes_first());
}

TEST_F(TunnelStateTest, sends_what_waits_and_goaway_last_when_it_ends) {
  tunnel.welcome({}, now);
  tunnel.tell_replicas({"r"});
  tunnel.end(Reason::shutdown, "bye", 7);
  const Goaway final{Goaway::Kind::final, Reason::shutdown, 7, std::chrono::milliseconds(0), "bye"};
  EXPECT_EQ(write(4'096), joined({welcome_frame(), frame(FrameType::goaway, 0, encode(final))}));
  EXPECT_EQ(write(4'096), Bytes{});
  EXPECT_FALSE(tunnel.needs_room());
  EXPECT_FALSE(tunnel.allows_streams());
}

TEST_F(TunnelStateTest, a_frame_before_the_answer_to_hello_is_a_fault_and_leaves_the_end_to_the_caller) {
  const auto fault = tunnel.receive({{FrameType::ping, 0, 0, 8}, Bytes(8)}, now);
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->reason, Reason::protocol);
  EXPECT_FALSE(tunnel.is_ended());
}

}  // namespace
}  // namespace culvert::protocol
