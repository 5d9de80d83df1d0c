// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>

#include "common/http/head.hpp"

// May a connection carry another message? Asked once per exchange, when it has ended; every doubt means no (threats B9,
// B10, B19, B21). A refused message, a broken write or a body that was cut off needs no question: those close.

namespace culvert::http {

/// How far one exchange came on one connection.
struct Exchange {
  Hop request;
  Hop response;
  int status = 0;
  bool request_is_complete = false;   ///< Head and body went over this connection to their last byte.
  bool response_is_complete = false;  ///< The same of the final response.
};

/// The connection of a client, who may have sent more already: that is the next request. `response` is how we wrote it.
bool may_reuse_client(const Exchange& exchange);

/// The connection to a back end. What it sent behind its response can only be the answer to something that we did not
/// ask.
bool may_reuse_back_end(const Exchange& exchange, std::size_t leftover_bytes);

}  // namespace culvert::http
