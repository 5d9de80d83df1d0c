// SPDX-License-Identifier: Apache-2.0
#include "common/net/tcp_progress.hpp"

#include <array>

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "common/net/socket_address.hpp"
#include "tests/testing/sockets.hpp"

namespace culvert {
namespace {

using namespace std::chrono_literals;

/// Feeds some seconds, in each of which the connection was busy, held back and retransmitting this much. Returns the
/// last result.
class Watched {
 public:
  bool second(std::chrono::microseconds busy, std::chrono::microseconds held_back, std::uint64_t retransmitted) {
    now_.busy += busy;
    now_.held_back += held_back;
    now_.retransmitted += retransmitted;
    return watch_.is_limiting(now_, 1s);
  }

 private:
  CongestionWatch watch_;
  TcpProgress now_;
};

TEST(CongestionWatch, needs_two_seconds_of_nothing_but_congestion) {
  Watched connection;
  EXPECT_FALSE(connection.second(1s, 0s, 1)) << "before it nothing is known";
  EXPECT_FALSE(connection.second(1s, 0s, 1));
  EXPECT_TRUE(connection.second(1s, 0s, 1));
  EXPECT_TRUE(connection.second(900ms, 100ms, 5));
}

TEST(CongestionWatch, sees_none_where_nothing_is_lost_or_something_else_holds_back) {
  for (const auto& [busy, held_back, retransmitted] :
       {std::tuple<std::chrono::microseconds, std::chrono::microseconds, std::uint64_t>{1s, 0s, 0},
        {1s, 300ms, 1},
        {700ms, 0s, 1}}) {
    Watched connection;
    for (int i = 0; i < 5; ++i) EXPECT_FALSE(connection.second(busy, held_back, retransmitted));
  }
}

TEST(CongestionWatch, begins_anew_after_a_second_without) {
  Watched connection;
  for (int i = 0; i < 3; ++i) (void)connection.second(1s, 0s, 1);
  EXPECT_FALSE(connection.second(1s, 0s, 0));
  EXPECT_FALSE(connection.second(1s, 0s, 1));
  EXPECT_TRUE(connection.second(1s, 0s, 1));
}

TEST(TcpProgress, knows_how_far_loopback_is) {
  const UniqueFd listening = testing::bound_socket(testing::loopback(), 8);
  const auto remote = local_endpoint_of(listening.get());
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM, 0));
  ASSERT_EQ(::connect(fd.get(), remote.data(), static_cast<socklen_t>(remote.size())), 0);
  const auto progress = tcp_progress(fd.get());
  ASSERT_TRUE(progress);
  EXPECT_LT(progress->round_trip_min, 10ms);
}

TEST(TcpProgress, is_not_there_for_what_is_no_tcp) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()), 0);
  const UniqueFd one(ends[0]);
  const UniqueFd two(ends[1]);
  EXPECT_FALSE(tcp_progress(one.get()));
}

TEST(TcpProgress, an_algorithm_that_the_kernel_does_not_have_changes_nothing) {
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM, 0));
  const auto algorithm = [&fd] {
    std::array<char, 16> name{};
    socklen_t size = name.size();
    ::getsockopt(fd.get(), IPPROTO_TCP, TCP_CONGESTION, name.data(), &size);
    return std::string(name.data());
  };
  const std::string before = algorithm();
  ask_for_congestion_control(fd.get(), "nosuch");
  EXPECT_EQ(algorithm(), before);
  ask_for_congestion_control(fd.get(), "reno");
  EXPECT_EQ(algorithm(), "reno");
}

}  // namespace
}  // namespace culvert
