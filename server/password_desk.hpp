// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/thread_pool.hpp>

#include "common/tls/secret_hash.hpp"
#include "server/config.hpp"
#include "server/penalties.hpp"

namespace culvert::server {

/// Who logged in, and to which of its locations.
struct ConsumerLogin {
  std::shared_ptr<const Socks5Consumer> consumer;
  std::string location;
};

/// Checks the passwords of consumers on a thread of its own, one after another, since a check is slow on purpose.
/// Whoever fails too often is not listened to for a while (threats C4), and does not learn that.
class PasswordDesk {
 public:
  /// Called on the desk's thread; nothing: not welcome, for whatever reason.
  using Answer = std::function<void(std::optional<ConsumerLogin>)>;

  PasswordDesk() = default;
  /// `user` is "account" or "account/location". From any thread. Where too many wait already, nobody is welcome.
  void check(std::shared_ptr<const Socks5ProxySettings> settings, std::string user, std::string_view password,
             const boost::asio::ip::address& source, Answer answer);
  /// Ends the thread: nobody is answered once this has returned. At home.
  void close();

 private:
  struct Attempt;
  std::optional<ConsumerLogin> judge(const Attempt& attempt);

  std::atomic<int> waiting_ = 0;
  // On the desk's thread only.
  Penalties penalties_;
  SecretJudge judge_;
  boost::asio::thread_pool thread_{1};
};

}  // namespace culvert::server
