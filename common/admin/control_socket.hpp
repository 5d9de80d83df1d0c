// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/local/stream_protocol.hpp>

#include "common/admin/admin_thread.hpp"
#include "common/admin/log.hpp"
#include "common/base/error.hpp"

namespace culvert {

/// A command that an operator can give to the running program.
struct ControlCommand {
  using Answer = Result<std::string>;  ///< The text to show, or the error.

  std::string name;  ///< "status"; one word.
  std::string help;  ///< One line, such as "status [--json]: shows what runs, and its state".
  /// Runs on the socket's thread and must not block it. `done` may be called later and from any thread. `arguments` is
  /// the rest of the line, without surrounding blanks.
  std::function<void(std::string arguments, std::function<void(Answer)> done)> run;
};

/// The admin socket: a Unix socket of mode 0600, for root and the program's own user only (the kernel reports the
/// peer's user, threats E13). A client sends one line and receives an answer that begins with "ok" or "error <code>
/// <text>"; then the connection ends. `help` is built in. Has its own thread. The destructor removes the file.
class ControlSocket {
 public:
  static constexpr std::size_t line_bytes_max = 4096;
  static constexpr std::size_t connections_max = 16;

  /// Only tests change the defaults.
  struct Limits {
    /// From accept to the end of the line; and again for writing.
    std::chrono::steady_clock::duration line = std::chrono::seconds(10);
    std::chrono::steady_clock::duration answer = std::chrono::seconds(10);  ///< For the command to answer.
  };

  /// Binds and starts. Replaces a socket file without a listener. Errors: "admin.in_use" (another program answers
  /// there), "admin.not_a_socket", "admin.bad_path" (longer than 107 bytes), "admin.refused". `log` must outlive it.
  static Result<std::unique_ptr<ControlSocket>> open(const std::filesystem::path& path,
                                                     std::vector<ControlCommand> commands, Log& log, Limits limits);
  static Result<std::unique_ptr<ControlSocket>> open(const std::filesystem::path& path,
                                                     std::vector<ControlCommand> commands, Log& log) {
    return open(path, std::move(commands), log, Limits{});
  }
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;
  ~ControlSocket();

 private:
  using Protocol = boost::asio::local::stream_protocol;

  ControlSocket(std::filesystem::path path, std::vector<ControlCommand> commands, Log& log, Limits limits);
  boost::asio::awaitable<void> accept(Protocol::acceptor acceptor);
  boost::asio::awaitable<void> serve(Protocol::socket socket);
  boost::asio::awaitable<ControlCommand::Answer> answer(std::string line);
  std::string help() const;

  std::filesystem::path path_;
  std::uint64_t inode_ = 0;  ///< Identifies our socket file, so that no other file is removed.
  std::vector<ControlCommand> commands_;
  Log& log_;
  Limits limits_;
  AdminThread thread_;
};

/// `log-level [error|warn|info|debug]`: shows or changes the level until the next reload or restart. `log` must outlive
/// it.
ControlCommand log_level_command(Log& log);

/// The client side, for `culvert-server status` and the like: sends `command` and returns the text of a successful
/// answer. Blocks for at most 15 s. Errors: that of the program's answer; "admin.not_running", "admin.denied",
/// "admin.no_answer".
Result<std::string> ask_control_socket(const std::filesystem::path& path, std::string_view command);

}  // namespace culvert
