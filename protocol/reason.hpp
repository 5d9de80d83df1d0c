// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace culvert::protocol {

/// Why a tunnel or a stream ended: the closed list of SPEC 10. The numbers are sent, and never change their meaning.
enum class Reason : std::uint32_t {
  // Tunnels: in GOAWAY.
  none = 0,
  protocol = 1,
  flow_control = 2,
  frame_too_large = 3,
  version = 4,
  wrong_replica = 5,
  stale_epoch = 6,
  replaced = 7,
  denied = 8,
  timed_out = 9,
  flood = 10,
  shutdown = 11,
  internal = 12,
  ids_exhausted = 13,
  configuration = 14,
  // Tunnels, and enrolment: in GOAWAY and DENIED.
  agent_disabled = 15,
  not_enrolled = 16,
  certificate_expired = 17,
  // Streams: in REJECT, RESET, STOP.
  not_exposed = 32,
  no_such_service = 33,
  no_agent = 34,
  target_refused = 35,
  target_unreachable = 36,
  target_timed_out = 37,
  target_name_unknown = 38,
  target_tls_failed = 39,
  overloaded = 40,
  draining = 41,
  cancelled = 42,
  target_reset = 43,
  aborted = 44,
  tunnel_lost = 45,
  stalled = 46,
  kind_unknown = 47,
  speaks_http = 48,
  ambiguous_path = 49,
  target_not_http = 50,
  ambiguous_backslash = 51,
  // Enrolment: in DENIED.
  token_refused = 64,
  token_used = 65,
  token_expired = 66,
  too_many_attempts = 67,
  request_refused = 68,
  renewal_over = 69,
  enrolment_unavailable = 70,
};

/// The stable word for logs, metrics labels and docs/errors.md: "target_refused".
std::string_view to_string(Reason reason);

/// The reason that a received number means. nullopt: it is not in the list; a receiver takes it as `internal`.
std::optional<Reason> reason_of(std::uint64_t number);

}  // namespace culvert::protocol
