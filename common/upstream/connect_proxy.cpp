// SPDX-License-Identifier: Apache-2.0
#include "common/upstream/connect_proxy.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <fmt/core.h>

#include "common/base/base64.hpp"
#include "common/http/characters.hpp"

namespace culvert {

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

constexpr std::size_t answer_bytes_max = 16UL * 1024;
/// How much of a proxy's list of schemes an error repeats.
constexpr std::size_t offered_bytes_max = 100;

/// Overwrites a secret in place. Do not move such strings: moving a short string leaves its characters behind.
void wipe(std::string& secret) {
  ::explicit_bzero(secret.data(), secret.size());
}

/// A request with credentials in it; the destructor wipes it, however the coroutine ends.
struct Request {
  std::string text;
  Request() = default;
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;
  ~Request() { wipe(text); }
};

/// Reserves first: a string that grows leaves a copy behind.
void write_request(std::string& out, const Endpoint& target, std::string_view credentials) {
  const std::string authority = to_string(target);
  out.reserve(128 + 2 * authority.size() + 2 * credentials.size());
  out += "CONNECT " + authority + " HTTP/1.1\r\nHost: " + authority + "\r\n";
  if (!credentials.empty()) {
    out += "Proxy-Authorization: Basic ";
    append_base64(out, credentials);
    out += "\r\n";
  }
  out += "\r\n";
}

/// The status of a complete answer head, "HTTP/1.x NNN ..." and lines "name: value", each ended by CRLF. Nothing: it is
/// not HTTP.
std::optional<int> status_of(std::string_view head) {
  const bool is_status_line = head.size() >= 14 && head.starts_with("HTTP/1.") && (head[7] == '0' || head[7] == '1') &&
                              head[8] == ' ' && '1' <= head[9] && head[9] <= '9' && http::is_digit(head[10]) &&
                              http::is_digit(head[11]) && (head[12] == ' ' || head[12] == '\r');
  if (!is_status_line) return std::nullopt;
  const int status = (head[9] - '0') * 100 + (head[10] - '0') * 10 + (head[11] - '0');
  for (bool is_first = true; !head.starts_with("\r\n"); is_first = false) {
    const std::size_t end = head.find("\r\n");
    const std::string_view line = head.substr(0, end);
    if (http::find_control(line, 0) != line.size()) return std::nullopt;
    const std::size_t colon = line.find(':');
    if (!is_first && (colon == 0 || colon == std::string_view::npos)) return std::nullopt;
    head.remove_prefix(end + 2);
  }
  return status;
}

/// The authentication schemes in the Proxy-Authenticate fields of `head` (RFC 9110 11.6.1), a head as status_of()
/// accepts it. An element of the list begins a challenge unless it is a parameter, "name=value".
std::vector<std::string_view> schemes_of(std::string_view head) {
  constexpr std::string_view field = "proxy-authenticate:";
  std::vector<std::string_view> schemes;
  while (!head.empty()) {
    std::string_view line = head.substr(0, head.find("\r\n"));
    head.remove_prefix(std::min(line.size() + 2, head.size()));
    if (!http::is_equal_ignoring_case(line.substr(0, field.size()), field)) continue;
    line.remove_prefix(field.size());
    while (!line.empty()) {
      const std::string_view element = http::take_element_with_strings(line);
      const auto behind = std::ranges::find_if_not(element, [](char c) { return http::is(http::token_character, c); });
      const std::string_view word(element.begin(), behind);
      if (word.empty() || http::without_spaces_around({behind, element.end()}).starts_with('=')) continue;
      const auto is_word = [word](std::string_view known) { return http::is_equal_ignoring_case(known, word); };
      if (std::ranges::none_of(schemes, is_word)) schemes.push_back(word);
    }
  }
  return schemes;
}

/// For a 407. A proxy that offers no scheme at all may know Basic.
Error login_refusal(std::string_view head, const ConnectProxy& proxy) {
  const std::string name = to_string(proxy.endpoint);
  const std::vector<std::string_view> schemes = schemes_of(head);
  const auto is_basic = [](std::string_view scheme) { return http::is_equal_ignoring_case(scheme, "Basic"); };
  if (!schemes.empty() && std::ranges::none_of(schemes, is_basic)) {
    std::string offered;
    for (const std::string_view scheme : schemes) {
      if (offered.size() + scheme.size() > offered_bytes_max) break;
      offered += fmt::format("{}{}", offered.empty() ? "" : ", ", scheme);
    }
    return {"proxy.no_common_scheme",
            fmt::format("the proxy {} requires a login by {} (407), and Culvert speaks Basic only: have the proxy "
                        "offer Basic to this machine, or let it connect without a login",
                        name, offered.empty() ? "an unknown scheme" : offered)};
  }
  const char* remedy = proxy.credentials ? "does not accept the user or the password (407): check proxy_user and the "
                                           "file that proxy_password_file names"
                                         : "requires a user and a password (407): set proxy_user and "
                                           "proxy_password_file";
  return {"proxy.authentication_required", fmt::format("the proxy {} {}", name, remedy)};
}

/// `head` is the whole answer's head.
Error refusal(int status, std::string_view head, const ConnectProxy& proxy, const Endpoint& target) {
  const std::string name = to_string(proxy.endpoint);
  const std::string where = to_string(target);
  if (status == 407) return login_refusal(head, proxy);
  if (status == 403) {
    return {"proxy.forbidden",
            fmt::format("the proxy {0} forbids connections to {1} (403): have CONNECT {1} allowed there, or add "
                        "the host to no_proxy if it can be reached directly",
                        name, where)};
  }
  return {"proxy.refused",
          fmt::format("the proxy {} did not connect to {} (status {}): see the proxy's own log", name, where, status)};
}

/// Why there was no connection to the proxy itself. Errors of this machine keep their code.
Error unreachable(const Error& error, const ConnectProxy& proxy) {
  if (error.code == "dial.no_local_port" || error.code == "dial.no_descriptors") return error;
  const char* code = error.code == "dial.timed_out" ? "proxy.timed_out" : "proxy.unreachable";
  return {code, fmt::format("cannot connect to the proxy {}: {}; check the key proxy", to_string(proxy.endpoint),
                            error.text)};
}

Error broken_off(const boost::system::error_code& error, const ConnectProxy& proxy, const Endpoint& target) {
  const std::string name = to_string(proxy.endpoint);
  const std::string where = to_string(target);
  if (error == asio::error::timed_out) {
    return {"proxy.timed_out", fmt::format("the proxy {} accepted the connection but did not answer CONNECT {} in "
                                           "time: it is overloaded, or cannot reach the target",
                                           name, where)};
  }
  return {"proxy.closed",
          fmt::format("the proxy {} closed the connection instead of answering CONNECT {} ({}): is it an HTTP proxy?",
                      name, where, error.message())};
}

Error malformed(const char* what, const ConnectProxy& proxy) {
  return {"proxy.malformed",
          fmt::format("the proxy {} {}: is it an HTTP proxy? check the key proxy", to_string(proxy.endpoint), what)};
}

/// Reads and checks the head of the answer. Bytes behind the head of a refusal are ignored; behind an approval they are
/// an error, since we send the first bytes of the tunnel.
asio::awaitable<Result<void>> read_answer(tcp::socket& socket, asio::steady_timer& timer, const ConnectProxy& proxy,
                                          const Endpoint& target, Deadline deadline) {
  std::string answer(answer_bytes_max, '\0');
  std::size_t size = 0;
  while (true) {
    const auto room = asio::buffer(answer.data() + size, answer.size() - size);
    const IoResult read = co_await with_deadline(socket.async_read_some(room, asio::deferred), timer, deadline);
    co_await throw_if_stopped();
    if (read.error) co_return std::unexpected(broken_off(read.error, proxy, target));
    size += read.size;
    const std::string_view seen(answer.data(), size);
    const std::size_t end = seen.find("\r\n\r\n");
    if (end == std::string_view::npos) {
      if (size == answer.size()) co_return std::unexpected(malformed("sent an answer that is too long", proxy));
      continue;
    }
    const auto status = status_of(seen.substr(0, end + 4));
    if (!status) co_return std::unexpected(malformed("sent an answer that is not HTTP", proxy));
    if (*status / 100 != 2) co_return std::unexpected(refusal(*status, seen.substr(0, end + 4), proxy, target));
    if (size > end + 4) co_return std::unexpected(malformed("sent bytes after its approval", proxy));
    co_return Result<void>();
  }
}

bool is_in_network(const asio::ip::address& address, const std::string& cidr) {
  boost::system::error_code error;
  if (address.is_v4()) {
    const auto network = asio::ip::make_network_v4(cidr, error);
    if (error) return false;
    return asio::ip::network_v4(address.to_v4(), network.prefix_length()).canonical() == network.canonical();
  }
  const auto network = asio::ip::make_network_v6(cidr, error);
  if (error) return false;
  return asio::ip::network_v6(address.to_v6(), network.prefix_length()).canonical() == network.canonical();
}

}  // namespace

