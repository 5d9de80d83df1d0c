// SPDX-License-Identifier: Apache-2.0
#include "common/net/dialer.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <fmt/core.h>
#include <sys/socket.h>

#include "common/net/socket_address.hpp"
#include "common/net/socket_options.hpp"

namespace culvert {

namespace asio = boost::asio;
using asio::ip::tcp;
using namespace std::chrono_literals;
using Clock = asio::steady_timer::clock_type;

namespace {

constexpr auto attempt_stagger = 250ms;  // RFC 8305 5, "Connection Attempt Delay".
constexpr std::size_t addresses_max = 16;

/// RFC 8305 4: alternates the address families, beginning with the one that the system prefers, so that a broken family
/// costs one stagger.
Addresses interleave(const Addresses& addresses) {
  std::deque<asio::ip::address> turn;
  std::deque<asio::ip::address> other;
  for (const auto& address : addresses)
    (address.is_v6() == addresses.front().is_v6() ? turn : other).push_back(address);
  Addresses ordered;
  while (ordered.size() < addresses_max && !(turn.empty() && other.empty())) {
    if (!turn.empty()) {
      ordered.push_back(turn.front());
      turn.pop_front();
    }
    turn.swap(other);
  }
  return ordered;
}

/// An IPv4-mapped address is dialled and checked as its IPv4 address.
asio::ip::address plain(const asio::ip::address& address) {
  if (!address.is_v6() || !address.to_v6().is_v4_mapped()) return address;
  return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6());
}

/// What went wrong with one address; later values say more. A refusal comes from the target, while a missing route may
/// only mean that this machine does not have the address family.
enum class Failure { unreachable, no_local_port, timed_out, refused, no_descriptors };

Failure failure_of(int error) {
  switch (error) {
    case ECONNREFUSED:
    case ECONNRESET: return Failure::refused;
    case ETIMEDOUT: return Failure::timed_out;
    case EADDRNOTAVAIL:
    case EAGAIN: return Failure::no_local_port;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM: return Failure::no_descriptors;
    default: return Failure::unreachable;
  }
}

/// The attempts for one target. Shared with the handlers of its descriptors, which Asio may call after the dialling
/// coroutine has ended.
struct Race {
  struct Attempt {
    asio::posix::stream_descriptor descriptor;
    tcp::endpoint remote;
  };

  Race(asio::any_io_executor with, std::size_t attempts_max) : executor(std::move(with)), woken(executor) {
    attempts.reserve(attempts_max);  // Handlers refer to attempts by index, descriptors do not move.
  }

  asio::any_io_executor executor;
  asio::steady_timer woken;
  std::vector<Attempt> attempts;
  std::size_t running = 0;
  std::optional<DialedSocket> connected;
  std::optional<std::pair<Failure, int>> failure;

  void fail_with(int error) {
    const Failure kind = failure_of(error);
    if (!failure || failure->first < kind) failure = {kind, error};
  }

  void win(UniqueFd fd, const tcp::endpoint& remote) {
    if (!connected) connected = DialedSocket{std::move(fd), remote, {}};
  }

