// SPDX-License-Identifier: Apache-2.0
#include "server/auth/issuer_keys.hpp"

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include "common/admin/defect.hpp"
#include "common/base/chance.hpp"
#include "common/net/unique_fd.hpp"
#include "server/web/fetch_document.hpp"

namespace culvert::server {

namespace asio = boost::asio;
using Clock = std::chrono::steady_clock;

namespace {

Result<std::string> read_file(const std::filesystem::path& path) {
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  std::string text(jwks_bytes_max + 1, '\0');
  std::size_t size = 0;
  while (file && size < text.size()) {
    const ssize_t count = ::read(file.get(), text.data() + size, text.size() - size);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return fail("jwks.unreadable", std::generic_category().message(errno));
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  if (!file) return fail("jwks.unreadable", std::generic_category().message(errno));
  text.resize(size);
  return text;
}

}  // namespace

Result<std::shared_ptr<IssuerKeys>> IssuerKeys::load(const IssuerSettings& settings) {
  std::shared_ptr<IssuerKeys> keys(new IssuerKeys);
  keys->settings_ = settings;
  if (!settings.jwks_file.empty()) {
    auto text = read_file(settings.jwks_file);
    auto set = text ? KeySet::parse(*text) : Result<KeySet>(std::unexpected(text.error()));
    if (!set) return fail(set.error().code, fmt::format("{}: {}", settings.jwks_file.string(), set.error().text));
    keys->current_.publish(std::make_shared<const KeySet>(std::move(*set)));
    return keys;
  }
  auto url = parse_document_url(settings.jwks_url);
  if (!url) return std::unexpected(url.error());
  if (url->is_secure()) {
    auto tls = TlsContext::for_backend({.ca = settings.ca, .client_certificate = {}, .client_key = {}});
    if (!tls) return std::unexpected(tls.error());
    keys->tls_ = std::move(*tls);
  }
  keys->url_ = std::move(*url);
  return keys;
}

/// State of one issuer's fetches.
struct KeyFetcher::Schedule {
  Clock::time_point due;       ///< Time of the next fetch.
  Clock::time_point miss_due;  ///< A missed key causes no fetch before this.
  std::chrono::milliseconds retry;
  std::string last_code;  ///< Code of the last failure; "" after a success; another text before the first fetch.
};

KeyFetcher::KeyFetcher(Worker& home, Log& log, KeyTimes times)
    : log_(log),
      times_(times),
      dialer_(home.context().get_executor()),
      tasks_(home.context().get_executor(), report_defect(log, "keys of issuers")) {}

void KeyFetcher::keep(const std::shared_ptr<IssuerKeys>& keys, const IssuerKeys* older) {
  if (!keys->url_ || tasks_.is_stopping()) return;
  if (older != nullptr && older->settings_.jwks_url == keys->settings_.jwks_url) {
    keys->current_.publish(older->current());
    keys->fetched_ = older->fetched_;
    keys->document_ = older->document_;
  }
  tasks_.spawn(refresh(keys));
}

asio::awaitable<void> KeyFetcher::refresh(std::weak_ptr<IssuerKeys> watched) {
  Schedule schedule{Clock::now(), Clock::now(), times_.retry, "none yet"};
  while (auto keys = watched.lock()) {
    const auto now = Clock::now();
    const bool missed = now >= schedule.miss_due && keys->missed_.exchange(false, std::memory_order_relaxed);
    if (missed || now >= schedule.due) {
      keys->missed_.store(false, std::memory_order_relaxed);
      co_await fetch(keys, schedule);
    }
    keys.reset();
    co_await wait_for(times_.look);
  }
}

asio::awaitable<void> KeyFetcher::fetch(std::shared_ptr<IssuerKeys> keys, Schedule& schedule) {
  auto url = keys->url_;
  if (!url) co_return;
  auto document =
      co_await fetch_document(dialer_, std::move(*url), keys->tls_, jwks_bytes_max, Clock::now() + times_.fetch_max);
  settle(*keys, document ? take(*keys, *document) : Result<void>(std::unexpected(document.error())), schedule);
}

Result<void> KeyFetcher::take(IssuerKeys& keys, std::string_view document) {
  const Sha256 digest = sha256(document);
  if (!keys.current() || digest != keys.document_) {
    auto set = KeySet::parse(document);
    if (!set) return std::unexpected(set.error());
    keys.current_.publish(std::make_shared<const KeySet>(std::move(*set)));
    keys.document_ = digest;
  }
  keys.fetched_ = Clock::now();
  return {};
}

void KeyFetcher::settle(IssuerKeys& keys, const Result<void>& taken, Schedule& schedule) {
  const auto now = Clock::now();
  schedule.miss_due = now + with_jitter(times_.between);
  if (taken) {
    if (!schedule.last_code.empty())
      log_.info("jwks.fetched", {{"issuer", keys.settings_.issuer}, {"keys", keys.current()->size()}});
    schedule.due = now + with_jitter(times_.refresh);
    schedule.retry = times_.retry;
    schedule.last_code.clear();
    return;
  }
  if (keys.current() && now - keys.fetched_ >= times_.age_max) {
    keys.current_.publish(nullptr);
    log_.error("jwks.expired", {{"issuer", keys.settings_.issuer},
                                {"hint", "tokens of this issuer are refused until its keys arrive"}});
  }
  if (std::exchange(schedule.last_code, taken.error().code) != taken.error().code) {
    log_.warn("jwks.failed", {{"issuer", keys.settings_.issuer},
                              {"url", keys.settings_.jwks_url},
                              {"code", taken.error().code},
                              {"text", taken.error().text}});
  }
  const auto wait = keys.current() ? times_.between : std::min(schedule.retry, times_.between);
  schedule.retry = std::min(2 * schedule.retry, times_.between);
  schedule.due = now + with_jitter(wait);
}

std::chrono::milliseconds KeyFetcher::with_jitter(std::chrono::milliseconds time) const {
  return time + std::chrono::duration_cast<std::chrono::milliseconds>(time * chance() / 5);
}

}  // namespace culvert::server
