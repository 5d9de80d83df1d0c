// SPDX-License-Identifier: Apache-2.0
#include "server/gateway/grant.hpp"

#include <algorithm>

#include "common/admin/defect.hpp"

namespace culvert::server {

namespace asio = boost::asio;
using namespace std::chrono_literals;

namespace {

constexpr auto fetch_time_max = 10s;
constexpr auto retry_min = 1s;
constexpr auto retry_max = 30s;

}  // namespace

std::shared_ptr<const Grant> GrantSource::current(Clock::time_point now) const {
  auto grant = current_.get();
  return grant && now < grant->ends ? grant : nullptr;
}

GrantKeeper::GrantKeeper(Worker& home, Log& log)
    : home_(home),
      log_(log),
      dialer_(home.context().get_executor()),
      tasks_(home.context().get_executor(), report_defect(log, "grants")) {}

void GrantKeeper::ask(Worker& here, std::shared_ptr<GrantSource> source, std::shared_ptr<const Grant> refused,
                      Answer answer) {
  auto there = std::make_shared<Answer>(std::move(answer));
  home_.post([this, &here, source = std::move(source), refused = std::move(refused), there] {
    take(source, refused, [&here, there](Result<std::shared_ptr<const Grant>> grant) {
      here.post([there, grant = std::move(grant)] { (*there)(grant); });
    });
  });
}

void GrantKeeper::renew_in_time(const std::shared_ptr<GrantSource>& source, const Grant& grant) {
  if (GrantSource::Clock::now() < grant.renew || source->is_asked_.exchange(true, std::memory_order_relaxed)) return;
  home_.post([this, source, grant = source->current_.get()] { take(source, grant, [](const auto&) {}); });
}

void GrantKeeper::take(std::shared_ptr<GrantSource> source, const std::shared_ptr<const Grant>& refused,
                       Answer answer) {
  if (tasks_.is_stopping()) return;
  const auto now = GrantSource::Clock::now();
  if (!source->is_fetching_) source->is_asked_.store(false, std::memory_order_relaxed);
  // Several requests may have been refused with the same grant.
  if (auto grant = source->current(now); grant && grant != refused) return answer(std::move(grant));
  if (!source->is_fetching_ && source->failures_ > 0 && now < source->retry_)
    return answer(std::unexpected(source->last_error_));
  source->waiting_.push_back(std::move(answer));
  if (std::exchange(source->is_fetching_, true)) return;
  tasks_.spawn(fetch(std::move(source)));
}

asio::awaitable<void> GrantKeeper::fetch(std::shared_ptr<GrantSource> source) {
  auto fetched = co_await source->fetch(dialer_, std::chrono::steady_clock::now() + fetch_time_max);
  settle(*source, std::move(fetched));
}

void GrantKeeper::settle(GrantSource& source, Result<Grant> fetched) {
  source.is_fetching_ = false;
  source.is_asked_.store(false, std::memory_order_relaxed);
  const auto answer_all = [&source](const Result<std::shared_ptr<const Grant>>& outcome) {
    for (auto& answer : std::exchange(source.waiting_, {})) answer(outcome);
  };
  if (fetched) {
    source.fetched_.fetch_add(1, std::memory_order_relaxed);
    if (std::exchange(source.failures_, 0) > 0) log_.info("grant.fetched", {{"source", source.name()}});
    auto grant = std::make_shared<const Grant>(std::move(*fetched));
    source.current_.publish(grant);
    return answer_all(std::move(grant));
  }
  source.failed_.fetch_add(1, std::memory_order_relaxed);
  if (fetched.error().code == "gateway.login_refused") return answer_all(std::unexpected(std::move(fetched.error())));
  const auto now = GrantSource::Clock::now();
  const auto pause = std::min<std::chrono::seconds>(retry_min * (1 << std::min(source.failures_++, 5U)), retry_max);
  source.retry_ = now + pause;
  log_.limited(Log::Level::warn, "grant.failed",
               {{"source", source.name()}, {"code", fetched.error().code}, {"text", fetched.error().text}});
  // While an older one is good still, a failed renewal harms nobody.
  source.last_error_ = fetched.error();
  answer_all(std::unexpected(std::move(fetched.error())));
}

}  // namespace culvert::server
