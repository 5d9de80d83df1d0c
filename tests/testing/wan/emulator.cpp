// SPDX-License-Identifier: Apache-2.0
// A wide area network between two network namespaces, in user space (many kernels come without tc's netem):
//
//   emulator --delay-ms 40 --rate-mbit 200 --loss-percent 0.1 [--queue-ms 100] [--seed 1]
//
// It makes two namespaces without a name, gives each a TUN device (198.18.0.1 and 198.18.0.2 of RFC 2544's benchmark
// network, which is not routed), and prints two files for `nsenter --net=FILE`. Then it carries IP packets between them
// until its standard input ends: random loss, then a bottleneck with a tail-drop queue, then delay. TCP at both ends is
// the kernel's. Nothing has to be removed afterwards, even after SIGKILL: each namespace ends with the last process in
// it.

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/net/unique_fd.hpp"

namespace culvert::testing {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::nanoseconds;

constexpr int mtu_bytes = 1'500;
/// Queue of each TUN device, so that the kernel drops no packet in a burst: the only bottleneck is the emulated one.
constexpr int device_queue_packets = 10'000;
/// Packets of one direction before the other direction's turn.
constexpr int packets_per_turn_max = 256;

struct Settings {
  double delay_ms = 0;      ///< one way
  double rate_mbit = 0;     ///< 0: no bottleneck
  double loss_percent = 0;  ///< in each direction
  double queue_ms = 100;    ///< length of the bottleneck's queue, as time
  double seed = 1;          ///< of the random losses
};

[[noreturn]] void give_up(const std::string& what) {
  std::fprintf(stderr, "emulator: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(1);
}

nanoseconds from_milliseconds(double value) {
  return nanoseconds(std::llround(value * 1e6));
}

/// One direction. Loss and departure time of a packet are decided when it arrives.
class Line {
 public:
  Line(const Settings& settings, std::uint64_t seed)
      : delay_(from_milliseconds(settings.delay_ms)),
        queue_(from_milliseconds(settings.queue_ms)),
        nanoseconds_per_byte_(settings.rate_mbit > 0 ? 8'000 / settings.rate_mbit : 0),
        random_(seed),
        is_lost_(settings.loss_percent / 100) {}

  void take(std::span<const std::byte> packet, Clock::time_point now) {
    if (is_lost_(random_)) return;
    const Clock::time_point start = std::max(bottleneck_free_, now);
    if (start - now > queue_) return;
    const double passage = nanoseconds_per_byte_ * static_cast<double>(packet.size());
    bottleneck_free_ = start + nanoseconds(std::llround(passage));
    packets_.push_back({bottleneck_free_ + delay_, {packet.begin(), packet.end()}});
  }

  /// Departure time of the next packet; max() if there is none.
  Clock::time_point due() const { return packets_.empty() ? Clock::time_point::max() : packets_.front().due; }
  std::span<const std::byte> front() const { return packets_.front().bytes; }
  void pop() { packets_.pop_front(); }

 private:
  struct Packet {
    Clock::time_point due;
    std::vector<std::byte> bytes;
  };

  nanoseconds delay_;
  nanoseconds queue_;
  double nanoseconds_per_byte_;
  std::mt19937_64 random_;
  std::bernoulli_distribution is_lost_;
  Clock::time_point bottleneck_free_;
  std::deque<Packet> packets_;
};

/// A namespace with one end of the emulated network.
struct Place {
  UniqueFd name_space;
  UniqueFd device;
};

void configure(int socket, unsigned long request, ifreq& what, std::string_view name) {
  if (::ioctl(socket, request, &what) != 0) give_up(std::string(name));
}

ifreq request_for(std::string_view device) {
  ifreq request{};
  std::ranges::copy(device, std::begin(request.ifr_name));
  return request;
}

ifreq request_for(std::string_view device, const char* address) {
  ifreq request = request_for(device);
  sockaddr_in value{};
  value.sin_family = AF_INET;
  ::inet_pton(AF_INET, address, &value.sin_addr);
  std::memcpy(&request.ifr_addr, &value, sizeof value);
  return request;
}

void bring_up(int socket, std::string_view device) {
  ifreq request = request_for(device);
  configure(socket, SIOCGIFFLAGS, request, "SIOCGIFFLAGS");
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP | IFF_RUNNING);
  configure(socket, SIOCSIFFLAGS, request, "SIOCSIFFLAGS");
}

/// This process stays in the new namespace, which is harmless: it works through descriptors.
Place make_place(const char* address, const char* peer) {
  constexpr std::string_view name = "wan0";
  if (::unshare(CLONE_NEWNET) != 0) give_up("cannot make a network namespace (are you root?)");
  Place place{UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY)),
              UniqueFd(::open("/dev/net/tun", O_RDWR | O_NONBLOCK))};
  if (!place.name_space) give_up("/proc/thread-self/ns/net");
  if (!place.device) give_up("/dev/net/tun");
  ifreq request = request_for(name);
  request.ifr_flags = IFF_TUN | IFF_NO_PI;
  configure(place.device.get(), TUNSETIFF, request, "TUNSETIFF");

