// SPDX-License-Identifier: Apache-2.0
#include "common/config/reloader.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <optional>
#include <semaphore>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "tests/testing/temporary_directory.hpp"

namespace culvert {
namespace {

using namespace std::chrono_literals;
namespace asio = boost::asio;
namespace fs = std::filesystem;
using testing::TemporaryDirectory;

/// A reloader whose configuration is the number of the load.
class ReloaderTest : public ::testing::Test {
 protected:
  ReloaderTest() { file_ = directory_.write("server.toml", "a = 1\n"); }
  ~ReloaderTest() override {
    reloader_.reset();
    pool_.join();
  }

  void start(std::vector<fs::path> files = {}) {
    reloader_.emplace(
        context_, pool_, file_, [this]() -> Result<int> { return load(); },
        [this](Result<int> loaded, const Reloader::Requests& served) {
          delivered_.push_back(loaded ? *loaded : -1);
          for (const auto& done : served) done({});
        });
    ASSERT_TRUE(reloader_->watch(std::move(files)));
  }

  virtual int load() { return ++loads_; }

  /// Runs until that many loads were delivered in total; false after 5 s.
  bool wait_for(std::size_t count) {
    const auto end = std::chrono::steady_clock::now() + 5s;
    context_.restart();
    while (delivered_.size() < count && context_.run_one_until(end) > 0) {
    }
    return delivered_.size() >= count;
  }
  /// Returns whether no further load begins within slightly more than the settle time.
  bool stays_quiet() {
    const std::size_t before = delivered_.size();
    context_.restart();
    context_.run_for(400ms);
    return delivered_.size() == before;
  }

  TemporaryDirectory directory_;
  fs::path file_;
  asio::io_context context_{1};
  asio::thread_pool pool_{1};
  std::atomic<int> loads_ = 0;
  std::vector<int> delivered_;
  std::optional<Reloader> reloader_;
};

TEST_F(ReloaderTest, loads_on_request) {
  start();
  reloader_->request();
  EXPECT_TRUE(wait_for(1));
}

TEST_F(ReloaderTest, does_not_load_again_for_a_change_that_the_requested_load_has_read) {
  start();
  directory_.write("server.toml", "a = 2\n");
  reloader_->request();
  EXPECT_TRUE(wait_for(1));
  EXPECT_TRUE(stays_quiet());
  directory_.write("server.toml", "a = 3\n");
  EXPECT_TRUE(wait_for(2));
}

TEST_F(ReloaderTest, loads_once_for_a_burst_of_writes) {
  start();
  for (int i = 0; i < 10; ++i) directory_.write("server.toml", "a = 2\n");
  EXPECT_TRUE(wait_for(1));
  EXPECT_TRUE(stays_quiet());
}

TEST_F(ReloaderTest, sees_an_editor_put_a_new_file_in_the_place_of_the_old) {
  start();
  const fs::path fresh = directory_.write("server.toml.new", "a = 2\n");
  fs::rename(fresh, file_);
  EXPECT_TRUE(wait_for(1));
}

TEST_F(ReloaderTest, keeps_seeing_changes_after_the_first) {
  start();
  for (std::size_t i = 1; i <= 3; ++i) {
    fs::rename(directory_.write("new", "a = 2\n"), file_);
    ASSERT_TRUE(wait_for(i)) << i;
  }
}

TEST_F(ReloaderTest, sees_drop_ins_come_change_and_go_also_in_a_directory_that_was_not_there) {
  start();
  directory_.write("server.toml.d/10.toml", "b = 1\n");
  ASSERT_TRUE(wait_for(1));
  directory_.write("server.toml.d/10.toml", "b = 2\n");
  ASSERT_TRUE(wait_for(2));
  fs::remove(directory_.path() / "server.toml.d/10.toml");
  ASSERT_TRUE(wait_for(3));
}

TEST_F(ReloaderTest, sees_kubernetes_swap_the_data_link) {
  const fs::path mount = directory_.path() / "mount";
  directory_.write("mount/..1/tls.crt", "old");
  fs::create_directory_symlink("..1", mount / "..data");
  fs::create_symlink("..data/tls.crt", mount / "tls.crt");
  start({mount / "tls.crt"});
  for (std::size_t i = 1; i <= 2; ++i) {
    const std::string next = ".." + std::to_string(i + 1);
    directory_.write("mount/" + next + "/tls.crt", "new");
    fs::create_directory_symlink(next, mount / "..data_tmp");
    fs::rename(mount / "..data_tmp", mount / "..data");
    // Before the old directory is removed, so that only the link changes.
    ASSERT_TRUE(wait_for(i)) << i;
    fs::remove_all(mount / (".." + std::to_string(i)));
    EXPECT_TRUE(stays_quiet());
  }
}

TEST_F(ReloaderTest, sees_a_change_behind_a_symbolic_link) {
  directory_.write("elsewhere/ca.pem", "old");
  fs::create_symlink("elsewhere/ca.pem", directory_.path() / "ca.pem");
  start({directory_.path() / "ca.pem"});
  directory_.write("elsewhere/ca.pem", "new");
  EXPECT_TRUE(wait_for(1));
}

TEST_F(ReloaderTest, finds_a_directory_again_that_went_and_came) {
  directory_.write("tls/ca.pem", "old");
  start({directory_.path() / "tls/ca.pem"});
  fs::remove_all(directory_.path() / "tls");
  ASSERT_TRUE(wait_for(1));
  directory_.write("tls/ca.pem", "new");
  EXPECT_TRUE(wait_for(2));
}

TEST_F(ReloaderTest, ignores_files_that_are_not_named) {
  directory_.write("tls/ca.pem", "x");
  start({directory_.path() / "tls/ca.pem"});
  directory_.write("unrelated", "x");
  directory_.write("tls/unrelated", "x");
  directory_.write(".server.toml.swp", "x");
  EXPECT_TRUE(stays_quiet());
}

TEST_F(ReloaderTest, forgets_files_that_are_no_longer_named) {
  directory_.write("tls/ca.pem", "x");
  start({directory_.path() / "tls/ca.pem"});
  ASSERT_TRUE(reloader_->watch({}));
  directory_.write("tls/ca.pem", "y");
  EXPECT_TRUE(stays_quiet());
}

/// Each load waits until the test lets it continue.
class SlowReloaderTest : public ReloaderTest {
 protected:
  ~SlowReloaderTest() override { go_on_.release(100); }
  int load() override {
    const int running = ++running_;
    running_max_ = std::max<int>(running_max_, running);
    entered_.release();
    go_on_.acquire();
    --running_;
    return ++loads_;
  }

