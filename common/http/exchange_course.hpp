// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string_view>

#include "common/http/head.hpp"

// What may follow in the course of an exchange. Every doubt means no (threats B9, B10, B19, B21). A refused message, a
// broken write or a body that was cut off needs no question: those close.

namespace culvert::http {

/// How far one exchange came on one connection.
struct ExchangeCourse {
  Hop request;
  Hop response;
  int status = 0;
  bool request_is_complete = false;   ///< Head and body went over this connection to their last byte.
  bool response_is_complete = false;  ///< The same of the final response.
  // Of a connection to a back end:
  bool connection_was_used = false;  ///< By an earlier exchange.
  bool body_was_sent = false;        ///< A part of the request's body, at least.
  bool was_answered = false;         ///< A byte came back.

  /// After 101 both directions are plain bytes.
  bool is_raw() const { return status == 101; }
};

/// May the connection of a client carry another message? The client may have sent more already: that is the next
/// request. `response` is how we wrote it.
bool may_reuse_client(const ExchangeCourse& course);

/// The same for the connection to a back end. What it sent behind its response can only be the answer to something that
/// we did not ask.
bool may_reuse_back_end(const ExchangeCourse& course, std::size_t leftover_bytes);

/// The connection ended before a response. May the request go out once more, over another one? A connection that was
/// idle may have been closed by the back end while the request was on its way.
bool may_send_again(const ExchangeCourse& course, std::string_view method);

}  // namespace culvert::http
