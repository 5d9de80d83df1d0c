// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <stdexcept>
#include <utility>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "common/enrolment/join_token.hpp"
#include "server/enrolment/state_directory.hpp"

namespace culvert::testing {

/// A state directory with a home of its own; the destructor ends both.
class OpenedState {
 public:
  explicit OpenedState(const std::filesystem::path& path, server::StateDirectoryOptions options = {}) {
    auto opened = server::StateDirectory::open(path, context_.get_executor(), log_, std::move(options));
    if (!opened) throw std::runtime_error(opened.error().code + ": " + opened.error().text);
    directory_ = std::move(*opened);
  }
  OpenedState(const OpenedState&) = delete;
  OpenedState& operator=(const OpenedState&) = delete;
  ~OpenedState() {
    boost::asio::post(context_, [this] { directory_->request_stop(); });
    run_until([this] { return directory_->is_over(); });
  }

  server::StateDirectory& operator*() const { return *directory_; }
  server::StateDirectory* operator->() const { return directory_.get(); }
  boost::asio::io_context& context() { return context_; }

  /// Runs the loop until `done()`, for 10 s at most.
  template <typename Done>
  void run_until(Done done) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    context_.restart();
    while (!done()) {
      if (std::chrono::steady_clock::now() > end) throw std::runtime_error("it did not end within its bound");
      context_.run_one_for(std::chrono::milliseconds(100));
    }
  }

  /// Runs the loop until the coroutine ends, and returns its result.
  template <typename T>
  T wait(boost::asio::awaitable<T> work) {
    std::optional<T> result;
    boost::asio::co_spawn(context_, std::move(work), [&](const std::exception_ptr& thrown, T value) {
      if (thrown) std::rethrow_exception(thrown);
      result = std::move(value);
    });
    run_until([&] { return result.has_value(); });
    return std::move(*result);
  }
  void wait(boost::asio::awaitable<void> work) {
    bool ended = false;
    boost::asio::co_spawn(context_, std::move(work), [&](const std::exception_ptr& thrown) {
      if (thrown) std::rethrow_exception(thrown);
      ended = true;
    });
    run_until([&] { return ended; });
  }

 private:
  boost::asio::io_context context_{1};
  Log log_{LogSettings{}};
  std::unique_ptr<server::StateDirectory> directory_;
};

inline server::AgentRecord record_of(std::string name, std::string account = "acme", std::string location = {}) {
  server::AgentRecord record;
  record.name = std::move(name);
  record.account = std::move(account);
  record.location = std::move(location);
  return record;
}

/// What an agent shows that has the token; `key` stands for its key.
inline server::TokenClaim claim_of(const server::NewToken& token, int key = 1) {
  Sha256 digest{};
  digest[0] = static_cast<std::byte>(key & 255);
  digest[1] = static_cast<std::byte>(key >> 8);
  return {.id = token.id, .secret = hash_of(token.secret), .key = digest};
}

inline server::CertificateNote note_of(std::string serial) {
  using std::chrono::sys_seconds;
  return {.serial = std::move(serial),
          .issued_at = sys_seconds(std::chrono::seconds(1'700'000'000)),
          .not_after = sys_seconds(std::chrono::seconds(1'702'592'000))};
}

inline AgentIdentity identity_of(const server::AgentRecord& record) {
  AgentIdentity identity;
  identity.account = record.account;
  identity.location = record.location;
  identity.agent = record.agent.empty() ? record.name : record.agent;
  return identity;
}

}  // namespace culvert::testing
