// SPDX-License-Identifier: Apache-2.0
#include "server/web/fetch_document.hpp"

#include <utility>

#include <fmt/core.h>

#include "common/http/head.hpp"
#include "protocol/check.hpp"
#include "server/web/web_connection.hpp"

namespace culvert::server {

namespace {

http::RequestHead request_for(const DocumentUrl& url) {
  http::RequestHead head;
  head.method = "GET";
  head.scheme = url.scheme;
  head.authority = url.server;
  head.path = url.path;
  head.query = url.query;
  head.fields.add("Accept", "application/json");
  head.fields.add("User-Agent", "culvert-server");
  return head;
}

}  // namespace

boost::asio::awaitable<Result<std::string>> fetch_document(Dialer& dialer, DocumentUrl url,
                                                           std::optional<TlsContext> tls, std::size_t bytes_max,
                                                           Deadline deadline) {
  check(url.is_secure() == tls.has_value(), "TLS is for https:// and for nothing else");
  DialTarget target{url.server, {}};
  if (!tls) target.allows = [](const boost::asio::ip::address& address) { return address.is_loopback(); };
  auto connection = co_await WebConnection::open(dialer, std::move(target), tls ? &*tls : nullptr, deadline);
  if (!connection) co_return std::unexpected(connection.error());
  const auto head = co_await (*connection)->ask(request_for(url), "", deadline);
  if (!head) co_return std::unexpected(head.error());
  if (head->status != 200)
    co_return fail("fetch.status", fmt::format("the server answered with status {} instead of 200", head->status));
  co_return co_await (*connection)->read_all(bytes_max, deadline);
}

}  // namespace culvert::server
