// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

namespace culvert::http {

/// Limits for the size of a peer's heads (threats B2, B4, B18, B19). The first two are configurable.
struct HeadLimits {
  std::size_t head_bytes_max = 64UL * 1024;   ///< From the first line to the empty line, both included.
  std::size_t line_bytes_max = 16UL * 1024;   ///< One field line, without CR LF.
  std::size_t target_bytes_max = 8UL * 1024;  ///< Path and query, in whatever form of target.
  /// The longest request line: such a target in absolute form, with method and version.
  std::size_t request_line_bytes_max = 8UL * 1024 + 512;
  std::size_t text_bytes_max = 8UL * 1024;  ///< The status line; the protocols of Upgrade (SPEC 5.7).
  std::size_t fields_max = 100;
  std::size_t method_bytes_max = 32;
  std::size_t connection_options_max = 32;
  std::size_t trailer_bytes_max = 8UL * 1024;           ///< All trailer lines, the empty line included.
  std::size_t chunk_extension_bytes_max = 256;          ///< Per chunk.
  std::size_t chunk_extensions_bytes_max = 4UL * 1024;  ///< All extensions of one body.
};

/// Limits for heads from the tunnel: those of SPEC 5.7, whatever the other program's configuration says. It has also
/// added fields of its own (Via, X-Forwarded-For).
inline constexpr HeadLimits tunnel_head_limits{
    .head_bytes_max = 65UL * 1024, .line_bytes_max = 65UL * 1024, .fields_max = 104};

}  // namespace culvert::http
