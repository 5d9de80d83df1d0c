// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "common/http/fields.hpp"
#include "common/http/head_message.hpp"
#include "common/tunnel/stream.hpp"
#include "common/tunnel/stream_end.hpp"

namespace culvert {

/// Ends a complete body in its stream: the last `bytes` of data, then the trailers as one HEAD, then FIN (SPEC 5.7).
/// pull() returns its result, and calls it again until that is Source::ended. FIN is sent together with the last bytes,
/// so that the message is already complete when the peer answers them.
inline StreamEnd::Pull end_body(Stream& stream, const http::Fields& trailers, std::size_t bytes, bool& sent_trailers) {
  if (trailers.empty() || sent_trailers) return {bytes, protocol::Source::ended};
  if (bytes > 0) return {bytes, protocol::Source::more};
  sent_trailers = true;
  stream.send_head(http::to_message(trailers));
  return {0, protocol::Source::more};
}

}  // namespace culvert
