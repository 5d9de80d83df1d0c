// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

// Every limit of the protocol, by the section of SPEC.md that defines it. SPEC 9 has the same table, and a test
// compares the two: change a limit in both.

namespace culvert::protocol {

// SPEC 4: frames.
inline constexpr std::size_t frame_header_bytes = 12;
inline constexpr std::size_t frame_payload_bytes_max = 65'536;
inline constexpr std::size_t greeting_payload_bytes_max = 4'096;
inline constexpr std::size_t head_payload_bytes_max = 81'920;
/// On a join connection RENEW is the first frame. With the keys of today it is shorter than greeting_payload_bytes_max,
/// but not with each certificate that we accept.
inline constexpr std::size_t renew_payload_bytes_max = 8'192;
/// The most that we put into one DATA frame: with its header it fills four TLS records exactly.
inline constexpr std::size_t data_payload_bytes_preferred = 65'536 - frame_header_bytes;

// SPEC 5: messages.
inline constexpr std::uint32_t message_depth_max = 16;
inline constexpr std::uint32_t message_map_entries_max = 256;
inline constexpr std::uint32_t message_array_entries_max = 1'024;
inline constexpr std::uint32_t message_string_bytes_max = 4'096;
inline constexpr std::uint32_t message_elements_max = 4'096;
/// MessageReader does not read a longer list as Strings: one view of 16 bytes per byte of input would multiply memory.
inline constexpr std::size_t message_list_strings_max = 64;
inline constexpr std::uint32_t head_string_bytes_max = 8'192;
inline constexpr std::size_t head_fields_bytes_max = 66'560;
inline constexpr std::size_t name_bytes_max = 255;
inline constexpr std::size_t text_bytes_max = 256;
inline constexpr std::size_t capabilities_max = 32;
inline constexpr std::size_t capability_bytes_max = 32;
inline constexpr std::size_t instance_bytes = 16;
inline constexpr std::size_t replicas_max = 64;
inline constexpr std::size_t token_id_bytes_max = 32;
inline constexpr std::size_t token_secret_bytes = 32;
inline constexpr std::size_t certificate_request_bytes_max = 2'048;
inline constexpr std::size_t certificate_bytes_max = 4'096;
inline constexpr std::size_t signature_bytes_max = 1'024;
inline constexpr std::size_t certificates_bytes_max = 24'576;
inline constexpr std::uint32_t certificate_lifetime_s_max = 366u * 86'400;

// SPEC 6: streams.
inline constexpr std::uint32_t stream_id_max = 0x7fff'ffff;
inline constexpr std::uint32_t streams_max = 10'000;
inline constexpr std::size_t optimistic_bytes_max = 16'384;
inline constexpr std::uint32_t consecutive_empty_data_frames_max = 1;
inline constexpr std::uint32_t pending_ms_max = 3'600'000;

// SPEC 7: flow control.
inline constexpr std::uint64_t window_bytes_min = 16'384;
inline constexpr std::uint64_t window_bytes_start = 262'144;
inline constexpr std::uint64_t window_bytes_near_max = 4ull << 20;
inline constexpr std::uint64_t window_bytes_max = 16ull << 20;
inline constexpr std::uint64_t window_bytes_per_us = 1'000;
inline constexpr std::uint64_t tunnel_granted_bytes_max = 64ull << 20;
inline constexpr std::chrono::milliseconds far_round_trip{5};

// SPEC 8: liveness, floods.
inline constexpr std::chrono::seconds ping_after_silence{4};
inline constexpr std::chrono::seconds ping_interval_under_load{1};
inline constexpr std::chrono::seconds dead_after_silence{12};
inline constexpr std::chrono::seconds greeting_time_max{10};
inline constexpr std::chrono::seconds round_trip_memory{30};
inline constexpr std::uint32_t pings_per_second_max = 10;
inline constexpr std::size_t control_frames_queued_max = 1'000;
inline constexpr std::size_t control_frames_queued_hard_max = 20'000;
inline constexpr std::chrono::seconds control_stall_max{10};
inline constexpr std::chrono::milliseconds widen_interval{900};
/// A RENEW that comes sooner after the one before ends the tunnel.
inline constexpr std::chrono::milliseconds renew_interval_min{500};
/// From JOIN, or RENEW on a join connection, to its answer: the server may have to ask an authority elsewhere.
inline constexpr std::chrono::seconds enrolment_time_max{60};

}  // namespace culvert::protocol
