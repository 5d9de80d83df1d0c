// SPDX-License-Identifier: Apache-2.0
#include "common/net/name_resolver.hpp"

#include <algorithm>
#include <list>
#include <map>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <fmt/core.h>

namespace culvert {

namespace asio = boost::asio;
using asio::ip::tcp;
using namespace std::chrono_literals;

namespace {

constexpr auto question_time_max = 5s;  // Threats F4.
constexpr auto remembered_time_max = 5min;
constexpr std::size_t remembered_names_max = 1024;
constexpr std::size_t questions_max = 256;

NameLookup system_lookup(const asio::any_io_executor& executor) {
  return [executor](const std::string& host, std::function<void(boost::system::error_code, Addresses)> done) {
    auto resolver = std::make_shared<tcp::resolver>(executor);
    // No service name: getaddrinfo would look it up in /etc/services, and the port is known already.
    resolver->async_resolve(host, "", tcp::resolver::flags(),
                            [resolver, done = std::move(done)](const boost::system::error_code& error,
                                                               const tcp::resolver::results_type& results) {
                              Addresses addresses;
                              for (const auto& entry : results) addresses.push_back(entry.endpoint().address());
                              done(error, std::move(addresses));
                            });
  };
}

/// True when DNS reports that the name does not exist; any other error is a failure of DNS.
bool is_denial(const boost::system::error_code& error) {
  return error == asio::error::host_not_found || error == asio::error::no_data;
}

}  // namespace

/// One lookup under way, which several coroutines may wait for.
struct NameResolver::Question {
  bool answered = false;
  boost::system::error_code error;
  Addresses addresses;
  std::list<asio::steady_timer*> waiting;
};

/// Outlives the NameResolver as long as a lookup is under way.
struct NameResolver::Memory {
  struct Remembered {
    Addresses addresses;
    asio::steady_timer::time_point when;
  };
  std::map<std::string, std::shared_ptr<Question>> questions;
  std::map<std::string, Remembered> names;

  void remember(const std::string& host, const Addresses& addresses) {
    const auto now = asio::steady_timer::clock_type::now();
    if (names.size() >= remembered_names_max && !names.contains(host)) {
      std::erase_if(names, [&](const auto& entry) { return now - entry.second.when > remembered_time_max; });
      if (names.size() >= remembered_names_max) {
        names.erase(std::ranges::min_element(names, {}, [](const auto& entry) { return entry.second.when; }));
      }
    }
    names[host] = {addresses, now};
  }

  const Addresses* find_recent(const std::string& host) const {
    const auto found = names.find(host);
    if (found == names.end()) return nullptr;
    const auto age = asio::steady_timer::clock_type::now() - found->second.when;
    return age <= remembered_time_max ? &found->second.addresses : nullptr;
  }
};

NameResolver::NameResolver(asio::any_io_executor executor, NameLookup lookup)
    : executor_(std::move(executor)),
      lookup_(lookup ? std::move(lookup) : system_lookup(executor_)),
      memory_(std::make_shared<Memory>()) {}

NameResolver::~NameResolver() = default;

asio::awaitable<Result<Addresses>> NameResolver::resolve(std::string host, Deadline deadline) {
  const auto question = ask(host);
  if (!question)
    co_return fail("dial.dns_failed", fmt::format("cannot look up {}: too many lookups are under way", host));
  const Deadline bound = std::min(deadline, asio::steady_timer::clock_type::now() + question_time_max);
  co_await wait_for(question, bound);
  if (question->answered && !question->error && !question->addresses.empty()) co_return question->addresses;
  if (!(question->answered && is_denial(question->error))) {
    if (const Addresses* recent = memory_->find_recent(host)) co_return *recent;
  }
  if (question->answered && (is_denial(question->error) || !question->error)) {
    co_return fail("dial.name_not_found", fmt::format("the name {0} does not exist; check its spelling, and with "
                                                      "`getent ahosts {0}` on this machine",
                                                      host));
  }
  const std::string how = question->answered ? question->error.message() : "no answer in time";
  co_return fail("dial.dns_failed", fmt::format("the name {} cannot be resolved: {}; check the name servers in "
                                                "/etc/resolv.conf",
                                                host, how));
}

std::shared_ptr<NameResolver::Question> NameResolver::ask(const std::string& host) {
  if (const auto found = memory_->questions.find(host); found != memory_->questions.end()) return found->second;
  if (memory_->questions.size() >= questions_max) return nullptr;
  auto question = std::make_shared<Question>();
  memory_->questions.emplace(host, question);
  lookup_(host, [host, question, memory = memory_](boost::system::error_code error, Addresses addresses) {
    question->answered = true;
    question->error = error;
    question->addresses = std::move(addresses);
    memory->questions.erase(host);
    if (!error && !question->addresses.empty()) memory->remember(host, question->addresses);
    if (is_denial(error)) memory->names.erase(host);
    for (asio::steady_timer* waiter : question->waiting) waiter->cancel();
  });
  return question;
}

asio::awaitable<void> NameResolver::wait_for(std::shared_ptr<Question> question, Deadline deadline) {
  if (question->answered) co_return;
  asio::steady_timer timer(executor_, deadline);
  struct Place {
    std::list<asio::steady_timer*>& waiting;
    std::list<asio::steady_timer*>::iterator self;
    ~Place() { waiting.erase(self); }
  };
  const Place place{question->waiting, question->waiting.insert(question->waiting.end(), &timer)};
  (void)co_await timer.async_wait(asio::as_tuple(asio::use_awaitable));
  if (!question->answered) co_await throw_if_stopped();
}

}  // namespace culvert
