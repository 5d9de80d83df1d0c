// SPDX-License-Identifier: Apache-2.0
#include "common/net/connect_proxy.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <utility>

#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/network_v6.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/write.hpp>
#include <fmt/core.h>

namespace culvert {

namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

constexpr std::size_t answer_bytes_max = 16UL * 1024;

/// Overwrites a secret where it lies. Moving a short string leaves its letters behind, so nobody moves these.
void wipe(std::string& secret) {
  ::explicit_bzero(secret.data(), secret.size());
}

/// A request with credentials in it, wiped when it goes, however the coroutine ends.
struct Request {
  std::string text;
  Request() = default;
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;
  ~Request() { wipe(text); }
};

/// RFC 4648 4.
void append_base64(std::string& out, std::string_view bytes) {
  constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - at);
    std::uint32_t group = 0;
    for (std::size_t i = 0; i < 3; ++i)
      group = group << 8 | (i < count ? static_cast<unsigned char>(bytes[at + i]) : 0u);
    for (std::size_t i = 0; i < 4; ++i) out += i <= count ? letters[group >> (18 - 6 * i) & 63] : '=';
  }
}

/// Reserves first: a text that grows leaves a copy behind.
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

/// The status of a whole answer head, "HTTP/1.x NNN ..." and lines "name: value", each ended by CRLF. None: that is no
/// HTTP.
std::optional<int> status_of(std::string_view head) {
  const auto is_digit = [](char c) { return '0' <= c && c <= '9'; };
  const bool is_status_line = head.size() >= 14 && head.starts_with("HTTP/1.") && (head[7] == '0' || head[7] == '1') &&
                              head[8] == ' ' && '1' <= head[9] && head[9] <= '9' && is_digit(head[10]) &&
                              is_digit(head[11]) && (head[12] == ' ' || head[12] == '\r');
  if (!is_status_line) return std::nullopt;
  const int status = (head[9] - '0') * 100 + (head[10] - '0') * 10 + (head[11] - '0');
  for (bool is_first = true; !head.starts_with("\r\n"); is_first = false) {
    const std::size_t end = head.find("\r\n");
    const std::string_view line = head.substr(0, end);
    const auto is_control = [](char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f; };
    if (std::ranges::any_of(line, is_control)) return std::nullopt;
    const std::size_t colon = line.find(':');
    if (!is_first && (colon == 0 || colon == std::string_view::npos)) return std::nullopt;
    head.remove_prefix(end + 2);
  }
  return status;
}

Error refusal(int status, const ConnectProxy& proxy, const Endpoint& target) {
  const std::string name = to_string(proxy.endpoint);
  const std::string where = to_string(target);
  if (status == 407) {
    const char* remedy = proxy.credentials
                             ? "does not accept the user or the password (407): check proxy_user and the "
                               "file that proxy_password_file names"
                             : "wants a user and a password (407): set proxy_user and proxy_password_file";
    return {"proxy.authentication_required", fmt::format("the proxy {} {}", name, remedy)};
  }
  if (status == 403) {
    return {"proxy.forbidden",
            fmt::format("the proxy {0} forbids connections to {1} (403): have CONNECT {1} allowed there, or add "
                        "the host to no_proxy if it can be reached directly",
                        name, where)};
  }
  return {"proxy.refused",
          fmt::format("the proxy {} did not connect to {} (status {}): its own log says why", name, where, status)};
}

/// Why there was no connection to the proxy itself; what fails on this machine stays what it is.
Error unreachable(const Error& error, const ConnectProxy& proxy) {
  if (error.code == "dial.no_local_port" || error.code == "dial.no_descriptors") return error;
  const char* code = error.code == "dial.timed_out" ? "proxy.timed_out" : "proxy.unreachable";
  return {code,
          fmt::format("no connection to the proxy {}: {}; check the key proxy", to_string(proxy.endpoint), error.text)};
}

Error broken_off(const boost::system::error_code& error, const ConnectProxy& proxy, const Endpoint& target) {
  const std::string name = to_string(proxy.endpoint);
  const std::string where = to_string(target);
  if (error == asio::error::timed_out) {
    return {"proxy.timed_out",
            fmt::format("the proxy {} took the connection but did not answer CONNECT {} in time: it is overloaded, or "
                        "cannot reach the target",
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

/// Reads the answer's head and judges it. Whatever comes with a refusal behind its head is of no interest; behind a
/// consent it is an error, for the tunnel's first word is ours.
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
      if (size == answer.size()) co_return std::unexpected(malformed("sent an answer without end", proxy));
      continue;
    }
    const auto status = status_of(seen.substr(0, end + 4));
    if (!status) co_return std::unexpected(malformed("answered with something else than HTTP", proxy));
    if (*status / 100 != 2) co_return std::unexpected(refusal(*status, proxy, target));
    if (size > end + 4) co_return std::unexpected(malformed("sent bytes of its own behind its consent", proxy));
    co_return Result<void>();
  }
}

bool is_same_letter(char a, char b) {
  const auto lower = [](char c) { return 'A' <= c && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
  return lower(a) == lower(b);
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
    auto credentials = proxy.credentials();
    if (!credentials) co_return std::unexpected(credentials.error());
    write_request(request.text, target, *credentials);
    wipe(*credentials);
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

bool bypasses_proxy(std::string_view host, const std::vector<std::string>& no_proxy) {
  boost::system::error_code not_literal;
  const auto address = asio::ip::make_address(std::string(host), not_literal);
  return std::ranges::any_of(no_proxy, [&](std::string_view entry) {
    if (entry == "*") return true;
    if (!not_literal && entry.contains('/')) return is_in_network(address, std::string(entry));
    if (entry.starts_with("*.")) entry.remove_prefix(1);
    if (!entry.starts_with('.')) return std::ranges::equal(host, entry, is_same_letter);
    return not_literal && host.size() > entry.size() &&
           std::ranges::equal(host.substr(host.size() - entry.size()), entry, is_same_letter);
  });
}

}  // namespace culvert
