// SPDX-License-Identifier: Apache-2.0
#include "common/ports/listener.hpp"

#include <atomic>
#include <chrono>
#include <future>
#include <set>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/wait.h>

#include "tests/testing/mailbox.hpp"
#include "tests/testing/sockets.hpp"

namespace culvert {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using testing::connected_socket;
using testing::loopback;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

struct Accepted {
  Worker* worker;
  bool on_its_thread;
  UniqueFd fd;
  tcp::endpoint peer;
};

/// A listener on two workers. The test's thread receives its events.
class ListenerTest : public ::testing::Test {
 protected:
  ~ListenerTest() override {
    listener_.reset();
    for (Worker* worker : workers_) worker->stop();
    for (Worker* worker : workers_) worker->join();
  }

  void open(Admits admits = {}, const tcp::endpoint& local = loopback()) {
    ListenerEvents events;
    events.on_accept = [this](Worker& worker, UniqueFd fd, const tcp::endpoint& peer) {
      accepted_.put({&worker, worker.is_current(), std::move(fd), peer});
    };
    events.on_refused = [this](Worker&, const tcp::endpoint& peer) { refused_.put(peer); };
    events.on_exhausted = [this](Worker&, std::uint64_t times) { exhausted_.put(times); };
    auto opened = Listener::open(local, workers_, std::move(events), std::move(admits));
    ASSERT_TRUE(opened) << opened.error().text;
    listener_ = std::move(*opened);
    listener_->start();
    endpoint_ = listener_->local_endpoint();
  }

  void start() {
    for (Worker* worker : workers_) worker->start();
  }

  /// Returns once the workers have run all that was posted to them.
  void settle() {
    for (Worker* worker : workers_) settle(worker);
  }
  void settle(Worker* worker) {
    std::promise<void> ran;
    worker->post([&] { ran.set_value(); });
    ASSERT_EQ(ran.get_future().wait_for(5s), std::future_status::ready);
  }

  testing::Mailbox<Accepted> accepted_;
  testing::Mailbox<tcp::endpoint> refused_;
  testing::Mailbox<std::uint64_t> exhausted_;
  Worker first_{0};
  Worker second_{1};
  std::vector<Worker*> workers_{&first_, &second_};
  std::unique_ptr<Listener> listener_;
  tcp::endpoint endpoint_;
};

TEST_F(ListenerTest, accepts_each_connection_once_on_the_worker_it_names) {
  open();
  start();
  std::set<std::uint16_t> ports;
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 300; ++i) {
    clients.push_back(connected_socket(endpoint_));
    ASSERT_TRUE(clients.back());
    ports.insert(local_endpoint_of(clients.back().get()).port());
  }
  while (!ports.empty()) {
    const auto accepted = accepted_.take();
    ASSERT_TRUE(accepted);
    EXPECT_TRUE(accepted->on_its_thread);
    EXPECT_EQ(ports.erase(accepted->peer.port()), 1u);
  }
  EXPECT_EQ(accepted_.size(), 0u);
}

TEST_F(ListenerTest, gives_sockets_that_never_block_nor_leak_nor_delay) {
  open();
  start();
  const UniqueFd client = connected_socket(endpoint_);
  const auto accepted = accepted_.take();
  ASSERT_TRUE(accepted);
  EXPECT_NE(::fcntl(accepted->fd.get(), F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(::fcntl(accepted->fd.get(), F_GETFD) & FD_CLOEXEC, 0);
  int no_delay = 0;
  socklen_t size = sizeof no_delay;
  ::getsockopt(accepted->fd.get(), IPPROTO_TCP, TCP_NODELAY, &no_delay, &size);
  EXPECT_EQ(no_delay, 1);
}

TEST_F(ListenerTest, serves_both_families_on_the_unspecified_address_and_calls_an_ipv4_peer_by_its_ipv4_name) {
  const auto admits = [](const asio::ip::address& source) { return source == asio::ip::make_address("127.0.0.1"); };
  open(admits, loopback(0, "::"));
  start();
  const UniqueFd client = connected_socket(loopback(endpoint_.port()));
  const auto accepted = accepted_.take();
  ASSERT_TRUE(accepted);
  EXPECT_EQ(accepted->peer, local_endpoint_of(client.get()));
  const UniqueFd other = connected_socket(loopback(endpoint_.port(), "::1"));
  EXPECT_TRUE(refused_.take());
}

TEST_F(ListenerTest, reports_that_a_port_is_in_use_and_how_to_find_the_other_program) {
  open();
  const auto again = Listener::open(endpoint_, workers_, {});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, "listen.in_use");
  EXPECT_NE(again.error().text.find("ss -ltnp"), std::string::npos);
  EXPECT_NE(again.error().text.find(to_text(endpoint_)), std::string::npos);
}

TEST_F(ListenerTest, reports_that_an_address_is_not_of_this_machine) {
  const auto opened = Listener::open(loopback(0, "192.0.2.1"), workers_, {});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, "listen.refused");
  EXPECT_NE(opened.error().text.find("192.0.2.1:0"), std::string::npos);
}

