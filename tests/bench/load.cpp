// SPDX-License-Identifier: Apache-2.0
// The load of the benchmark and of the churn test: clients, and the back end that they reach through a tunnel. It is
// cheap, so that the cores are left to what is measured. A connection begins with a request of 64 bytes, whose first
// byte is a Kind (backend.hpp). A client prints one line of JSON; on an error it prints a line to standard error and
// exits with status 1.
//
//   load backend PORT
//   load bulk PORT down|up STREAMS SECONDS [STALLED]   endless streams, and STALLED more, which nobody reads
//   load abandon PORT down|up STREAMS SECONDS          the same; closed at once at the end, with bytes under way
//   load latency PORT SECONDS                          one connection, a request after each answer
//   load connections PORT SECONDS [COUNT]              connect, one request, end; 16 at once, at most COUNT
//   load churn PORT RATE SECONDS                       the same, RATE per second
//   load idle PORT STREAMS                             a request each, then silence until standard input ends
#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <iostream>
#include <limits>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <unordered_map>
#include <vector>

#include <fmt/core.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "tests/bench/backend.hpp"
#include "tests/bench/sockets.hpp"

namespace culvert::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;
using namespace std::chrono_literals;

constexpr std::size_t connections_at_once = 16;
constexpr std::size_t churn_at_once_max = 100;  // below the limits of both programs
constexpr std::size_t idle_at_once = 64;
constexpr Seconds late_max = 20s;         // patience with streams that are open when the time is up
constexpr Seconds stall_time_max = 0.5s;  // until the buffers of a stream that nobody reads are full

void send_request(int socket, Kind kind) {
  std::array<char, request_bytes> request{};
  request[0] = static_cast<char>(kind);
  if (send_some(socket, request) != request.size()) throw std::runtime_error("a request was not taken at once");
}

void await_answer(int socket) {
  std::array<char, answer_bytes> answer{};
  const ssize_t got = ::recv(socket, answer.data(), answer.size(), MSG_WAITALL);
  if (got < 0) fail_by_errno("recv");
  if (got != static_cast<ssize_t>(answer.size())) throw std::runtime_error("a stream ended instead of answering");
}

/// Many endless streams one way, on one thread.
class Bulk {
 public:
  Bulk(std::uint16_t port, bool up) : port_(port), up_(up) {}

  /// Nobody reads a stalled stream: up, the back end does not; down, this side does not.
  void open(std::size_t count, bool stalled) {
    for (std::size_t i = 0; i < count; ++i) {
      Stream& stream = streams_.emplace_back(Stream{.socket = dial(port_, 0), .stalled = stalled});
      send_request(stream.socket.number(), !up_ ? Kind::source : stalled ? Kind::stall : Kind::sink);
      set_nonblocking(stream.socket.number());
      if (up_ || !stalled) poller_.add(stream.socket.number(), up_ ? EPOLLOUT : EPOLLIN, streams_.size() - 1);
    }
  }

  void run_until(Clock::time_point end) {
    while (Clock::now() < end) {
      for (const epoll_event& event : poller_.wait(10)) {
        if (!carry(streams_[event.data.u64])) throw std::runtime_error("a stream ended before its time");
      }
    }
  }

  bool has_carried() const {
    return std::ranges::any_of(streams_, [](const Stream& stream) { return !stream.stalled && stream.bytes > 0; });
  }

  /// How many bytes this side has sent or received.
  std::uint64_t bytes() const {
    return std::accumulate(streams_.begin(), streams_.end(), std::uint64_t{0},
                           [](std::uint64_t sum, const Stream& stream) { return sum + stream.bytes; });
  }

  /// Ends all streams but the stalled ones by a half-close. Returns how many bytes they carried from end to end.
  std::uint64_t finish() {
    const auto late = Clock::now() + late_max;
    std::size_t open = 0;
    for (Stream& stream : streams_) {
      if (stream.stalled) continue;
      ::shutdown(stream.socket.number(), SHUT_WR);
      if (up_) poller_.modify(stream.socket.number(), EPOLLIN, static_cast<std::uint64_t>(&stream - streams_.data()));
      ++open;
    }
    std::uint64_t bytes = 0;
    while (open > 0) {
      if (Clock::now() > late) throw std::runtime_error("a stream did not end after its half-close");
      for (const epoll_event& event : poller_.wait(10)) {
        Stream& stream = streams_[event.data.u64];
        if (stream.stalled || (up_ ? !is_counted(stream) : carry(stream))) continue;
        poller_.remove(stream.socket.number());
        bytes += stream.bytes;
        --open;
      }
    }
    return bytes;
  }

