// SPDX-License-Identifier: Apache-2.0
#include "server/gateway/outside_call.hpp"

#include <utility>

#include "server/targets/gateway_path.hpp"
#include "server/web/web_connection.hpp"

namespace culvert::server {

boost::asio::awaitable<Result<OutsideAnswer>> ask_outside(Dialer& dialer, const OutsideServer& server,
                                                          http::RequestHead head, std::string body,
                                                          std::size_t bytes_max, Deadline deadline) {
  head.scheme = server.url.scheme;
  head.authority = server.url.server;
  head.path = join_path(server.url.path, "");
  head.query = join_query(server.url.query, head.query, "");
  if (!head.fields.find("User-Agent")) head.fields.add("User-Agent", "culvert-server");
  if (!body.empty()) head.framing = {http::Framing::Kind::length, body.size()};
  DialTarget target{server.url.server, [allowed = server.addresses](const boost::asio::ip::address& address) {
                      return allowed->allows(address);
                    }};
  auto dialed = co_await dial_by_way_of(dialer, server.proxy.get(), std::move(target), deadline);
  if (!dialed) co_return std::unexpected(dialed.error());
  auto connection = co_await WebConnection::begin(std::move(dialed->fd), server.url.server.host,
                                                  server.tls ? &*server.tls : nullptr, deadline);
  if (!connection) co_return std::unexpected(connection.error());
  auto answer = co_await (*connection)->ask(head, body, deadline);
  if (!answer) co_return std::unexpected(answer.error());
  auto rest = co_await (*connection)->read_all(bytes_max, deadline);
  if (!rest) co_return std::unexpected(rest.error());
  co_return OutsideAnswer{std::move(*answer), std::move(*rest)};
}

}  // namespace culvert::server
