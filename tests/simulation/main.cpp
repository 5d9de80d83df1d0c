// SPDX-License-Identifier: Apache-2.0
// Two sessions over a bad connection, with a virtual clock and a seed. The first phase is chaos: random opens, ends,
// resets, stalled readers, late and torn bytes. Then the connection heals, and every stream must end in bounded time.
// Last the tunnel is closed or cut, and both sides must notice. A failure is a number: `simulation --seed N` replays
// it.
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include <unistd.h>

#include "protocol/limits.hpp"
#include "tests/simulation/fairness.hpp"
#include "tests/simulation/peer.hpp"

namespace culvert::simulation {
namespace {

using protocol::Reason;
using namespace std::chrono_literals;

class World {
 public:
  World(std::uint64_t seed, bool verbose)
      : random_(seed),
        agent_(Role::agent, options(Role::agent), random_, truth_, now_, verbose),
        server_(Role::server, options(Role::server), random_, truth_, now_, verbose),
        up_(random_),
        down_(random_) {}

  void run() {
    chaos();
    heal();
    finish();
  }

 private:
  protocol::SessionOptions options(Role role) {
    protocol::SessionOptions options;
    options.role = role;
    if (random_.chance(20)) options.streams_max = static_cast<std::uint32_t>(random_.between(1, 4));
    if (random_.chance(20)) options.stream_id_max = static_cast<StreamId>(random_.between(5, 60));
    return options;
  }

  /// Lets time pass, and then gives two turns, each to a side chosen at random.
  void step(Time duration) {
    now_ += duration;
    for (int turn = 0; turn < 2; ++turn) {
      const bool agents = random_.chance(50);
      Peer& peer = agents ? agent_ : server_;
      peer.read_from(agents ? down_ : up_);
      peer.keep_time();
      peer.act();
      peer.write_to(agents ? up_ : down_);
      peer.check_balance();
    }
    check_ends();
  }

  void chaos() {
    const std::uint64_t steps = random_.between(20, 300);
    const unsigned trouble = static_cast<unsigned>(random_.one_of({0, 1, 3}));
    for (std::uint64_t i = 0; i < steps && !is_over(); ++i) {
      step(Time(static_cast<Time::rep>(random_.below(random_.one_of({10, 3'000, 400'000})))));
      if (!random_.chance(trouble)) continue;
      const Time length = Time(static_cast<Time::rep>(random_.one_of({100, 3'000, 6'000, 20'000}) * 1'000));
      (random_.chance(50) ? up_ : down_).stall(now_ + length);
      may_time_out_ = may_time_out_ || length > 5s;
      if (random_.chance(10)) cut();
      if (random_.chance(5)) close();
    }
  }

  void heal() {
    agent_.heal();
    server_.heal();
    up_.heal();
    down_.heal();
    const Time begun = now_;
    while (!is_over() && !(agent_.is_idle() && server_.is_idle())) {
      step(5ms);
      if (now_ - begun > 60s) {
        throw Failure{"no progress after the connection healed; agent: " + agent_.describe() +
                      "; server: " + server_.describe()};
      }
    }
  }

  void finish() {
    if (!is_over()) {
      if (random_.chance(30)) {
        cut();
      } else {
        close();
      }
    }
    up_.heal();
    down_.heal();
    const Time begun = now_;
    while (!agent_.is_ended() || !server_.is_ended()) {
      step(20ms);
      if (now_ - begun > 20s) throw Failure{"one side did not notice the end of the tunnel"};
    }
  }

  void cut() {
    may_time_out_ = true;
    up_.cut();
    down_.cut();
  }
  void close() {
    may_close_ = true;
    (random_.chance(50) ? agent_ : server_).close(Reason::shutdown);
  }
  bool is_over() const { return may_close_ || agent_.is_ended() || server_.is_ended(); }

  void check_ends() const {
    for (const Peer* peer : {&agent_, &server_}) {
      if (!peer->is_ended()) continue;
      const bool timed_out = may_time_out_ && peer->end_reason() == Reason::timed_out;
      const bool closed = may_close_ && peer->end_reason() == Reason::shutdown;
      if (!timed_out && !closed) {
        throw Failure{"the tunnel ended without a cause: " + std::string(to_string(peer->end_reason()))};
      }
    }
  }

  Random random_;
  Truth truth_;
  Time now_{1'000'000};
  Peer agent_;
  Peer server_;
  Pipe up_;
  Pipe down_;
  bool may_time_out_ = false;
  bool may_close_ = false;
};

/// The signal handler reads it when a check() of the code under test aborts.
volatile std::sig_atomic_t current_seed = 0;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

void print_seed(int) {
  char text[64];
  const int size = std::snprintf(text, sizeof text, "simulation: seed %d aborted\n", static_cast<int>(current_seed));
  (void)!write(STDERR_FILENO, text, static_cast<std::size_t>(size));
}

bool passes(std::uint64_t seed, bool verbose, const char* program) {
  current_seed = static_cast<std::sig_atomic_t>(seed);
  try {
    World(seed, verbose).run();
    if (seed % 16 == 0) check_fairness(seed);
    return true;
  } catch (const Failure& failure) {
    std::printf("simulation: seed %llu failed: %s\n  replay: %s --seed %llu\n", static_cast<unsigned long long>(seed),
                failure.text.c_str(), program, static_cast<unsigned long long>(seed));
    return false;
  }
}

}  // namespace
}  // namespace culvert::simulation

int main(int argc, char** argv) {
  std::uint64_t count = 2'000;
  std::uint64_t first = 1;
  bool verbose = false;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view option = argv[i];
    if (i + 1 == argc || (option != "--seeds" && option != "--first" && option != "--seed")) {
      std::fprintf(stderr, "usage: %s [--seeds N] [--first S] | --seed S (one run, with a log of each step)\n",
                   argv[0]);
      return 2;
    }
    const std::uint64_t value = std::strtoull(argv[i + 1], nullptr, 10);
    if (option == "--seeds") count = value;
    if (option != "--seeds") first = value;
    if (option == "--seed") {
      count = 1;
      verbose = true;
    }
  }
  (void)std::signal(SIGABRT, culvert::simulation::print_seed);
  std::uint64_t failed = 0;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    if (!culvert::simulation::passes(seed, verbose, argv[0])) ++failed;
  }
  std::printf("simulation: %llu seeds, %llu failed\n", static_cast<unsigned long long>(count),
              static_cast<unsigned long long>(failed));
  return failed == 0 ? 0 : 1;
}