TEST_F(ListenerTest, closes_a_source_that_is_not_admitted_without_a_reset) {
  open([](const asio::ip::address&) { return false; });
  const UniqueFd client = connected_socket(endpoint_);
  // Sent before the workers accept: unread bytes would turn a close into a reset.
  ASSERT_EQ(::send(client.get(), "hello", 5, 0), 5);
  start();
  const auto peer = refused_.take();
  ASSERT_TRUE(peer);
  EXPECT_EQ(*peer, local_endpoint_of(client.get()));
  char byte = 0;
  EXPECT_EQ(::recv(client.get(), &byte, 1, 0), 0);
  EXPECT_EQ(accepted_.size(), 0u);
}

TEST_F(ListenerTest, takes_a_new_list_of_admitted_sources_while_it_runs) {
  open([](const asio::ip::address&) { return false; });
  start();
  const UniqueFd early = connected_socket(endpoint_);
  ASSERT_TRUE(refused_.take());
  listener_->set_admits([](const asio::ip::address& source) { return source.is_loopback(); });
  settle();
  const UniqueFd late = connected_socket(endpoint_);
  EXPECT_TRUE(accepted_.take());
}

TEST_F(ListenerTest, frees_its_port_when_it_is_closed) {
  open();
  start();
  const UniqueFd client = connected_socket(endpoint_);
  ASSERT_TRUE(accepted_.take());
  listener_->close();
  settle();
  EXPECT_FALSE(connected_socket(endpoint_));
  EXPECT_EQ(errno, ECONNREFUSED);
  EXPECT_TRUE(Listener::open(endpoint_, workers_, {}));
}

TEST_F(ListenerTest, gives_nothing_to_a_worker_that_stopped_while_another_is_still_busy) {
  open();
  start();
  settle();
  std::promise<void> release;
  second_.post([&] { release.get_future().wait(); });
  listener_->close();
  settle(&first_);
  const UniqueFd client = connected_socket(endpoint_);
  EXPECT_TRUE(client) << "the busy worker still holds the port";
  settle(&first_);
  EXPECT_EQ(accepted_.size(), 0u);
  release.set_value();
  settle();
  EXPECT_FALSE(connected_socket(endpoint_));
}

TEST_F(ListenerTest, may_end_before_its_workers_start) {
  open();
  listener_.reset();
  start();
  settle();
  EXPECT_FALSE(connected_socket(endpoint_));
}

/// Another process that makes `count` connections and holds them: in this process they would use up the descriptors
/// that the listener must run out of.
class Crowd {
 public:
  Crowd(const tcp::endpoint& remote, int count) {
    int ends[2] = {-1, -1};
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      // No descriptor may stay open here, not even the listening socket.
      ::dup2(ends[0], STDIN_FILENO);
      ::close_range(STDERR_FILENO + 1, ~0u, 0);
      for (int i = 0; i < count; ++i) (void)connected_socket(remote).release();
      char byte = 0;
      (void)::read(STDIN_FILENO, &byte, 1);
      ::_exit(0);
    }
    ::close(ends[0]);
    leave_ = UniqueFd(ends[1]);
  }
  Crowd(const Crowd&) = delete;
  Crowd& operator=(const Crowd&) = delete;
  ~Crowd() {
    leave_.close();
    ::waitpid(pid_, nullptr, 0);
  }

 private:
  pid_t pid_ = -1;
  UniqueFd leave_;
};

std::chrono::microseconds cpu_time() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return std::chrono::seconds(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         std::chrono::microseconds(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

// docs/threat-model.md C9.
TEST_F(ListenerTest, neither_spins_nor_dies_without_descriptors_and_recovers_within_a_second) {
  open();
  const Crowd crowd(endpoint_, 500);
  UniqueFd late(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  {
    const testing::DescriptorLimit limit(40);
    start();
    ASSERT_TRUE(exhausted_.take());
    const auto since = Clock::now();
    const auto cpu_since = cpu_time();
    ASSERT_TRUE(exhausted_.take());
    const auto elapsed = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - since);
    EXPECT_GE(elapsed, 990ms) << "more than one report per second";
    EXPECT_LT((cpu_time() - cpu_since) * 10, elapsed);
    EXPECT_LT(accepted_.size(), 45u);
    EXPECT_GT(listener_->exhausted_count(), 10u);
    // From now on, connections that wait are closed.
    ASSERT_EQ(::connect(late.get(), endpoint_.data(), static_cast<socklen_t>(endpoint_.size())), 0);
    const timeval bound{5, 0};
    ::setsockopt(late.get(), SOL_SOCKET, SO_RCVTIMEO, &bound, sizeof bound);
    char byte = 0;
    EXPECT_EQ(::recv(late.get(), &byte, 1, 0), 0);
  }
  accepted_.clear();
  const auto freed = Clock::now();
  // A worker that is closing waiting connections right now may close the first client too, so try more than one.
  std::optional<Accepted> accepted;
  for (int attempt = 0; attempt < 5 && !accepted; ++attempt) {
    const UniqueFd client = connected_socket(endpoint_);
    accepted = accepted_.take(180ms);
  }
  EXPECT_TRUE(accepted);
  EXPECT_LT(Clock::now() - freed, 1s);
}

TEST_F(ListenerTest, closes_while_it_pauses_without_descriptors) {
  open();
  const Crowd crowd(endpoint_, 100);
  const testing::DescriptorLimit limit(10);
  start();
  ASSERT_TRUE(exhausted_.take());
  listener_->close();
  settle();
  accepted_.clear();
  EXPECT_FALSE(connected_socket(endpoint_));
}

}  // namespace
}  // namespace culvert
