// SPDX-License-Identifier: Apache-2.0
#include "protocol/reason.hpp"

#include <array>
#include <utility>

namespace culvert::protocol {
namespace {

using enum Reason;
constexpr auto names = std::to_array<std::pair<Reason, std::string_view>>({
    {none, "none"},
    {protocol, "protocol"},
    {flow_control, "flow_control"},
    {frame_too_large, "frame_too_large"},
    {version, "version"},
    {wrong_replica, "wrong_replica"},
    {stale_epoch, "stale_epoch"},
    {replaced, "replaced"},
    {denied, "denied"},
    {timed_out, "timed_out"},
    {flood, "flood"},
    {shutdown, "shutdown"},
    {internal, "internal"},
    {ids_exhausted, "ids_exhausted"},
    {configuration, "configuration"},
    {agent_disabled, "agent_disabled"},
    {not_enrolled, "not_enrolled"},
    {certificate_expired, "certificate_expired"},
    {not_exposed, "not_exposed"},
    {no_such_service, "no_such_service"},
    {no_agent, "no_agent"},
    {target_refused, "target_refused"},
    {target_unreachable, "target_unreachable"},
    {target_timed_out, "target_timed_out"},
    {target_name_unknown, "target_name_unknown"},
    {target_tls_failed, "target_tls_failed"},
    {overloaded, "overloaded"},
    {draining, "draining"},
    {cancelled, "cancelled"},
    {target_reset, "target_reset"},
    {aborted, "aborted"},
    {tunnel_lost, "tunnel_lost"},
    {stalled, "stalled"},
    {kind_unknown, "kind_unknown"},
    {speaks_http, "speaks_http"},
    {ambiguous_path, "ambiguous_path"},
    {target_not_http, "target_not_http"},
    {ambiguous_backslash, "ambiguous_backslash"},
    {token_refused, "token_refused"},
    {token_used, "token_used"},
    {token_expired, "token_expired"},
    {too_many_attempts, "too_many_attempts"},
    {request_refused, "request_refused"},
    {renewal_over, "renewal_over"},
    {enrolment_unavailable, "enrolment_unavailable"},
});

}  // namespace

std::string_view to_string(Reason reason) {
  for (const auto& [value, name] : names) {
    if (value == reason) return name;
  }
  return "internal";
}

std::optional<Reason> reason_of(std::uint64_t number) {
  for (const auto& [value, name] : names) {
    if (std::to_underlying(value) == number) return value;
  }
  return std::nullopt;
}

}  // namespace culvert::protocol
