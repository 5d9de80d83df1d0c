// SPDX-License-Identifier: Apache-2.0
#include "common/http/reuse.hpp"

namespace culvert::http {

namespace {

bool is_over_cleanly(const Exchange& exchange) {
  // Behind 101 the connection speaks another protocol; an interim response is not the end of an exchange.
  return exchange.request_is_complete && exchange.response_is_complete && exchange.status >= 200 &&
         exchange.response.transfer != Transfer::until_close && !exchange.request.close && !exchange.response.close &&
         exchange.request.version == Version::http_1_1 && exchange.response.version == Version::http_1_1;
}

}  // namespace

bool may_reuse_client(const Exchange& exchange) {
  return is_over_cleanly(exchange);
}

bool may_reuse_back_end(const Exchange& exchange, std::size_t leftover_bytes) {
  return is_over_cleanly(exchange) && leftover_bytes == 0;
}

}  // namespace culvert::http
