// SPDX-License-Identifier: Apache-2.0
#include "common/admin/control_socket.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/basic_stream.hpp>
#include <fmt/core.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/net/unique_fd.hpp"

namespace culvert {

namespace asio = boost::asio;
namespace beast = boost::beast;
using boost::system::error_code;

namespace {

constexpr auto accept_pause = std::chrono::milliseconds(100);  // threats C9
constexpr std::size_t path_bytes_max = sizeof(sockaddr_un::sun_path) - 1;

std::string_view trim(std::string_view text) {
  constexpr std::string_view blanks = " \t\r\n";
  const auto first = text.find_first_not_of(blanks);
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

Error cannot_listen(const std::filesystem::path& path, const std::string& why) {
  return {"admin.refused",
          fmt::format("cannot make the admin socket {}: {}; check its directory, or set `socket` in [admin]",
                      path.string(), why)};
}

/// Removes a socket file that an ended program left behind, and no other file.
Result<void> remove_stale(const std::filesystem::path& path) {
  struct stat file{};
  if (::lstat(path.c_str(), &file) != 0) return {};
  if (!S_ISSOCK(file.st_mode)) {
    return fail(
        "admin.not_a_socket",
        fmt::format(
            "{} is in the way of the admin socket and is not a socket: move it away, or set `socket` in [admin]",
            path.string()));
  }
  UniqueFd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::ranges::copy(path.native(), address.sun_path);
  const int connected = ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  if (connected == 0 || errno == EAGAIN) {
    return fail("admin.in_use", fmt::format("another program answers on the admin socket {}: is it running already? To "
                                            "run both, set another `socket` in [admin]",
                                            path.string()));
  }
  if (errno != ECONNREFUSED && errno != ENOENT) return std::unexpected(cannot_listen(path, std::strerror(errno)));
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return std::unexpected(cannot_listen(path, std::strerror(errno)));
  return {};
}

Result<asio::local::stream_protocol::acceptor> bind(asio::io_context& context, const std::filesystem::path& path) {
  if (path.empty() || path.native().size() > path_bytes_max) {
    return fail("admin.bad_path",
                fmt::format("the admin socket's path \"{}\" has {} bytes, and the system allows 1 to {}: set a "
                            "shorter `socket` in [admin]",
                            path.string(), path.native().size(), path_bytes_max));
  }
  asio::local::stream_protocol::acceptor acceptor(context);
  error_code error;
  acceptor.open({}, error);
  if (error) return std::unexpected(cannot_listen(path, error.message()));
  // Before bind, so that the file never has another mode: Linux gives it the mode of the descriptor.
  ::fchmod(acceptor.native_handle(), 0600);
  const asio::local::stream_protocol::endpoint local(path.native());
  acceptor.bind(local, error);
  if (error == asio::error::address_in_use) {
    auto removed = remove_stale(path);
    if (!removed) return std::unexpected(removed.error());
    acceptor.bind(local, error);
  }
  if (!error) acceptor.listen(16, error);
  if (error) return std::unexpected(cannot_listen(path, error.message()));
  return acceptor;
}

bool may_command(int socket) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  return peer.uid == 0 || peer.uid == ::geteuid();
}

std::string to_text(ControlCommand::Answer answer) {
  if (!answer) return fmt::format("error {} {}\n", answer.error().code, answer.error().text);
  if (!answer->empty() && !answer->ends_with('\n')) *answer += '\n';
  return "ok\n" + *answer;
}

}  // namespace

Result<std::unique_ptr<ControlSocket>> ControlSocket::open(const std::filesystem::path& path,
                                                           std::vector<ControlCommand> commands, Log& log,
                                                           Limits limits) {
  std::unique_ptr<ControlSocket> socket(new ControlSocket(path, std::move(commands), log, limits));
  auto acceptor = bind(*socket->thread_.context(), path);
  if (!acceptor) return std::unexpected(acceptor.error());
  struct stat file{};
  if (::lstat(path.c_str(), &file) == 0) socket->inode_ = file.st_ino;
  socket->thread_.start(socket->accept(std::move(*acceptor)));
  return socket;
}

ControlSocket::ControlSocket(std::filesystem::path path, std::vector<ControlCommand> commands, Log& log, Limits limits)
    : path_(std::move(path)),
      commands_(std::move(commands)),
      log_(log),
      limits_(limits),
      thread_("admin-socket", log) {}

ControlSocket::~ControlSocket() {
  struct stat file{};
  if (inode_ != 0 && ::lstat(path_.c_str(), &file) == 0 && file.st_ino == inode_) ::unlink(path_.c_str());
}

asio::awaitable<void> ControlSocket::accept(Protocol::acceptor acceptor) {
  asio::steady_timer pause(acceptor.get_executor());
  for (;;) {
    auto [error, socket] = co_await acceptor.async_accept(asio::as_tuple(asio::use_awaitable));
    if (thread_.tasks().is_stopping()) co_return;
    if (error) {
      log_.limited(Log::Level::warn, "admin.accept_failed", {{"error", error.message()}});
      pause.expires_after(accept_pause);
      (void)co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
    } else if (thread_.tasks().size() > connections_max) {  // One of the tasks is this loop.
      log_.limited(Log::Level::warn, "admin.full", {{"connections_max", connections_max}});
    } else {
      thread_.tasks().spawn(serve(std::move(socket)));
    }
  }
}

asio::awaitable<void> ControlSocket::serve(Protocol::socket socket) {
  const bool allowed = may_command(socket.native_handle());
  beast::basic_stream<Protocol> stream(std::move(socket));
  stream.expires_after(limits_.line);
  ControlCommand::Answer reply =
      fail("admin.forbidden", "only root and the user that the program runs as may give commands");
  if (!allowed) {
    log_.limited(Log::Level::warn, "admin.forbidden");
  } else {
    std::string line;
    auto [error, size] = co_await asio::async_read_until(stream, asio::dynamic_buffer(line, line_bytes_max), '\n',
                                                         asio::as_tuple(asio::use_awaitable));
    if (!error || (error == asio::error::eof && !line.empty())) {
      reply = co_await answer(line.substr(0, line.find('\n')));
    } else if (error == asio::error::not_found) {
      reply = fail("admin.line_too_long", fmt::format("a command is one line of at most {} bytes", line_bytes_max));
    } else {
      co_return;  // The peer is gone, or it was too slow and Beast has closed the socket.
    }
  }
  const std::string text = to_text(std::move(reply));
  stream.expires_after(limits_.line);
  (void)co_await asio::async_write(stream, asio::buffer(text), asio::as_tuple(asio::use_awaitable));
}

asio::awaitable<ControlCommand::Answer> ControlSocket::answer(std::string line) {
  const std::string_view words = trim(line);
  const std::string name(words.substr(0, words.find_first_of(" \t")));
  std::string arguments(trim(words.substr(name.size())));
  if (name == "help") co_return ControlCommand::Answer(help());
  const auto command = std::ranges::find(commands_, name, &ControlCommand::name);
  if (command == commands_.end()) {
    std::string known = "help";
    for (const ControlCommand& each : commands_) known += ", " + each.name;
    co_return ControlCommand::Answer(
        fail("admin.unknown_command", fmt::format("unknown command \"{}\"; the commands are {}", name, known)));
  }
  const Question<ControlCommand::Answer> question = [&](std::function<void(ControlCommand::Answer)> done) {
    command->run(std::move(arguments), std::move(done));
  };
  auto answered = co_await ask<ControlCommand::Answer>(thread_.context(), question, limits_.answer);
  if (!answered) {
    co_return ControlCommand::Answer(
        fail("admin.timeout", fmt::format("\"{}\" did not finish in time; it may still be running", name)));
  }
  co_return std::move(*answered);
}

std::string ControlSocket::help() const {
  std::string text = "help: this list\n";
  for (const ControlCommand& command : commands_) text += command.help + "\n";
  return text;
}

ControlCommand log_level_command(Log& log) {
  const auto run = [&log](const std::string& arguments, const std::function<void(ControlCommand::Answer)>& done) {
    if (arguments.empty()) return done(std::string(to_string(log.level())));
    const auto level = parse_log_level(arguments);
    if (!level)
      return done(
          fail("admin.bad_argument", fmt::format("\"{}\" is not a level: use error, warn, info or debug", arguments)));
    log.set_level(*level);
    log.info("log.level_changed", {{"level", arguments}});
    done(std::string());
  };
  return {"log-level",
          "log-level [error|warn|info|debug]: shows or changes the log level, until the next reload or restart", run};
}

}  // namespace culvert