asio::awaitable<Result<DialedSocket>> dial_through_proxy(Dialer& dialer, const ConnectProxy& proxy,
                                                         const Endpoint& target, Deadline deadline) {
  DialTarget proxy_target{proxy.endpoint, {}};
  auto dialed = co_await dialer.dial(std::move(proxy_target), deadline);
  if (!dialed) co_return std::unexpected(unreachable(dialed.error(), proxy));

  Request request;
  if (proxy.credentials) {
    auto credentials = co_await proxy.credentials(deadline);
    if (!credentials) co_return std::unexpected(credentials.error());
    write_request(request.text, target, {credentials->data(), credentials->size()});
    ::explicit_bzero(credentials->data(), credentials->size());
  } else {
    write_request(request.text, target, {});
  }

  const auto executor = co_await asio::this_coro::executor;
  asio::steady_timer timer(executor);
  tcp::socket socket(executor);
  boost::system::error_code unwatchable;
  socket.assign(dialed->remote.protocol(), dialed->fd.get(), unwatchable);
  if (unwatchable) co_return fail("dial.no_descriptors", "cannot watch the proxy's socket: " + unwatchable.message());
  dialed->fd.release();
  auto send = asio::async_write(socket, asio::buffer(request.text), asio::deferred);
  const IoResult sent = co_await with_deadline(std::move(send), timer, deadline);
  co_await throw_if_stopped();
  if (sent.error) co_return std::unexpected(broken_off(sent.error, proxy, target));
  wipe(request.text);
  const auto consent = co_await read_answer(socket, timer, proxy, target, deadline);
  if (!consent) co_return std::unexpected(consent.error());
  dialed->fd = UniqueFd(socket.release());
  co_return dialed;
}

