// SPDX-License-Identifier: Apache-2.0
#include "common/admin/admin_thread.hpp"

#include <csignal>
#include <exception>

#include <pthread.h>

#include "common/base/error.hpp"

namespace culvert {
namespace {

std::string what_of(const std::exception_ptr& exception) {
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "not a std::exception";
  }
}

}  // namespace

AdminThread::AdminThread(std::string name, Log& log)
    : name_(std::move(name)),
      context_(std::make_shared<boost::asio::io_context>(1)),
      tasks_(context_->get_executor(), [&log, this](const std::exception_ptr& exception) {
        log.error("admin.defect", {{"where", name_}, {"what", what_of(exception)}});
      }) {}

AdminThread::~AdminThread() {
  if (!thread_.joinable()) return;
  boost::asio::post(*context_, [this] { tasks_.request_stop(); });
  thread_.join();
}

void AdminThread::start(boost::asio::awaitable<void> first) {
  tasks_.spawn(std::move(first));
  thread_ = std::thread([this] {
    // Signals are for the thread that waits for them.
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, nullptr);
    pthread_setname_np(pthread_self(), name_.c_str());
    context_->run();
  });
}

}  // namespace culvert
