// SPDX-License-Identifier: Apache-2.0
#include "common/admin/log.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <mutex>
#include <optional>
#include <string>

#include <poll.h>
#include <pthread.h>
#include <spdlog/async_logger.h>
#include <spdlog/details/thread_pool.h>
#include <spdlog/sinks/sink.h>
#include <unistd.h>

#include "common/admin/line_limit.hpp"

// spdlog provides the queue that drops its oldest line, and the thread that empties it. The caller formats the line,
// and a sink of our own writes it: when the reader of the pipe hangs, spdlog's own sink would block in write(),
// and its destructor too.

namespace culvert {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto flush_at_end_max = std::chrono::seconds(1);
// A pipe that polls as writable takes this much without blocking (pipe(7), PIPE_BUF).
constexpr std::size_t pipe_bytes = 4096;

/// Runs on the writer's thread, except give_up_at().
class PipeSink final : public spdlog::sinks::sink {
 public:
  explicit PipeSink(int fd) : fd_(fd) {}

  /// From any thread. Lines that cannot be written by then are lost.
  void give_up_at(Clock::time_point when) { give_up_at_.store(when, std::memory_order_relaxed); }

  void log(const spdlog::details::log_msg& line) override { write_all({line.payload.data(), line.payload.size()}); }
  void flush() override {}
  void set_pattern(const std::string&) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter>) override {}

 private:
  void write_all(std::string_view text) {
    while (!text.empty()) {
      if (Clock::now() >= give_up_at_.load(std::memory_order_relaxed)) return;
      pollfd writable{fd_, POLLOUT, 0};
      // Short waits, to notice the end of the program.
      if (::poll(&writable, 1, 50) <= 0) continue;
      const ssize_t written = ::write(fd_, text.data(), std::min(text.size(), pipe_bytes));
      if (written >= 0) {
        text.remove_prefix(static_cast<std::size_t>(written));
      } else if (errno != EAGAIN && errno != EINTR) {
        return;  // A full disk or a closed pipe: logging is best effort (threats F1).
      }
    }
  }

  int fd_;
  std::atomic<Clock::time_point> give_up_at_{Clock::time_point::max()};
};

/// Blocks all signals: other threads wait for them, and SIGPIPE must not end the program.
void prepare_thread() {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  pthread_setname_np(pthread_self(), "log");
}

}  // namespace

struct Log::Writer {
  explicit Writer(int fd)
      : sink(std::make_shared<PipeSink>(fd)),
        pool(std::make_shared<spdlog::details::thread_pool>(queue_lines_max, 1, prepare_thread)),
        queue(std::make_shared<spdlog::async_logger>("culvert", sink, pool,
                                                     spdlog::async_overflow_policy::overrun_oldest)) {}

  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;
  ~Writer() {
    sink->give_up_at(Clock::now() + flush_at_end_max);
    pool.reset();
  }

  void put(Level level, std::string_view event, LogFields fields, std::optional<std::uint64_t> suppressed) {
    std::string line = format_log_line(format, std::chrono::system_clock::now(), level, event, fields, suppressed);
    line += '\n';
    queue->log(spdlog::level::critical, spdlog::string_view_t(line.data(), line.size()));
  }

  /// Logs the number of lost lines when the queue has room again; once per loss.
  void report_dropped() {
    const std::uint64_t lost = pool->overrun_counter();
    const std::uint64_t before = reported.load(std::memory_order_relaxed);
    if (lost == before || pool->queue_size() > queue_lines_max / 2) return;
    std::uint64_t expected = before;
    if (reported.compare_exchange_strong(expected, lost))
      put(Level::warn, "log.dropped", {{"lines", lost - before}}, {});
  }

  std::atomic<LogSettings::Format> format{LogSettings::Format::text};
  std::shared_ptr<PipeSink> sink;
  std::shared_ptr<spdlog::details::thread_pool> pool;
  std::shared_ptr<spdlog::async_logger> queue;
  std::atomic<std::uint64_t> reported{0};
  std::mutex limit_mutex;
  LineLimit limit;
};

Log::Log(const LogSettings& settings, int fd) : level_(settings.level), writer_(std::make_unique<Writer>(fd)) {
  writer_->format = settings.format;
}

Log::~Log() = default;

void Log::write(Level level, std::string_view event, LogFields fields) {
  if (!writes(level)) return;
  writer_->report_dropped();
  writer_->put(level, event, fields, {});
}

void Log::limited(Level level, std::string_view event, LogFields fields) {
  if (!writes(level)) return;
  std::optional<std::uint64_t> suppressed;
  {
    const std::lock_guard lock(writer_->limit_mutex);
    suppressed = writer_->limit.admit(event, Clock::now());
  }
  if (!suppressed) return;
  writer_->report_dropped();
  writer_->put(level, event, fields, *suppressed > 0 ? suppressed : std::nullopt);
}

void Log::set_format(LogSettings::Format format) {
  writer_->format = format;
}

std::uint64_t Log::dropped() const {
  return writer_->pool->overrun_counter();
}

}  // namespace culvert
