// SPDX-License-Identifier: Apache-2.0
#include "common/net/worker.hpp"

#include <future>

#include <gtest/gtest.h>
#include <sys/socket.h>

#include "common/net/unique_fd.hpp"

namespace culvert {
namespace {

/// Runs `task` on the worker and waits for it.
void run(Worker& worker, std::function<void()> task) {
  std::promise<void> done;
  worker.post([&] {
    task();
    done.set_value();
  });
  done.get_future().get();
}

class Counting final : public TurnEnd {
 public:
  explicit Counting(std::function<void()> then = {}) : then_(std::move(then)) {}
  void on_turn_end() override {
    ++calls;
    if (then_) then_();
  }
  int calls = 0;

 private:
  std::function<void()> then_;
};

struct Fixture : ::testing::Test {
  Fixture() { worker.start(); }
  ~Fixture() override {
    worker.stop();
    worker.join();
  }
  /// After two posts, the end of the first one's turn has passed.
  void settle() {
    for (int i = 0; i < 3; ++i) run(worker, [] {});
  }
  Worker worker{0};
};

using WorkerTurn = Fixture;

TEST_F(WorkerTurn, calls_everybody_once_who_asked) {
  Counting first;
  Counting second;
  run(worker, [&] {
    worker.at_end_of_turn(first);
    worker.at_end_of_turn(second);
    EXPECT_EQ(first.calls, 0);
  });
  settle();
  EXPECT_EQ(first.calls, 1);
  EXPECT_EQ(second.calls, 1);
}

TEST_F(WorkerTurn, who_asks_again_is_called_in_the_next_one) {
  Counting* self = nullptr;
  std::promise<void> enough;
  Counting again([&] {
    if (self->calls == 3) return enough.set_value();
    worker.at_end_of_turn(*self);
  });
  self = &again;
  run(worker, [&] { worker.at_end_of_turn(again); });
  ASSERT_EQ(enough.get_future().wait_for(std::chrono::seconds(5)), std::future_status::ready);
  settle();
  EXPECT_EQ(again.calls, 3);
}

TEST_F(WorkerTurn, forgets_who_dies_before_it_ends) {
  Counting dead;
  run(worker, [&] {
    worker.at_end_of_turn(dead);
    worker.forget(dead);
  });
  settle();
  EXPECT_EQ(dead.calls, 0);
}

TEST_F(WorkerTurn, forgets_who_is_killed_by_another_of_the_same_turn) {
  Counting victim;
  Counting killer([&] { worker.forget(victim); });
  run(worker, [&] {
    worker.at_end_of_turn(killer);
    worker.at_end_of_turn(victim);
  });
  settle();
  EXPECT_EQ(killer.calls, 1);
  EXPECT_EQ(victim.calls, 0);
}

/// Like a tunnel that ends while it sends: it asks for a turn, is retired, and its destructor withdraws the request.
TEST_F(WorkerTurn, destroys_an_object_that_ends_in_its_own_call) {
  class Mortal final : public TurnEnd {
   public:
    Mortal(Worker& worker, std::promise<void>& died) : worker_(worker), died_(died) {}
    ~Mortal() {
      worker_.forget(*this);
      died_.set_value();
    }
    void on_turn_end() override {
      worker_.at_end_of_turn(*this);
      worker_.retire(std::move(self));
      alive_ = false;
      EXPECT_FALSE(alive_);
    }
    std::unique_ptr<Mortal> self;

   private:
    Worker& worker_;
    std::promise<void>& died_;
    bool alive_ = true;
  };
  std::promise<void> died;
  run(worker, [&] {
    auto mortal = std::make_unique<Mortal>(worker, died);
    Mortal& kept = *mortal;
    kept.self = std::move(mortal);
    worker.at_end_of_turn(kept);
  });
  EXPECT_EQ(died.get_future().wait_for(std::chrono::seconds(5)), std::future_status::ready);
  settle();
}

TEST_F(WorkerTurn, destroys_retired_objects_by_its_own_end) {
  bool destroyed = false;
  const auto note = [&destroyed](int*) { destroyed = true; };
  std::promise<void> stopped;
  worker.post([&] {
    worker.retire(std::unique_ptr<std::shared_ptr<int>>(new std::shared_ptr<int>(nullptr, note)));
    worker.stop();
    stopped.set_value();
  });
  stopped.get_future().get();
  worker.join();
  EXPECT_TRUE(destroyed) << "what it refers to may be destroyed next";
}

/// Two sockets become readable in one batch, and the first one's owner removes the other.
TEST_F(WorkerTurn, an_event_of_the_same_batch_does_not_reach_a_removed_object) {
  class Reader final : public Pollable {
   public:
    explicit Reader(std::function<void(Reader&)> on_event) : on_event_(std::move(on_event)) {}
    void on_ready(std::uint32_t) override {
      ++calls;
      on_event_(*this);
    }
    int calls = 0;

   private:
    std::function<void(Reader&)> on_event_;
  };
  int ends[2][2];
  for (auto& pair : ends) ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
  const UniqueFd owned[4]{UniqueFd(ends[0][0]), UniqueFd(ends[0][1]), UniqueFd(ends[1][0]), UniqueFd(ends[1][1])};
  std::promise<void> called;
  Reader* readers[2];
  const auto remove_both = [&](Reader&) {
    for (int i = 0; i < 2; ++i) worker.poller().remove(ends[i][0], *readers[i]);
    called.set_value();
  };
  Reader first(remove_both);
  Reader second(remove_both);
  readers[0] = &first;
  readers[1] = &second;
  run(worker, [&] {
    for (int i = 0; i < 2; ++i) {
      ASSERT_EQ(::send(ends[i][1], "x", 1, 0), 1);
      ASSERT_TRUE(worker.poller().add(ends[i][0], EPOLLIN, *readers[i]));
    }
  });
  ASSERT_EQ(called.get_future().wait_for(std::chrono::seconds(5)), std::future_status::ready);
  settle();
  EXPECT_EQ(first.calls + second.calls, 1);
}

}  // namespace
}  // namespace culvert
