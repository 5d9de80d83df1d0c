// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

namespace culvert::http {

/// What a peer may make a head grow to (threats B2, B4, B18, B19). The first four are a matter of configuration.
struct HeadLimits {
  std::size_t head_bytes_max = 64UL * 1024;  ///< From the first line to the empty one, both included.
  std::size_t line_bytes_max = 8UL * 1024;   ///< Without its CR LF; of the request line too, and so of its target.
  std::size_t fields_max = 100;
  std::size_t interim_responses_max = 8;
  std::size_t method_bytes_max = 32;
  std::size_t connection_options_max = 32;
  std::size_t trailer_bytes_max = 8UL * 1024;           ///< All trailer lines, the empty one included.
  std::size_t chunk_extension_bytes_max = 256;          ///< Of each.
  std::size_t chunk_extensions_bytes_max = 4UL * 1024;  ///< Of all in one body.
};

/// Of a head that came through the tunnel: to the most that a client may send the other program has added fields of its
/// own (Via, X-Forwarded-For).
inline constexpr HeadLimits tunnel_head_limits{.head_bytes_max = 65UL * 1024, .fields_max = 104};

}  // namespace culvert::http