 private:
  struct Stream {
    Descriptor socket;
    bool stalled = false;
    std::uint64_t bytes = 0;
  };

  /// False: the stream has ended.
  bool carry(Stream& stream) const {
    if (up_) {
      stream.bytes += send_some(stream.socket.number(), chunk());
      return true;
    }
    const ssize_t got = ::recv(stream.socket.number(), chunk().data(), chunk().size(), 0);
    if (got < 0 && errno != EAGAIN) fail_by_errno("recv");
    stream.bytes += static_cast<std::uint64_t>(std::max<ssize_t>(got, 0));
    return got != 0;
  }

  /// Whether the back end has reported how many bytes arrived. They must be as many as were sent.
  static bool is_counted(const Stream& stream) {
    std::uint64_t count = 0;
    const ssize_t got = ::recv(stream.socket.number(), &count, sizeof count, 0);
    if (got < 0 && errno == EAGAIN) return false;
    if (got < 0) fail_by_errno("recv");
    if (got != sizeof count) throw std::runtime_error("a stream ended without the count of its bytes");
    if (count != stream.bytes) throw std::runtime_error(fmt::format("{} of {} bytes arrived", count, stream.bytes));
    return true;
  }

  std::uint16_t port_;
  bool up_;
  Poller poller_;
  std::vector<Stream> streams_;
};

/// Connections that each send one request. With a rate, that many begin each second; with 0, as many as possible, 16 at
/// once. At most `count_max` begin.
class Connections {
 public:
  Connections(std::uint16_t port, double rate, std::size_t count_max)
      : port_(port), rate_(rate), count_max_(count_max) {}

  void run(Seconds duration) {
    const auto started = Clock::now();
    const auto end = started + std::chrono::duration_cast<Clock::duration>(duration);
    for (auto now = started; (now < end && begun_ < count_max_) || !open_.empty(); now = Clock::now()) {
      if (now > end + late_max) throw std::runtime_error(fmt::format("{} connections hang", open_.size()));
      while (now < end && may_begin(now - started)) begin();
      for (const epoll_event& event : poller_.wait(1)) advance(static_cast<int>(event.data.u64));
    }
  }

  std::vector<double>& microseconds() { return microseconds_; }

 private:
  struct Attempt {
    Descriptor socket;
    Clock::time_point began;
    bool asked = false;
    std::size_t bytes = 0;
  };

  bool may_begin(Seconds elapsed) const {
    if (begun_ >= count_max_) return false;
    if (rate_ == 0) return open_.size() < connections_at_once;
    return static_cast<double>(begun_) < elapsed.count() * rate_ && open_.size() < churn_at_once_max;
  }

  void begin() {
    const auto began = Clock::now();
    Descriptor socket = dial(port_, SOCK_NONBLOCK);
    const int number = socket.number();
    poller_.add(number, EPOLLIN | EPOLLOUT | EPOLLET, static_cast<std::uint64_t>(number));
    open_.emplace(number, Attempt{.socket = std::move(socket), .began = began});
    ++begun_;
  }

  void advance(int number) {
    Attempt& attempt = open_.at(number);
    if (!attempt.asked) {
      send_request(number, Kind::once);
      attempt.asked = true;
    }
    std::array<char, answer_bytes + 1> answer{};
    ssize_t got = 0;
    while ((got = ::recv(number, answer.data(), answer.size(), 0)) > 0) {
      attempt.bytes += static_cast<std::size_t>(got);
      if (attempt.bytes != answer_bytes) continue;
      microseconds_.push_back(Seconds(Clock::now() - attempt.began) / Seconds(1us));
    }
    if (got < 0 && errno == EAGAIN) return;
    if (got < 0) fail_by_errno("recv");
    if (attempt.bytes != answer_bytes) throw std::runtime_error("a connection ended without its answer");
    open_.erase(number);
  }

  std::uint16_t port_;
  double rate_;
  std::size_t count_max_;
  std::size_t begun_ = 0;
  Poller poller_;
  std::unordered_map<int, Attempt> open_;
  std::vector<double> microseconds_;
};

/// `microseconds` must not be empty, and is sorted.
void print_latencies(std::vector<double>& microseconds, Seconds elapsed) {
  if (microseconds.empty()) throw std::runtime_error("no request was answered");
  std::ranges::sort(microseconds);
  const auto percentile = [&](std::size_t percent) { return microseconds[microseconds.size() * percent / 100]; };
  fmt::print("{{\"count\": {}, \"seconds\": {:.3f}, \"p50_us\": {:.1f}, \"p99_us\": {:.1f}}}\n", microseconds.size(),
             elapsed.count(), percentile(50), percentile(99));
}