  const UniqueFd socket(::socket(AF_INET, SOCK_DGRAM, 0));
  request = request_for(name, address);
  configure(socket.get(), SIOCSIFADDR, request, "SIOCSIFADDR");
  request = request_for(name, peer);
  configure(socket.get(), SIOCSIFDSTADDR, request, "SIOCSIFDSTADDR");
  request = request_for(name);
  request.ifr_mtu = mtu_bytes;
  configure(socket.get(), SIOCSIFMTU, request, "SIOCSIFMTU");
  request = request_for(name);
  request.ifr_qlen = device_queue_packets;
  configure(socket.get(), SIOCSIFTXQLEN, request, "SIOCSIFTXQLEN");
  bring_up(socket.get(), name);
  bring_up(socket.get(), "lo");
  return place;
}

void read_packets(int device, Line& line) {
  std::array<std::byte, mtu_bytes> packet{};
  for (int i = 0; i < packets_per_turn_max; ++i) {
    const ssize_t size = ::read(device, packet.data(), packet.size());
    if (size <= 0) return;
    line.take(std::span(packet).first(static_cast<std::size_t>(size)), Clock::now());
  }
}

void write_due_packets(Line& line, int device) {
  while (line.due() <= Clock::now()) {
    // A packet that the other kernel refuses (its device is down) is lost, as on any network.
    (void)!::write(device, line.front().data(), line.front().size());
    line.pop();
  }
}

void wait(std::span<pollfd> watched, Clock::time_point due) {
  using namespace std::chrono_literals;
  const nanoseconds left = std::clamp<nanoseconds>(due - Clock::now(), 0s, 1s);
  const timespec time{.tv_sec = left / 1s, .tv_nsec = (left % 1s).count()};
  ::ppoll(watched.data(), watched.size(), &time, nullptr);
}

void carry(const Place& here, const Place& there, const Settings& settings) {
  const auto seed = static_cast<std::uint64_t>(settings.seed);
  Line forth(settings, 2 * seed);
  Line back(settings, 2 * seed + 1);
  std::array<pollfd, 3> watched{pollfd{.fd = here.device.get(), .events = POLLIN, .revents = 0},
                                pollfd{.fd = there.device.get(), .events = POLLIN, .revents = 0},
                                pollfd{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0}};
  while (watched[2].revents == 0) {
    read_packets(here.device.get(), forth);
    read_packets(there.device.get(), back);
    write_due_packets(forth, there.device.get());
    write_due_packets(back, here.device.get());
    wait(watched, std::min(forth.due(), back.due()));
  }
}

Settings read_settings(std::span<char*> arguments) {
  Settings settings;
  for (std::size_t i = 1; i < arguments.size(); i += 2) {
    const std::string_view name = arguments[i];
    double* value = name == "--delay-ms"       ? &settings.delay_ms
                    : name == "--rate-mbit"    ? &settings.rate_mbit
                    : name == "--loss-percent" ? &settings.loss_percent
                    : name == "--queue-ms"     ? &settings.queue_ms
                    : name == "--seed"         ? &settings.seed
                                               : nullptr;
    char* end = nullptr;
    if (value != nullptr && i + 1 < arguments.size()) *value = std::strtod(arguments[i + 1], &end);
    if (end == nullptr || *end != '\0' || !(*value >= 0) || settings.loss_percent > 100) {
      std::fprintf(stderr, "emulator: at %s: see the first lines of the source\n", arguments[i]);
      std::exit(2);
    }
  }
  return settings;
}

int run(std::span<char*> arguments) {
  const Settings settings = read_settings(arguments);
  const Place here = make_place("198.18.0.1", "198.18.0.2");
  const Place there = make_place("198.18.0.2", "198.18.0.1");
  // A packet that is delayed too long looks like a longer path, and ends TCP's slow start at a fraction of the speed.
  ::prctl(PR_SET_TIMERSLACK, 1'000UL);
  const sched_param first{.sched_priority = 1};
  (void)::sched_setscheduler(0, SCHED_FIFO, &first);
  std::printf("/proc/%d/fd/%d /proc/%d/fd/%d\n", ::getpid(), here.name_space.get(), ::getpid(), there.name_space.get());
  std::fflush(stdout);
  carry(here, there, settings);
  return 0;
}

}  // namespace
}  // namespace culvert::testing

int main(int count, char** arguments) {
  return culvert::testing::run({arguments, static_cast<std::size_t>(count)});
}
