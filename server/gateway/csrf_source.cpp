// SPDX-License-Identifier: Apache-2.0
#include "server/gateway/csrf_source.hpp"

#include <string_view>
#include <utility>

#include <fmt/core.h>

#include "common/http/characters.hpp"

namespace culvert::server {

namespace {

constexpr std::size_t answer_bytes_max = std::size_t{1} << 20;
/// Targets keep a session for 15 to 30 minutes; one that ends earlier says so with 403.
constexpr std::chrono::minutes session_time{10};

/// The cookies of an answer as a client sends them back.
std::string cookies_of(const http::Fields& fields) {
  std::string cookies;
  for (const auto& [name, value] : fields) {
    if (!http::is_equal_ignoring_case(name, "Set-Cookie")) continue;
    const std::string_view pair = value.substr(0, value.find(';'));
    if (pair.find('=') == pair.npos) continue;
    if (!cookies.empty()) cookies += "; ";
    cookies += http::without_spaces_around(pair);
  }
  return cookies;
}

}  // namespace

boost::asio::awaitable<Result<Grant>> CsrfSource::fetch(Dialer& dialer, Deadline deadline) {
  http::RequestHead head;
  head.method = "GET";
  head.query = settings_.parameters.query;
  for (const auto& [name, value] : settings_.parameters.fields) head.fields.add(name, value);
  for (const auto& [name, value] : settings_.login) head.fields.set(name, value);
  if (settings_.token) {
    const auto token = settings_.token->current(Clock::now());
    if (!token) co_return fail("gateway.csrf_failed", "the access token ended before the CSRF token was there");
    for (const auto& [name, value] : token->fields) head.fields.set(name, value);
  }
  head.fields.set("X-CSRF-Token", "fetch");
  auto answer = co_await ask_outside(dialer, settings_.server, std::move(head), {}, answer_bytes_max, deadline);
  if (!answer)
    co_return fail("gateway.csrf_failed",
                   fmt::format("the page of CSRF tokens cannot be asked: {}", answer.error().text));
  const auto token = answer->head.fields.find("X-CSRF-Token");
  if (answer->head.status == 401)
    co_return fail("gateway.login_refused", "the page of CSRF tokens answered with status 401");
  if (answer->head.status >= 400 || !token || token->empty())
    co_return fail("gateway.csrf_failed", fmt::format("the page of CSRF tokens answered with status {}{}",
                                                      answer->head.status, token ? "" : " and no token"));
  Grant grant;
  grant.fields.add("X-CSRF-Token", *token);
  if (const std::string cookies = cookies_of(answer->head.fields); !cookies.empty())
    grant.fields.add("Cookie", cookies);
  grant.ends = Clock::now() + session_time;
  grant.renew = grant.ends;
  co_return grant;
}

}  // namespace culvert::server
