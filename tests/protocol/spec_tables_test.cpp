// SPDX-License-Identifier: Apache-2.0
// Compares the tables of protocol/SPEC.md (states, limits, reasons), read from the document itself, with the code.
#include <map>
#include <regex>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "protocol/limits.hpp"
#include "protocol/reason.hpp"
#include "protocol/stream_state.hpp"
#include "tests/protocol/spec_document.hpp"

namespace culvert::protocol {
namespace {

TEST(Spec, the_state_table_equals_the_codes) {
  const auto rows = table_below("### 6.2");
  ASSERT_EQ(rows.size(), 1U + stream_events);
  const std::vector<std::string> states{"opening", "opening_finished", "offered",      "offered_finished",
                                        "open",    "sent_fin",         "received_fin", "closed"};
  const std::vector<std::string> events{"send ACCEPT",  "send REJECT",    "send DATA",      "send FIN",
                                        "send RESET",   "send STOP",      "receive ACCEPT", "receive REJECT",
                                        "receive DATA", "receive CREDIT", "receive FIN",    "receive RESET",
                                        "receive STOP"};
  ASSERT_EQ(Row(rows[0].begin() + 1, rows[0].end()), states);
  for (std::size_t event = 0; event < events.size(); ++event) {
    const Row& row = rows[1 + event];
    ASSERT_EQ(row.size(), 1 + states.size());
    EXPECT_EQ(row[0], events[event]);
    for (std::size_t state = 0; state < states.size(); ++state) {
      const Transition step = transition(static_cast<StreamState>(state), static_cast<StreamEvent>(event));
      const std::string code = step.verdict == Transition::Verdict::discard  ? "discard"
                               : step.verdict == Transition::Verdict::breach ? "breach"
                               : step.verdict == Transition::Verdict::defect ? "never"
                                                                             : states[std::to_underlying(step.next)];
      EXPECT_EQ(row[1 + state], code) << states[state] << ", " << events[event];
    }
  }
}

TEST(Spec, the_reasons_equal_the_codes) {
  std::map<std::uint64_t, std::string> listed;
  const auto rows = table_below("## 10");
  for (std::size_t i = 1; i < rows.size(); ++i) EXPECT_TRUE(listed.emplace(number(rows[i][0]), rows[i][1]).second);
  EXPECT_FALSE(listed.empty());
  for (std::uint64_t value = 0; value < 1'000; ++value) {
    const auto reason = reason_of(value);
    ASSERT_EQ(reason.has_value(), listed.contains(value)) << value;
    if (reason) EXPECT_EQ(to_string(*reason), listed.at(value));
  }
}

/// A constant's value, and the unit that the document must give it if its type fixes one.
template <typename T>
std::pair<std::uint64_t, std::string> limit(T value) {
  if constexpr (requires { value.count(); }) {
    return {static_cast<std::uint64_t>(value.count()), std::is_same_v<T, std::chrono::seconds> ? "s" : "ms"};
  } else {
    return {value, ""};
  }
}

TEST(Spec, the_limits_equal_the_codes) {
  const std::map<std::string, std::pair<std::uint64_t, std::string>> code{
      {"frame_header_bytes", limit(frame_header_bytes)},
      {"frame_payload_bytes_max", limit(frame_payload_bytes_max)},
      {"greeting_payload_bytes_max", limit(greeting_payload_bytes_max)},
      {"head_payload_bytes_max", limit(head_payload_bytes_max)},
      {"head_string_bytes_max", limit(head_string_bytes_max)},
      {"head_fields_bytes_max", limit(head_fields_bytes_max)},
      {"pending_ms_max", limit(pending_ms_max)},
      {"data_payload_bytes_preferred", limit(data_payload_bytes_preferred)},
      {"message_depth_max", limit(message_depth_max)},
      {"message_map_entries_max", limit(message_map_entries_max)},
      {"message_array_entries_max", limit(message_array_entries_max)},
      {"message_string_bytes_max", limit(message_string_bytes_max)},
      {"message_list_strings_max", limit(message_list_strings_max)},
      {"message_elements_max", limit(message_elements_max)},
      {"name_bytes_max", limit(name_bytes_max)},
      {"text_bytes_max", limit(text_bytes_max)},
      {"capabilities_max", limit(capabilities_max)},
      {"capability_bytes_max", limit(capability_bytes_max)},
      {"instance_bytes", limit(instance_bytes)},
      {"replicas_max", limit(replicas_max)},
      {"renew_payload_bytes_max", limit(renew_payload_bytes_max)},
      {"token_id_bytes_max", limit(token_id_bytes_max)},
      {"token_secret_bytes", limit(token_secret_bytes)},
      {"certificate_request_bytes_max", limit(certificate_request_bytes_max)},
      {"certificate_bytes_max", limit(certificate_bytes_max)},
      {"signature_bytes_max", limit(signature_bytes_max)},
      {"certificates_bytes_max", limit(certificates_bytes_max)},
      {"certificate_lifetime_s_max", limit(certificate_lifetime_s_max)},
      {"stream_id_max", limit(stream_id_max)},
      {"streams_max", limit(streams_max)},
      {"optimistic_bytes_max", limit(optimistic_bytes_max)},
      {"consecutive_empty_data_frames_max", limit(consecutive_empty_data_frames_max)},
      {"window_bytes_min", limit(window_bytes_min)},
      {"window_bytes_start", limit(window_bytes_start)},
      {"window_bytes_near_max", limit(window_bytes_near_max)},
      {"window_bytes_max", limit(window_bytes_max)},
      {"window_bytes_per_us", limit(window_bytes_per_us)},
      {"tunnel_granted_bytes_max", limit(tunnel_granted_bytes_max)},
      {"far_round_trip", limit(far_round_trip)},
      {"ping_after_silence", limit(ping_after_silence)},
      {"ping_interval_under_load", limit(ping_interval_under_load)},
      {"dead_after_silence", limit(dead_after_silence)},
      {"greeting_time_max", limit(greeting_time_max)},
      {"round_trip_memory", limit(round_trip_memory)},
      {"pings_per_second_max", limit(pings_per_second_max)},
      {"control_frames_queued_max", limit(control_frames_queued_max)},
      {"control_frames_queued_hard_max", limit(control_frames_queued_hard_max)},
      {"control_stall_max", limit(control_stall_max)},
      {"widen_interval", limit(widen_interval)},
      {"renew_interval_min", limit(renew_interval_min)},
      {"enrolment_time_max", limit(enrolment_time_max)},
  };
  std::set<std::string> listed;
  const auto rows = table_below("## 9");
  for (std::size_t i = 1; i < rows.size(); ++i) {
    const std::string& name = rows[i][0];
    listed.insert(name);
    ASSERT_TRUE(code.contains(name)) << name;
    EXPECT_EQ(number(rows[i][1]), code.at(name).first) << name;
    if (!code.at(name).second.empty()) EXPECT_EQ(rows[i][2], code.at(name).second) << name;
  }
  // The names come from the header itself, so that later ones are covered too.
  const std::string header = text_of("protocol/limits.hpp");
  const std::regex constant(R"(inline constexpr [\w:]+ (\w+))");
  std::set<std::string> declared;
  for (std::sregex_iterator found(header.begin(), header.end(), constant), end; found != end; ++found) {
    declared.insert((*found)[1]);
  }
  EXPECT_EQ(listed, declared);
}

}  // namespace
}  // namespace culvert::protocol