  std::counting_semaphore<> entered_{0};
  std::counting_semaphore<> go_on_{0};
  std::atomic<int> running_ = 0;
  std::atomic<int> running_max_ = 0;
};

TEST_F(SlowReloaderTest, loads_once_more_after_changes_during_a_load_and_never_twice_at_once) {
  start();
  reloader_->request();
  ASSERT_TRUE(entered_.try_acquire_for(5s));
  for (int i = 0; i < 5; ++i) reloader_->request();
  go_on_.release(2);
  ASSERT_TRUE(wait_for(2));
  EXPECT_TRUE(stays_quiet());
  EXPECT_EQ(running_max_, 1);
}

TEST_F(SlowReloaderTest, a_request_is_served_by_a_load_that_began_after_it) {
  start();
  std::array<int, 2> served_by{};
  const auto ask = [&](std::size_t which) {
    reloader_->request([&, which](const Result<void>&) { served_by[which] = delivered_.back(); });
  };
  ask(0);
  ASSERT_TRUE(entered_.try_acquire_for(5s));
  ask(1);
  go_on_.release();
  ASSERT_TRUE(wait_for(1));
  EXPECT_EQ(served_by, (std::array{1, 0}));
  go_on_.release();
  ASSERT_TRUE(wait_for(2));
  EXPECT_EQ(served_by, (std::array{1, 2}));
}

TEST_F(SlowReloaderTest, may_go_while_a_load_is_under_way) {
  start();
  reloader_->request();
  ASSERT_TRUE(entered_.try_acquire_for(5s));
  reloader_.reset();
  go_on_.release();
  pool_.join();
  context_.run_for(100ms);
  EXPECT_TRUE(delivered_.empty());
}

TEST_F(ReloaderTest, delivers_on_the_thread_of_the_io_context_and_may_go_there) {
  const auto home = std::this_thread::get_id();
  bool delivered_at_home = false;
  reloader_.emplace(
      context_, pool_, file_, []() -> Result<int> { return fail("config.invalid", "server.toml:1: bad"); },
      [&](Result<int> loaded, const Reloader::Requests&) {
        delivered_at_home = std::this_thread::get_id() == home && !loaded;
        delivered_.push_back(0);
        reloader_.reset();
      });
  reloader_->request();
  ASSERT_TRUE(wait_for(1));
  EXPECT_TRUE(delivered_at_home);
}

}  // namespace
}  // namespace culvert
