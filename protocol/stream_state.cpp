// SPDX-License-Identifier: Apache-2.0
#include "protocol/stream_state.hpp"

#include <array>
#include <utility>

namespace culvert::protocol {
namespace {

using enum StreamState;
using Row = std::array<Transition, stream_events>;

constexpr Transition to(StreamState next) {
  return {Transition::Verdict::go, next};
}
constexpr Transition drop{Transition::Verdict::discard, closed};
constexpr Transition bad{Transition::Verdict::breach, closed};
constexpr Transition bug{Transition::Verdict::defect, closed};

// clang-format off
constexpr std::array<Row, stream_states> table{{
  // send:  accept            reject      data                  fin                    reset       stop            receive: accept        reject      data                  credit                fin                    reset       stop
  /* opening          */ {bug, bug, to(opening), to(opening_finished), to(closed), bug, to(open), to(closed), bad, bad, bad, bad, bad},
  /* opening_finished */ {bug, bug, bug, bug, to(closed), bug, to(sent_fin), to(closed), bad, bad, bad, bad, bad},
  /* offered          */ {to(open), to(closed), bug, bug, bug, bug, bad, bad, to(offered), to(offered), to(offered_finished), to(closed), bad},
  /* offered_finished */ {to(received_fin), to(closed), bug, bug, bug, bug, bad, bad, bad, to(offered_finished), bad, to(closed), bad},
  /* open             */ {bug, bug, to(open), to(sent_fin), to(closed), to(open), bad, bad, to(open), to(open), to(received_fin), to(closed), to(open)},
  /* sent_fin         */ {bug, bug, bug, bug, to(closed), to(sent_fin), bad, bad, to(sent_fin), to(sent_fin), to(closed), to(closed), to(sent_fin)},
  /* received_fin     */ {bug, bug, to(received_fin), to(closed), to(closed), bug, bad, bad, bad, to(received_fin), bad, to(closed), to(received_fin)},
  /* closed           */ {bug, bug, bug, bug, bug, bug, drop, drop, drop, drop, drop, drop, drop},
}};
// clang-format on

}  // namespace

Transition transition(StreamState state, StreamEvent event) {
  return table[std::to_underlying(state)][std::to_underlying(event)];
}

}  // namespace culvert::protocol
