// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/informer.hpp"

#include <algorithm>

#include <boost/json/parse.hpp>
#include <fmt/core.h>

#include "common/base/chance.hpp"
#include "common/net/deadline.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {

namespace asio = boost::asio;
namespace json = boost::json;
using namespace std::chrono_literals;

namespace {

constexpr int page_objects = 500;
constexpr auto watch_time = 30s;  ///< Then the server ends the watch: the longest time for which a half-open one stays.
constexpr auto watch_grace = 5s;  ///< If the end has not come by then, the connection is dead.
constexpr auto pause_first = 250ms;
constexpr auto pause_max = 10'000ms;

Error error_of(const ApiAnswer& answer) {
  return {"kubernetes.refused", answer.error_text()};
}

}  // namespace

std::string Watch::with(std::string_view query) const {
  return fmt::format("{}{}{}", path_, path_.find('?') == path_.npos ? '?' : '&', query);
}

asio::awaitable<void> Watch::run(std::string path) {
  path_ = std::move(path);
  After next = After::list;
  for (;;) {
    Result<After> outcome = After::watch;
    if (next == After::list) {
      if (auto listed = co_await list(); !listed) outcome = std::unexpected(listed.error());
    } else {
      outcome = co_await watch();
    }
    if (outcome) {
      failures_ = 0;
      last_code_.clear();
      const bool listed = next == After::list;
      next = *outcome;
      if (listed) continue;
    } else {
      log_failure(outcome.error());
    }
    co_await pause(!outcome);
  }
}

/// Reads the collection in pages, and reports it when the last page has come.
asio::awaitable<Result<void>> Watch::list() {
  std::vector<std::pair<std::string, json::object>> found;
  std::string next;
  do {
    std::string path = with(fmt::format("limit={}", page_objects));
    if (!next.empty()) path += "&continue=" + next;
    auto answer = co_await client_.get(path);
    if (!answer) co_return std::unexpected(answer.error());
    // 410: the token has expired, and the rest would be of a later time. The next attempt starts from the beginning.
    if (!answer->is_good()) co_return std::unexpected(error_of(*answer));
    const json::object* page = answer->body.if_object();
    const json::array* items = page == nullptr ? nullptr : array_at(*page, "items");
    if (items == nullptr) co_return fail("kubernetes.malformed", path_ + ": the list has no items");
    for (const json::value& item : *items) {
      if (const json::object* object = item.if_object()) found.emplace_back(key_of(*object), *object);
    }
    const json::object& metadata = object_at(*page, "metadata");
    version_ = text_at(metadata, "resourceVersion");
    next = text_at(metadata, "continue");
  } while (!next.empty());

  std::set<std::string> before = std::exchange(known_, {});
  for (const auto& [key, object] : found) {
    known_.insert(key);
    before.erase(key);
    events_.is_there(key, object);
  }
  for (const std::string& key : before) events_.is_gone(key);
  events_.synced();
  co_return Result<void>();
}

asio::awaitable<Result<Watch::After>> Watch::watch() {
  const std::string path = with(fmt::format("watch=1&allowWatchBookmarks=true&timeoutSeconds={}&resourceVersion={}",
                                            watch_time.count(), version_));
  Result<After> next = After::watch;
  const auto began = std::chrono::steady_clock::now();
  auto answer = co_await client_.watch(path, watch_time + watch_grace, [this, &next](std::string_view line) {
    next = read_event(line);
    return next && *next == After::watch;
  });
  // A watch that worked for a while and was cut off does not count as a failure of the next attempt.
  if (std::chrono::steady_clock::now() - began > pause_first) failures_ = 0;
  if (!answer) co_return std::unexpected(answer.error());
  if (answer->status == 410) co_return After::list;
  if (!answer->is_good()) co_return std::unexpected(error_of(*answer));
  co_return next;
}

Result<Watch::After> Watch::read_event(std::string_view line) {
  boost::system::error_code malformed;
  const json::value event = json::parse(line, malformed);
  if (malformed || !event.is_object()) return fail("kubernetes.malformed", path_ + ": an event is not a JSON object");
  const json::object& object = object_at(event.get_object(), "object");
  const std::string type = text_at(event.get_object(), "type");
  if (type == "ERROR") {
    if (number_at(object, "code") == 410) return After::list;
    return fail("kubernetes.refused", fmt::format("{}: {}", path_, text_at(object, "message")));
  }
  const std::string version = text_at(object_at(object, "metadata"), "resourceVersion");
  if (!version.empty()) version_ = version;
  const std::string key = key_of(object);
  if (type == "ADDED" || type == "MODIFIED") {
    known_.insert(key);
    events_.is_there(key, object);
  } else if (type == "DELETED") {
    known_.erase(key);
    events_.is_gone(key);
  }
  return After::watch;
}

/// The pause doubles with each failure in a row. It is short after a watch that ended as it should, so that a server
/// that ends every watch at once does not cause a busy loop.
asio::awaitable<void> Watch::pause(bool failed) {
  failures_ = failed ? failures_ + 1 : 0;
  const auto longest = std::min<std::chrono::milliseconds>(pause_max, pause_first * (1 << std::min(failures_, 10U)));
  const auto time = (0.5 + chance() / 2) * longest;
  co_await wait_for(std::chrono::duration_cast<std::chrono::milliseconds>(time));
}

/// Logs one line for each kind of failure, not one for each attempt.
void Watch::log_failure(const Error& error) {
  if (error.code == std::exchange(last_code_, error.code)) return;
  log_.warn("kubernetes.unreachable", {{"path", path_},
                                       {"code", error.code},
                                       {"text", error.text},
                                       {"hint", "what was known stays in force; the server tries again"}});
}

}  // namespace culvert::server
