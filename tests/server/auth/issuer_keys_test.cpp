// SPDX-License-Identifier: Apache-2.0
#include "server/auth/issuer_keys.hpp"

#include <atomic>
#include <future>
#include <mutex>
#include <thread>

#include <fmt/core.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "server/auth/token_check.hpp"
#include "tests/testing/sockets.hpp"
#include "tests/testing/temporary_directory.hpp"
#include "tests/testing/tokens.hpp"

namespace culvert::server {
namespace {

using namespace std::chrono_literals;
using testing::SigningKey;

std::string answer(std::string_view body) {
  return fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", body.size(), body);
}

/// A web server on loopback that gives one answer to every request, until the test sets another.
class Web {
 public:
  Web() : listening_(testing::bound_socket(testing::loopback(), 16)) {
    thread_ = std::thread([this] { serve(); });
  }
  ~Web() {
    ::shutdown(listening_.get(), SHUT_RDWR);
    thread_.join();
  }
  void set_answer(std::string text) {
    const std::lock_guard lock(mutex_);
    text_ = std::move(text);
  }
  std::string url() const {
    return fmt::format("http://127.0.0.1:{}/keys?x=1", local_endpoint_of(listening_.get()).port());
  }
  int questions() const { return questions_; }

 private:
  void serve() {
    for (;;) {
      const UniqueFd client(::accept(listening_.get(), nullptr, nullptr));
      if (!client) return;
      char request[4096];
      const ssize_t size = ::recv(client.get(), request, sizeof request, 0);
      if (size <= 0) continue;
      EXPECT_TRUE(std::string_view(request, static_cast<std::size_t>(size)).starts_with("GET /keys?x=1 HTTP/1.1\r\n"));
      ++questions_;
      const std::lock_guard lock(mutex_);
      (void)::send(client.get(), text_.data(), text_.size(), MSG_NOSIGNAL);
    }
  }

  UniqueFd listening_;
  std::mutex mutex_;
  std::string text_;
  std::atomic<int> questions_{0};
  std::thread thread_;
};

/// A fetcher whose home is its own worker.
class Fetching {
 public:
  explicit Fetching(const IssuerSettings& settings, KeyTimes times) : keys(IssuerKeys::load(settings).value()) {
    fetcher_.emplace(worker_, log_, times);
    fetcher_->keep(keys);
    worker_.start();
  }
  template <typename Task>
  auto on_worker(Task task) {
    std::packaged_task<decltype(task())()> packaged(std::move(task));
    auto done = packaged.get_future();
    worker_.post([&packaged] { packaged(); });
    return done.get();
  }
  bool is_over() {
    return on_worker([this] { return fetcher_->is_over(); });
  }
  ~Fetching() {
    on_worker([this] { fetcher_->request_stop(); });
    while (!is_over()) std::this_thread::yield();
    worker_.stop();
    worker_.join();
  }

  std::shared_ptr<IssuerKeys> keys;

