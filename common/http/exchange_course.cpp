// SPDX-License-Identifier: Apache-2.0
#include "common/http/exchange_course.hpp"

#include <algorithm>
#include <iterator>

namespace culvert::http {

namespace {

bool is_over_cleanly(const ExchangeCourse& course) {
  // Behind 101 the connection speaks another protocol; an interim response is not the end of an exchange.
  return course.request_is_complete && course.response_is_complete && course.status >= 200 &&
         course.response.transfer != Transfer::until_close && !course.request.close && !course.response.close &&
         course.request.version == Version::http_1_1 && course.response.version == Version::http_1_1;
}

/// RFC 9110 9.2.2: to do it twice is to do it once.
bool is_idempotent(std::string_view method) {
  constexpr std::string_view methods[] = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"};
  return std::ranges::find(methods, method) != std::end(methods);
}

}  // namespace

bool may_reuse_client(const ExchangeCourse& course) {
  return is_over_cleanly(course);
}

bool may_reuse_back_end(const ExchangeCourse& course, std::size_t leftover_bytes) {
  return is_over_cleanly(course) && leftover_bytes == 0;
}

bool may_send_again(const ExchangeCourse& course, std::string_view method) {
  return course.connection_was_used && !course.was_answered && !course.body_was_sent && is_idempotent(method);
}

}  // namespace culvert::http
