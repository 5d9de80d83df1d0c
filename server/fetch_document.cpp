// SPDX-License-Identifier: Apache-2.0
#include "server/fetch_document.hpp"

#include <algorithm>
#include <utility>

#include <fmt/core.h>

#include "common/http/head_check.hpp"
#include "common/http/target.hpp"
#include "protocol/check.hpp"
#include "server/web_connection.hpp"

namespace culvert::server {

Result<http::RequestHead> parse_document_url(std::string_view url) {
  const auto malformed_url = [] {
    return fail("config.malformed",
                "must be an URL like https://host[:port]/path without user and fragment; http:// is taken for this "
                "machine's own 127.0.0.1 or localhost only");
  };
  http::RequestHead head;
  head.method = "GET";
  if (url.starts_with("https://")) {
    head.scheme = http::Scheme::https;
  } else if (!url.starts_with("http://")) {
    return malformed_url();
  }
  url.remove_prefix(url.find("//") + 2);
  const std::size_t slash = std::min(url.find_first_of("/?#"), url.size());
  const auto authority = http::parse_authority(url.substr(0, slash), http::default_port(head.scheme));
  if (!authority) return malformed_url();
  const std::string target(slash == url.size() ? "/" : url.substr(slash));
  if (http::parse_target(target, http::Role::origin, head) != nullptr) return malformed_url();
  head.authority = *authority;  // parse_target() knows of none in this form.
  if (head.scheme == http::Scheme::http && !is_loopback(head.authority.host)) return malformed_url();
  head.fields.add("Accept", "application/json");
  head.fields.add("User-Agent", "culvert-server");
  if (http::flaw_of(head) != nullptr) return malformed_url();
  return head;
}

boost::asio::awaitable<Result<std::string>> fetch_document(Dialer& dialer, http::RequestHead request,
                                                           std::optional<TlsContext> tls, std::size_t bytes_max,
                                                           Deadline deadline) {
  check((request.scheme == http::Scheme::https) == tls.has_value(), "https:// and nothing else is asked by TLS");
  DialTarget target{request.authority, {}};
  if (!tls) target.allows = [](const boost::asio::ip::address& address) { return address.is_loopback(); };
  auto connection = co_await WebConnection::open(dialer, std::move(target), tls ? &*tls : nullptr, deadline);
  if (!connection) co_return std::unexpected(connection.error());
  const auto head = co_await (*connection)->ask(request, "", deadline);
  if (!head) co_return std::unexpected(head.error());
  if (head->status != 200)
    co_return fail("fetch.status", fmt::format("the server answered with status {} instead of 200", head->status));
  co_return co_await (*connection)->read_all(bytes_max, deadline);
}

}  // namespace culvert::server
