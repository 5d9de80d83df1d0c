// SPDX-License-Identifier: Apache-2.0
#include "common/config/reloader.hpp"

#include <chrono>
#include <system_error>
#include <utility>

#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/prefer.hpp>

namespace culvert {

namespace asio = boost::asio;

namespace {
// One `kubectl apply` or one editor's save is a burst of events.
constexpr std::chrono::milliseconds settle_delay{200};
}  // namespace

Reloader::Reloader(asio::io_context& context, asio::thread_pool& pool, std::filesystem::path file, Load load)
    : context_(context),
      pool_(pool),
      file_(std::move(file)),
      load_(std::move(load)),
      settle_timer_(context),
      watcher_(context, [this] { changed(); }) {}

Reloader::~Reloader() = default;

Result<void> Reloader::watch(std::vector<std::filesystem::path> files) {
  if (file_.empty()) return watcher_.watch(std::move(files), {});
  std::error_code error;
  const std::filesystem::path file = std::filesystem::absolute(file_, error);
  files.push_back(file);
  return watcher_.watch(std::move(files), file.string() + ".d");
}

void Reloader::request(Done done) {
  if (done) requests_.push_back(std::move(done));
  switch (state_) {
    case State::settling: settle_timer_.cancel(); [[fallthrough]];
    case State::idle: start_load(); break;
    case State::loading: state_ = State::loading_stale; break;
    case State::loading_stale: break;
  }
}

void Reloader::changed() {
  switch (state_) {
    case State::idle: break;
    case State::loading: state_ = State::loading_stale; return;
    case State::settling:
    case State::loading_stale: return;
  }
  // Counted from the first event and not from the last, since a file that changes all the time must not delay the load
  // without end.
  state_ = State::settling;
  settle_timer_.expires_after(settle_delay);
  settle_timer_.async_wait([this, alive = std::weak_ptr(alive_)](const boost::system::error_code& error) {
    if (!error && !alive.expired() && state_ == State::settling) start_load();
  });
}

void Reloader::start_load() {
  state_ = State::loading;
  watcher_.forget_changes();
  // Keeps the io_context running until the result has arrived.
  auto home = asio::prefer(context_.get_executor(), asio::execution::outstanding_work.tracked);
  asio::post(pool_, [this, home, load = load_, served = std::exchange(requests_, {}),
                     alive = std::weak_ptr(alive_)]() mutable {
    // On the pool's thread `this` may be destroyed already: it is carried, not used.
    auto delivery = load();
    // `load` is moved along, so that what the caller put into it is destroyed on the caller's thread.
    asio::post(home, [this, alive, delivery, load = std::move(load), served = std::move(served)] {
      if (!alive.expired()) finish_load(delivery, served);
    });
  });
}

void Reloader::finish_load(const Delivery& delivery, const Requests& served) {
  const bool is_stale = state_ == State::loading_stale;
  state_ = State::idle;
  if (is_stale) changed();
  delivery(served);  // Must be last: it may destroy this.
}

}  // namespace culvert
