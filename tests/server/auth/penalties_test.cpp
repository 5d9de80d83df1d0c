// SPDX-License-Identifier: Apache-2.0
#include "server/auth/penalties.hpp"

#include <gtest/gtest.h>

namespace culvert::server {
namespace {

using boost::asio::ip::make_address;

TEST(Penalties, accepts_ten_failures_and_then_to_one_in_six_seconds) {
  Penalties penalties;
  Penalties::Time now{};
  const auto source = make_address("10.0.0.1");
  for (int i = 0; i < Penalties::failures_max; ++i) {
    EXPECT_TRUE(penalties.accepts(source, now)) << i;
    penalties.note_failure(source, now);
  }
  EXPECT_FALSE(penalties.accepts(source, now));
  EXPECT_TRUE(penalties.accepts(make_address("10.0.0.2"), now));
  EXPECT_FALSE(penalties.accepts(make_address("::ffff:10.0.0.1"), now)) << "the same source";
  now += Penalties::forgiveness;
  EXPECT_TRUE(penalties.accepts(source, now));
  penalties.note_failure(source, now);
  EXPECT_FALSE(penalties.accepts(source, now));
  now += 10 * Penalties::forgiveness;
  for (int i = 0; i < Penalties::failures_max; ++i) {
    EXPECT_TRUE(penalties.accepts(source, now)) << "all is forgiven";
    penalties.note_failure(source, now);
  }
  EXPECT_FALSE(penalties.accepts(source, now));
}

TEST(Penalties, take_an_ipv6_network_for_one_source) {
  Penalties penalties;
  const Penalties::Time now{};
  for (int i = 0; i < Penalties::failures_max; ++i) penalties.note_failure(make_address("2001:db8::1"), now);
  EXPECT_FALSE(penalties.accepts(make_address("2001:db8::ffff:1"), now));
  EXPECT_TRUE(penalties.accepts(make_address("2001:db8:0:1::1"), now));
}

TEST(Penalties, remember_a_bounded_number_of_sources) {
  Penalties penalties;
  Penalties::Time now{};
  for (std::uint32_t i = 0; i < Penalties::sources_max + 100; ++i)
    penalties.note_failure(boost::asio::ip::address_v4(i), now);
  EXPECT_EQ(penalties.size(), Penalties::sources_max);
  now += Penalties::forgiveness;
  penalties.note_failure(make_address("255.0.0.1"), now);
  EXPECT_EQ(penalties.size(), 1u);
}

}  // namespace
}  // namespace culvert::server
