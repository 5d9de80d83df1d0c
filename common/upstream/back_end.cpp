// SPDX-License-Identifier: Apache-2.0
#include "common/upstream/back_end.hpp"

#include <algorithm>
#include <utility>

#include <sys/epoll.h>

#include "common/net/monotonic_time.hpp"

namespace culvert {

BackEnd::BackEnd(BackEndPool& pool, std::string key_of_all)
    : key(std::move(key_of_all)), worker_(pool.worker()), pool_(&pool) {}

BackEnd::~BackEnd() {
  if (socket) worker_.poller().forget(*this);
}

bool BackEnd::connect(Dialed dialed) {
  const bool is_watched = dialed.watch(worker_.poller(), *this);
  socket = HttpSocket(std::move(dialed.socket));
  connection_ = std::move(dialed.connection);
  return is_watched;
}

void BackEnd::on_ready(std::uint32_t events) {
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) socket.note_hangup();
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) readable = true;
  if (user != nullptr) return user->on_back_end(events);
  // An idle back end has nothing to send: this is its end, or an answer without a request.
  if (readable) pool_->drop(*this);
}

std::unique_ptr<BackEnd> BackEndPool::take(const std::string& key) {
  const auto found = idle_.find(key);
  if (found == idle_.end()) return nullptr;
  auto& idle = found->second;
  const protocol::Time now = monotonic_now();
  std::erase_if(idle, [now](const auto& one) { return now - one->idle_since >= one->idle_time_max; });
  std::unique_ptr<BackEnd> last;
  if (!idle.empty()) {
    last = std::move(idle.back());
    idle.pop_back();
  }
  if (idle.empty()) idle_.erase(found);
  return last;
}

void BackEndPool::put(std::unique_ptr<BackEnd> back_end) {
  back_end->user = nullptr;
  if (is_closed_ || back_end->idle_time_max.count() <= 0) return worker_.retire(std::move(back_end));
  back_end->was_used = true;
  back_end->idle_since = monotonic_now();
  auto& idle = idle_[back_end->key];
  if (idle.size() >= idle_per_key_max) idle.erase(idle.begin());
  idle.push_back(std::move(back_end));
}

void BackEndPool::drop(BackEnd& back_end) {
  const auto found = idle_.find(back_end.key);
  if (found == idle_.end()) return;
  auto& idle = found->second;
  const auto entry = std::ranges::find(idle, &back_end, &std::unique_ptr<BackEnd>::get);
  if (entry == idle.end()) return;
  worker_.retire(std::move(*entry));
  idle.erase(entry);
  if (idle.empty()) idle_.erase(found);
}

void BackEndPool::clear() {
  for (auto& [key, idle] : idle_) {
    for (auto& one : idle) worker_.retire(std::move(one));
  }
  idle_.clear();
}

void BackEndPool::close() {
  is_closed_ = true;
  clear();
}

}  // namespace culvert