 private:
  Worker worker_{0};
  Log log_{LogSettings{}};
  std::optional<KeyFetcher> fetcher_;
};

template <typename Condition>
bool comes_true(Condition condition, std::chrono::milliseconds limit = 5s) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (std::chrono::steady_clock::now() < deadline) {
    if (condition()) return true;
    std::this_thread::yield();
  }
  return false;
}

/// Short times: a day becomes a second.
constexpr KeyTimes quick{
    .refresh = 100ms, .between = 50ms, .retry = 10ms, .age_max = 1s, .fetch_max = 300ms, .look = 2ms};
constexpr KeyTimes lazy{.refresh = 1h, .between = 200ms, .retry = 10ms, .age_max = 1h, .fetch_max = 300ms, .look = 2ms};

IssuerSettings settings_of(const Web& web) {
  return {.issuer = "https://issuer", .jwks_url = web.url()};
}

TEST(IssuerKeys, are_fetched_and_fetched_again) {
  Web web;
  web.set_answer(answer(testing::jwks({SigningKey::ec("e1").jwk()})));
  Fetching fetching(settings_of(web), quick);
  ASSERT_TRUE(comes_true([&] { return fetching.keys->current() != nullptr; }));
  const auto first = fetching.keys->current();
  ASSERT_TRUE(comes_true([&] { return web.questions() > 2; }));
  EXPECT_EQ(fetching.keys->current(), first) << "the same document changes nothing";
  web.set_answer(answer(testing::jwks({SigningKey::ec("e2").jwk()})));
  EXPECT_TRUE(comes_true([&] { return fetching.keys->current() != first; }));
}

TEST(IssuerKeys, come_in_chunks_behind_an_interim_response_or_until_the_end) {
  const std::string document = testing::jwks({SigningKey::ec("e1").jwk()});
  for (const std::string& text : {fmt::format("HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: "
                                              "chunked\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n",
                                              document.size(), document),
                                  "HTTP/1.0 200 OK\r\n\r\n" + document}) {
    Web web;
    web.set_answer(text);
    Fetching fetching(settings_of(web), quick);
    EXPECT_TRUE(comes_true([&] { return fetching.keys->current() != nullptr; })) << text;
  }
}

TEST(IssuerKeys, survive_an_endpoint_that_is_down_until_they_are_too_old) {
  Web web;
  web.set_answer(answer(testing::jwks({SigningKey::ec("e1").jwk()})));
  Fetching fetching(settings_of(web), quick);
  ASSERT_TRUE(comes_true([&] { return fetching.keys->current() != nullptr; }));
  web.set_answer("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n");
  const int before = web.questions();
  ASSERT_TRUE(comes_true([&] { return web.questions() > before + 3; }));
  EXPECT_NE(fetching.keys->current(), nullptr) << "the old ones stay";
  EXPECT_TRUE(comes_true([&] { return fetching.keys->current() == nullptr; })) << "but not permanently";
  web.set_answer(answer(testing::jwks({SigningKey::ec("e1").jwk()})));
  EXPECT_TRUE(comes_true([&] { return fetching.keys->current() != nullptr; })) << "and it recovers";
}

TEST(IssuerKeys, are_none_where_the_answer_is_no_key_set) {
  const std::string document = testing::jwks({SigningKey::ec("e1").jwk()});
  for (const std::string& text :
       {answer("<html>"), answer(""), answer(R"({"keys":[]})"), std::string("garbage\r\n\r\n"),
        "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n" + document,
        fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", document.size() + 1, document),
        answer(document + std::string(jwks_bytes_max, ' ')), std::string()}) {
    Web web;
    web.set_answer(text);
    Fetching fetching(settings_of(web), quick);
    ASSERT_TRUE(comes_true([&] { return web.questions() > 2; }));
    EXPECT_EQ(fetching.keys->current(), nullptr) << text.substr(0, 80);
  }
}

TEST(IssuerKeys, that_are_missed_are_fetched_at_once_but_not_by_the_thousand) {
  Web web;
  const SigningKey old_key = SigningKey::ec("e1");
  const SigningKey new_key = SigningKey::ec("e2");
  web.set_answer(answer(testing::jwks({old_key.jwk()})));
  Fetching fetching(settings_of(web), lazy);
  ASSERT_TRUE(comes_true([&] { return fetching.keys->current() != nullptr; }));
  web.set_answer(answer(testing::jwks({new_key.jwk()})));
  IssuerSettings settings = settings_of(web);
  settings.account = "acme";
  TokenCheck check({{settings, fetching.keys}}, 1);
  const auto ask = [&](const SigningKey& key) {
    return check.bearer_of(key.sign("ES256", R"({"iss":"https://issuer","exp":4000000000})"), 0,
                           std::chrono::system_clock::now());
  };
  EXPECT_TRUE(ask(old_key));
  EXPECT_EQ(ask(new_key).error(), &token_refusals::unknown_key);
  EXPECT_TRUE(comes_true([&] { return ask(new_key).has_value(); }));
  EXPECT_EQ(web.questions(), 2);
  // A token that was verified by a removed key is refused, even if it is remembered.
  EXPECT_EQ(ask(old_key).error(), &token_refusals::unknown_key);

  const auto begun = std::chrono::steady_clock::now();
  const int before = web.questions();
  const auto asked = [&] { return web.questions() - before; };
  const auto passed = [&] { return std::chrono::steady_clock::now() - begun; };
  // Longer on a machine that is busy.
  while (passed() < 700ms || (asked() < 2 && passed() < 10s)) EXPECT_FALSE(ask(old_key).has_value());
  EXPECT_LE(asked(), 2 + passed() / 300ms);
  EXPECT_GE(asked(), 2);
}

TEST(IssuerKeys, are_not_waited_for_beyond_the_deadline) {
  const UniqueFd silent = testing::bound_socket(testing::loopback(), 16);
  IssuerSettings settings{.issuer = "i",
                          .jwks_url = fmt::format("http://127.0.0.1:{}/", local_endpoint_of(silent.get()).port())};
  Fetching fetching(settings, quick);
  UniqueFd first(::accept(silent.get(), nullptr, nullptr));
  const UniqueFd second(::accept(silent.get(), nullptr, nullptr));  // Arrives only after the first was given up.
  EXPECT_TRUE(second);
  EXPECT_EQ(fetching.keys->current(), nullptr);
}

TEST(IssuerKeys, are_fetched_only_as_long_as_somebody_wants_them) {
  Web web;
  web.set_answer(answer(testing::jwks({SigningKey::ec("e1").jwk()})));
  Fetching fetching(settings_of(web), quick);
  ASSERT_TRUE(comes_true([&] { return fetching.keys->current() != nullptr; }));
  EXPECT_FALSE(fetching.is_over());
  fetching.keys.reset();
  EXPECT_TRUE(comes_true([&] { return fetching.is_over(); }));
}

TEST(IssuerKeys, of_a_file_are_there_at_once_or_are_an_error) {
  const testing::TemporaryDirectory folder;
  IssuerSettings settings{.issuer = "i",
                          .jwks_file = folder.write("keys", testing::jwks({SigningKey::ec("e1").jwk()}))};
  EXPECT_EQ((*IssuerKeys::load(settings))->current()->size(), 1u);
  folder.write("keys", "{}");
  EXPECT_EQ(IssuerKeys::load(settings).error().code, "jwks.malformed");
  settings.jwks_file = folder.path() / "none";
  EXPECT_EQ(IssuerKeys::load(settings).error().code, "jwks.unreadable");
}

}  // namespace
}  // namespace culvert::server
