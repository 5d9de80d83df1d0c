// SPDX-License-Identifier: Apache-2.0
#include "protocol/stream_state.hpp"

#include <array>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

namespace culvert::protocol {
namespace {

// A second copy of SPEC 6.2 (threats A14). "!!": we would break the protocol; "xx": the peer did; "--": discarded.
// Columns: send ACCEPT REJECT DATA FIN RESET STOP, receive ACCEPT REJECT DATA CREDIT FIN RESET STOP.
constexpr std::array<std::string_view, stream_states> expected{
    "!! !! op oF cl !!  ok cl xx xx xx xx xx",  // op opening
    "!! !! !! !! cl !!  sf cl xx xx xx xx xx",  // oF opening_finished
    "ok cl !! !! !! !!  xx xx of of fF cl xx",  // of offered
    "rf cl !! !! !! !!  xx xx xx fF xx cl xx",  // fF offered_finished
    "!! !! ok sf cl ok  xx xx ok ok rf cl ok",  // ok open
    "!! !! !! !! cl sf  xx xx sf sf cl cl sf",  // sf sent_fin
    "!! !! rf cl cl !!  xx xx xx rf xx cl rf",  // rf received_fin
    "!! !! !! !! !! !!  -- -- -- -- -- -- --",  // cl closed
};
constexpr std::array<std::string_view, stream_states> names{"op", "oF", "of", "fF", "ok", "sf", "rf", "cl"};

std::string cell(StreamState state, StreamEvent event) {
  const Transition result = transition(state, event);
  switch (result.verdict) {
    case Transition::Verdict::go: return std::string(names[static_cast<std::size_t>(result.next)]);
    case Transition::Verdict::discard: return "--";
    case Transition::Verdict::breach: return "xx";
    case Transition::Verdict::defect: return "!!";
  }
  return "?";
}

TEST(StreamState, every_cell_of_the_table_is_as_the_specification_says) {
  for (int state = 0; state < stream_states; ++state) {
    std::string row;
    for (int event = 0; event < stream_events; ++event) {
      if (event > 0) row += event == 6 ? "  " : " ";
      row += cell(static_cast<StreamState>(state), static_cast<StreamEvent>(event));
    }
    EXPECT_EQ(row, expected[static_cast<std::size_t>(state)]) << "state " << state;
  }
}

TEST(StreamState, only_the_peer_is_blamed_for_what_is_received_and_only_we_for_what_is_sent) {
  for (int state = 0; state < stream_states; ++state) {
    for (int event = 0; event < stream_events; ++event) {
      const auto verdict = transition(static_cast<StreamState>(state), static_cast<StreamEvent>(event)).verdict;
      const bool sends = static_cast<StreamEvent>(event) < StreamEvent::receive_accept;
      EXPECT_NE(verdict, sends ? Transition::Verdict::breach : Transition::Verdict::defect);
    }
  }
}

TEST(StreamState, a_closed_stream_stays_closed) {
  for (int event = 6; event < stream_events; ++event) {
    EXPECT_EQ(transition(StreamState::closed, static_cast<StreamEvent>(event)).verdict, Transition::Verdict::discard);
  }
}

}  // namespace
}  // namespace culvert::protocol
