// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/thread_pool.hpp>

#include "common/base/error.hpp"
#include "common/config/file_watcher.hpp"

namespace culvert {

/// Reads a program's configuration again, on request (SIGHUP) or when the file, its drop-ins or a file that it names
/// changes. Nothing else does. It reads off the loop, one load at a time; after a change during a load another load
/// follows. It applies nothing itself. Lives on the thread of its io_context. The pool must be joined before the
/// io_context is destroyed; this may be destroyed at any time before that.
class Reloader {
 public:
  /// Reports the result of a requested load. Called on the io_context's thread; not called when the program ends first.
  using Done = std::function<void(const Result<void>&)>;
  using Requests = std::vector<Done>;

  /// `parse`: Result<T>(), runs on `pool`, must not throw, and must not touch what it shares with other threads.
  /// `deliver`: void(Result<T>, const Requests&), runs on `context`; may call watch() and request(), and may destroy
  /// this. The requests are those that this load serves; it began after all of them.
  template <typename Parse, typename Deliver>
  Reloader(boost::asio::io_context& context, boost::asio::thread_pool& pool, std::filesystem::path file, Parse parse,
           Deliver deliver)
      : Reloader(context, pool, std::move(file), type_erased(std::move(parse), std::move(deliver))) {}
  Reloader(const Reloader&) = delete;
  Reloader& operator=(const Reloader&) = delete;
  ~Reloader();

  /// Watches the configuration (if it is a file), its drop-in directory, and these files. Call it at the start and
  /// after each successful load. Changes between that load and this call are not seen: call request() where that
  /// matters. Code "reload.unwatched": log it; request() still works.
  Result<void> watch(std::vector<std::filesystem::path> files);
  /// Loads now, or once more after the load that is under way. `deliver` must call `done`.
  void request(Done done = {});

 private:
  /// Hands over what was loaded, on the io_context.
  using Delivery = std::function<void(const Requests&)>;
  /// Loads, on the pool.
  using Load = std::function<Delivery()>;

  template <typename Parse, typename Deliver>
  static Load type_erased(Parse parse, Deliver deliver);

  Reloader(boost::asio::io_context& context, boost::asio::thread_pool& pool, std::filesystem::path file, Load load);
  void changed();
  void start_load();
  void finish_load(const Delivery& delivery, const Requests& served);

  boost::asio::io_context& context_;
  boost::asio::thread_pool& pool_;
  std::filesystem::path file_;
  Load load_;
  Requests requests_;  ///< For the next load.
  enum class State : std::uint8_t { idle, settling, loading, loading_stale } state_ = State::idle;
  boost::asio::steady_timer settle_timer_;
  FileWatcher watcher_;
  std::shared_ptr<bool> alive_ =
      std::make_shared<bool>(true);  // Queued handlers hold it weakly: this may be destroyed first.
};

template <typename Parse, typename Deliver>
Reloader::Load Reloader::type_erased(Parse parse, Deliver deliver) {
  using Loaded = std::invoke_result_t<Parse&>;
  return [parse = std::move(parse), deliver = std::make_shared<Deliver>(std::move(deliver))]() mutable -> Delivery {
    auto loaded = std::make_shared<Loaded>(parse());
    return [loaded, deliver](const Requests& served) { (*deliver)(std::move(*loaded), served); };
  };
}

}  // namespace culvert
