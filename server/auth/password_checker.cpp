// SPDX-License-Identifier: Apache-2.0
#include "server/auth/password_checker.hpp"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include <boost/asio/post.hpp>

#include "common/config/secret_file.hpp"

namespace culvert::server {

namespace {

constexpr int waiting_max = 64;

}  // namespace

struct PasswordChecker::Attempt {
  std::shared_ptr<const std::vector<Socks5Consumer>> consumers;
  std::string user;
  Secret password;
  boost::asio::ip::address source;
  Answer answer;
};

void PasswordChecker::check(std::shared_ptr<const std::vector<Socks5Consumer>> consumers, std::string user,
                            std::string_view password, const boost::asio::ip::address& source, Answer answer) {
  if (waiting_.fetch_add(1) >= waiting_max) {
    --waiting_;
    return answer(std::nullopt);
  }
  auto attempt = std::make_shared<Attempt>(
      Attempt{std::move(consumers), std::move(user), Secret::of(password), source, std::move(answer)});
  boost::asio::post(thread_, [this, attempt] {
    --waiting_;
    attempt->answer(login_of(*attempt));
  });
}

std::optional<ConsumerLogin> PasswordChecker::login_of(const Attempt& attempt) {
  const auto now = std::chrono::steady_clock::now();
  if (!penalties_.accepts(attempt.source, now)) return std::nullopt;
  const std::size_t slash = attempt.user.find('/');
  const std::string account = attempt.user.substr(0, slash);
  const std::string location = slash == std::string::npos ? "" : attempt.user.substr(slash + 1);
  bool known = false;
  for (const Socks5Consumer& consumer : *attempt.consumers) {
    if (consumer.account != account || std::ranges::find(consumer.locations, location) == consumer.locations.end())
      continue;
    known = true;
    if (!secrets_.is_right(consumer.secret, attempt.password.reveal())) continue;
    return ConsumerLogin{{attempt.consumers, &consumer}, location};
  }
  // An unknown user takes as long as a wrong password (threats E17).
  if (!known) (void)SecretHash::unmatchable().matches(attempt.password.reveal());
  penalties_.note_failure(attempt.source, now);
  return std::nullopt;
}

void PasswordChecker::close() {
  thread_.stop();
  thread_.join();
}

}  // namespace culvert::server
