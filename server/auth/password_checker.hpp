// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/thread_pool.hpp>

#include "common/tls/secret_hash.hpp"
#include "server/auth/penalties.hpp"
#include "server/config/config.hpp"

namespace culvert::server {

/// The consumer that logged in, and the location that it chose.
struct ConsumerLogin {
  std::shared_ptr<const Socks5Consumer> consumer;
  std::string location;
};

/// Checks passwords of consumers on its own thread, one after another, since a check is slow on purpose. A source that
/// fails too often is refused for a while without a check (threats C4), and gets the same answer as for a wrong
/// password.
class PasswordChecker {
 public:
  /// Called on the checker's thread. Nothing: refused, for any reason.
  using Answer = std::function<void(std::optional<ConsumerLogin>)>;

  PasswordChecker() = default;
  /// `user` is "account" or "account/location". From any thread. Refuses at once if too many checks are waiting.
  void check(std::shared_ptr<const std::vector<Socks5Consumer>> consumers, std::string user, std::string_view password,
             const boost::asio::ip::address& source, Answer answer);
  /// Ends the thread: afterwards no answer is called. At home.
  void close();

 private:
  struct Attempt;
  std::optional<ConsumerLogin> login_of(const Attempt& attempt);

  std::atomic<int> waiting_ = 0;
  // On the checker's thread only.
  Penalties penalties_;
  SecretChecker secrets_;
  boost::asio::thread_pool thread_{1};
};

}  // namespace culvert::server