/// Of abandoned streams the bytes are those that this side has sent or received.
void run_bulk(std::uint16_t port, bool up, std::size_t streams, Seconds duration, std::size_t stalled,
              bool abandons = false) {
  Bulk bulk(port, up);
  if (stalled > 0) {
    bulk.open(stalled, true);
    bulk.run_until(Clock::now() + std::chrono::duration_cast<Clock::duration>(std::min(stall_time_max, duration)));
  }
  const auto started = Clock::now();
  bulk.open(streams, false);
  const auto end = started + std::chrono::duration_cast<Clock::duration>(duration);
  bulk.run_until(end);
  while (!bulk.has_carried()) {
    if (Clock::now() > end + late_max) throw std::runtime_error("no byte arrived");
    bulk.run_until(Clock::now() + 10ms);
  }
  const std::uint64_t bytes = abandons ? bulk.bytes() : bulk.finish();
  fmt::print("{{\"bytes\": {}, \"seconds\": {:.3f}}}\n", bytes, Seconds(Clock::now() - started).count());
}

void run_latency(std::uint16_t port, Seconds duration) {
  const Descriptor socket = dial(port, 0);
  std::vector<double> microseconds;
  const auto started = Clock::now();
  auto now = started;
  while (now - started < duration) {
    send_request(socket.number(), Kind::query);
    await_answer(socket.number());
    const auto answered = Clock::now();
    microseconds.push_back(Seconds(answered - now) / Seconds(1us));
    now = answered;
  }
  print_latencies(microseconds, now - started);
}

void run_connections(std::uint16_t port, double rate, Seconds duration,
                     std::size_t count_max = std::numeric_limits<std::size_t>::max()) {
  Connections connections(port, rate, count_max);
  const auto started = Clock::now();
  connections.run(duration);
  print_latencies(connections.microseconds(), Clock::now() - started);
}

void run_idle(std::uint16_t port, std::size_t count) {
  std::vector<Descriptor> streams;
  while (streams.size() < count) {
    const std::size_t first = streams.size();
    for (std::size_t i = first; i < std::min(count, first + idle_at_once); ++i) {
      streams.push_back(dial(port, 0));
      send_request(streams.back().number(), Kind::query);
    }
    for (const Descriptor& stream : std::span(streams).subspan(first)) await_answer(stream.number());
  }
  fmt::print("{{\"streams\": {}}}\n", streams.size());
  std::fflush(stdout);
  std::cin.ignore(std::numeric_limits<std::streamsize>::max());
}

template <typename Number>
Number number_of(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < Number{}) {
    throw std::runtime_error(fmt::format("'{}' is not a number that fits here", text));
  }
  return number;
}

void run(std::span<const std::string_view> words) {
  const auto is = [&](std::string_view name, std::size_t least, std::size_t most) {
    return words.size() >= least && words.size() <= most && words[0] == name;
  };
  const auto port = words.size() > 1 ? number_of<std::uint16_t>(words[1]) : std::uint16_t{0};
  const auto count = [&](std::size_t at) { return number_of<std::size_t>(words[at]); };
  const auto seconds = [&](std::size_t at) { return Seconds(number_of<double>(words[at])); };
  if (is("backend", 2, 2)) run_backend(port);
  if (is("bulk", 5, 6) && (words[2] == "up" || words[2] == "down")) {
    return run_bulk(port, words[2] == "up", count(3), seconds(4), words.size() > 5 ? count(5) : 0);
  }
  if (is("abandon", 5, 5) && (words[2] == "up" || words[2] == "down")) {
    return run_bulk(port, words[2] == "up", count(3), seconds(4), 0, true);
  }
  if (is("latency", 3, 3)) return run_latency(port, seconds(2));
  if (is("connections", 3, 3)) return run_connections(port, 0, seconds(2));
  if (is("connections", 4, 4)) return run_connections(port, 0, seconds(2), count(3));
  if (is("churn", 4, 4)) return run_connections(port, number_of<double>(words[2]), seconds(3));
  if (is("idle", 3, 3)) return run_idle(port, count(2));
  throw std::runtime_error("wrong arguments; see the comment at the top of load.cpp");
}

/// Thousands of streams need a descriptor at each end.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) fail_by_errno("getrlimit");
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) fail_by_errno("setrlimit");
}

}  // namespace
}  // namespace culvert::bench

int main(int count, char** arguments) {
  try {
    culvert::bench::raise_descriptor_limit();
    const std::vector<std::string_view> words(arguments + 1, arguments + count);
    culvert::bench::run(words);
  } catch (const std::exception& error) {
    fmt::print(stderr, "load: {}\n", error.what());
    return 1;
  }
}