asio::awaitable<Result<DialedSocket>> dial_by_way_of(Dialer& dialer, const ConnectProxy* proxy, DialTarget target,
                                                     Deadline deadline) {
  if (proxy == nullptr) co_return co_await dialer.dial(std::move(target), deadline);
  const std::string& host = target.endpoint.host;
  boost::system::error_code is_name;
  const auto address = asio::ip::make_address(host == "localhost" ? "127.0.0.1" : host, is_name);
  if (!is_name && target.allows && !target.allows(address))
    co_return fail("dial.address_denied", fmt::format("{} is not allowed as a target", to_string(target.endpoint)));
  co_return co_await dial_through_proxy(dialer, *proxy, target.endpoint, deadline);
}

bool bypasses_proxy(std::string_view host, const std::vector<std::string>& no_proxy) {
  boost::system::error_code not_literal;
  const auto address = asio::ip::make_address(std::string(host), not_literal);
  return std::ranges::any_of(no_proxy, [&](std::string_view entry) {
    if (entry == "*") return true;
    if (!not_literal && entry.contains('/')) return is_in_network(address, std::string(entry));
    if (entry.starts_with("*.")) entry.remove_prefix(1);
    if (!entry.starts_with('.')) return http::is_equal_ignoring_case(host, entry);
    return not_literal && host.size() > entry.size() &&
           http::is_equal_ignoring_case(host.substr(host.size() - entry.size()), entry);
  });
}

}  // namespace culvert
