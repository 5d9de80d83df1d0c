// SPDX-License-Identifier: Apache-2.0
#include "agent/back_end.hpp"

#include <algorithm>
#include <utility>

#include <sys/epoll.h>

namespace culvert::agent {

BackEnd::BackEnd(BackEndPool& pool, std::string key_of_all, RelaySocket connected, std::shared_ptr<void> place)
    : socket(std::move(connected)), key(std::move(key_of_all)), pool_(pool), place_(std::move(place)) {}

BackEnd::~BackEnd() {
  if (socket) pool_.plane().worker().poller().forget(*this);
}

bool BackEnd::watch() {
  return pool_.plane().worker().poller().add(socket.fd(), EPOLLIN | EPOLLOUT | EPOLLRDHUP, *this);
}

void BackEnd::on_ready(std::uint32_t events) {
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) socket.note_hangup();
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) readable = true;
  if (user != nullptr) return user->on_back_end(events);
  // An idle one has nothing to say: whatever comes is its end, or the answer to something that nobody asked.
  if (readable) pool_.drop(*this);
}

std::unique_ptr<BackEnd> BackEndPool::take(const std::string& key) {
  const auto found = idle_.find(key);
  if (found == idle_.end()) return nullptr;
  auto& idle = found->second;
  const protocol::Time now = DataPlane::now();
  std::erase_if(idle, [now](const auto& one) { return now - one->idle_since > idle_time_max; });
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
  back_end->was_used = true;
  back_end->idle_since = DataPlane::now();
  auto& idle = idle_[back_end->key];
  if (idle.size() >= idle_per_key_max) idle.erase(idle.begin());
  idle.push_back(std::move(back_end));
}

void BackEndPool::drop(BackEnd& back_end) {
  const auto found = idle_.find(back_end.key);
  if (found == idle_.end()) return;
  auto& idle = found->second;
  const auto place = std::ranges::find(idle, &back_end, &std::unique_ptr<BackEnd>::get);
  if (place == idle.end()) return;
  plane_.worker().bury(std::move(*place));
  idle.erase(place);
  if (idle.empty()) idle_.erase(found);
}

void BackEndPool::clear() {
  for (auto& [key, idle] : idle_) {
    for (auto& one : idle) plane_.worker().bury(std::move(one));
  }
  idle_.clear();
}

}  // namespace culvert::agent