  /// Ends an attempt, with the kernel's result: connected or failed.
  void settle(std::size_t index) {
    --running;
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(attempts[index].descriptor.native_handle(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error == 0) {
      win(UniqueFd(attempts[index].descriptor.release()), attempts[index].remote);
    } else {
      fail_with(error);
      attempts[index].descriptor.close();
    }
    woken.cancel();
  }

  static void start(const std::shared_ptr<Race>& race, const tcp::endpoint& remote) {
    UniqueFd fd = make_tcp_socket(remote.protocol().family());
    if (!fd) return race->fail_with(errno);
    if (::connect(fd.get(), remote.data(), static_cast<socklen_t>(remote.size())) == 0) {
      return race->win(std::move(fd), remote);  // Connected at once: loopback.
    }
    if (errno != EINPROGRESS) return race->fail_with(errno);
    boost::system::error_code unwatchable;
    asio::posix::stream_descriptor descriptor(race->executor);
    descriptor.assign(fd.get(), unwatchable);
    if (unwatchable) return race->fail_with(unwatchable.value());
    fd.release();
    const std::size_t index = race->attempts.size();
    race->attempts.push_back({std::move(descriptor), remote});
    ++race->running;
    race->attempts[index].descriptor.async_wait(asio::posix::stream_descriptor::wait_write,
                                                [race, index](const boost::system::error_code& error) {
                                                  if (!error && !race->attempts.empty()) race->settle(index);
                                                });
  }

  /// Closes all attempts, and a connection that was not used. The kernel may have connected any of them already: the
  /// target must not see a normal end.
  void close() {
    for (Attempt& each : attempts) {
      if (each.descriptor.is_open()) reset_on_close(each.descriptor.native_handle());
    }
    attempts.clear();
    if (connected && connected->fd) reset_on_close(connected->fd.get());
    connected.reset();
  }
};

Error dial_error(const Endpoint& target, std::size_t addresses, Failure failure, int error) {
  const std::string where = to_string(target) + (addresses > 1 ? fmt::format(" ({} addresses)", addresses) : "");
  switch (failure) {
    case Failure::refused:
      return {"dial.refused",
              fmt::format("{} refused the connection: nothing listens there, or a firewall rejects it", where)};
    case Failure::timed_out:
      return {"dial.timed_out",
              fmt::format("{} did not answer in time: the host is down, or a firewall drops the packets", where)};
    case Failure::no_local_port:
      return {"dial.no_local_port",
              fmt::format("no local port is left to connect to {}: too many connections to it are open or "
                          "were just closed; widen net.ipv4.ip_local_port_range",
                          where)};
    case Failure::no_descriptors:
      return {"dial.no_descriptors",
              fmt::format("cannot open a socket to {}: {}; raise the limit of open files (LimitNOFILE)", where,
                          std::strerror(error))};
    case Failure::unreachable: break;
  }
  return {"dial.unreachable",
          fmt::format("{} cannot be reached: {}; check routes and firewalls", where, std::strerror(error))};
}

/// Runs the race to its end: a connection, or the failure that says most.
asio::awaitable<Result<DialedSocket>> connect_first(asio::any_io_executor executor, const Endpoint& target,
                                                    const Addresses& addresses, Deadline deadline) {
  const auto race = std::make_shared<Race>(std::move(executor), addresses.size());
  struct CloseLosers {
    Race& race;
    ~CloseLosers() { race.close(); }
  };
  const CloseLosers close_losers{*race};
  std::size_t next = 0;
  Deadline next_start = Clock::now();
  while (!race->connected) {
    const auto now = Clock::now();
    if (now >= deadline) {
      co_return std::unexpected(dial_error(target, addresses.size(), Failure::timed_out, ETIMEDOUT));
    }
    if (next < addresses.size() && (race->running == 0 || now >= next_start)) {
      Race::start(race, {addresses[next++], target.port});
      next_start = now + attempt_stagger;
      continue;
    }
    if (const auto failure = race->failure; race->running == 0 && failure) {
      co_return std::unexpected(dial_error(target, addresses.size(), failure->first, failure->second));
    }
    race->woken.expires_at(next < addresses.size() ? std::min(deadline, next_start) : deadline);
    (void)co_await race->woken.async_wait(asio::as_tuple(asio::use_awaitable));
    co_await throw_if_stopped();
  }
  co_return std::move(race->connected).value();  // NOLINT(bugprone-unchecked-optional-access): the loop waited for it.
}

}  // namespace

Error dial_error(const Endpoint& target, int error) {
  return dial_error(target, 1, failure_of(error), error);
}

Dialer::Dialer(asio::any_io_executor executor, NameLookup lookup)
    : executor_(executor), resolver_(std::move(executor), std::move(lookup)) {}

asio::awaitable<Result<DialedSocket>> Dialer::dial(DialTarget target, Deadline deadline) {
  const auto start = Clock::now();
  Addresses addresses;
  boost::system::error_code not_literal;
  if (const auto literal = asio::ip::make_address(target.endpoint.host, not_literal); !not_literal) {
    addresses.push_back(literal);
  } else {
    auto resolved = co_await resolver_.resolve(target.endpoint.host, deadline);
    if (!resolved) co_return std::unexpected(resolved.error());
    addresses = std::move(*resolved);
  }
  for (auto& address : addresses) {
    address = plain(address);
    if (target.allows && !target.allows(address)) {
      co_return fail("dial.address_denied", fmt::format("{} leads to {}, which may not be dialled from here",
                                                        to_string(target.endpoint), address.to_string()));
    }
  }
  const Addresses ordered = interleave(addresses);
  auto connected = co_await connect_first(executor_, target.endpoint, ordered, deadline);
  if (connected) connected->took = Clock::now() - start;
  co_return connected;
}

}  // namespace culvert
