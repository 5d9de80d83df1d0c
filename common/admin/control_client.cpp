// SPDX-License-Identifier: Apache-2.0
// The client side of control_socket.hpp: plain blocking calls, since a subcommand has nothing else to do.
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>

#include <fmt/core.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/admin/control_socket.hpp"
#include "common/net/unique_fd.hpp"

namespace culvert {
namespace {

using Clock = std::chrono::steady_clock;
constexpr auto answer_max = std::chrono::seconds(15);
constexpr std::size_t answer_bytes_max = 64u << 20;

std::unexpected<Error> no_answer(const std::filesystem::path& path, std::string_view why) {
  return fail("admin.no_answer", fmt::format("the program on {} does not answer: {}", path.string(), why));
}

Result<UniqueFd> connect(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.native().size() >= sizeof address.sun_path) {
    return fail("admin.bad_path", fmt::format("{} is too long for a socket's path", path.string()));
  }
  std::ranges::copy(path.native(), address.sun_path);
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const timeval limit{std::chrono::seconds(answer_max).count(), 0};
  ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);  // Bounds connect, too.
  if (::connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return socket;
  if (errno == ENOENT || errno == ECONNREFUSED) {
    return fail("admin.not_running", fmt::format("nothing answers on {}: start the program; if it runs, pass the "
                                                 "--config that it runs with, or set `socket` in [admin]",
                                                 path.string()));
  }
  if (errno == EACCES || errno == EPERM) {
    return fail("admin.denied",
                fmt::format("may not use {}: be root, or the user that the program runs as", path.string()));
  }
  return no_answer(path, std::strerror(errno));
}

Result<std::string> read_all(const std::filesystem::path& path, int socket) {
  const auto deadline = Clock::now() + answer_max;
  std::string all;
  std::array<char, 65536> block{};
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd readable{socket, POLLIN, 0};
    const int ready = left > 0 ? ::poll(&readable, 1, static_cast<int>(left)) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) return no_answer(path, "it took too long");
    const ssize_t size = ::recv(socket, block.data(), block.size(), 0);
    // A reset follows an answer to a line that was not read to its end.
    if (size == 0 || (size < 0 && errno == ECONNRESET && !all.empty())) return all;
    if (size < 0) return no_answer(path, std::strerror(errno));
    all.append(block.data(), static_cast<std::size_t>(size));
    if (all.size() > answer_bytes_max) return no_answer(path, "the answer is too long");
  }
}

}  // namespace

Result<std::string> ask_control_socket(const std::filesystem::path& path, std::string_view command) {
  auto socket = connect(path);
  if (!socket) return std::unexpected(socket.error());
  const std::string line = std::string(command) + "\n";
  // A line beyond the limit cannot be sent completely; the answer says so.
  (void)!::send(socket->get(), line.data(), line.size(), MSG_NOSIGNAL);
  auto answer = read_all(path, socket->get());
  if (!answer) return answer;
  if (answer->starts_with("ok\n")) return answer->substr(3);
  constexpr std::string_view error_word = "error ";
  const auto code_end = answer->find(' ', error_word.size());
  if (!answer->starts_with(error_word) || code_end == answer->npos)
    return no_answer(path, "the answer is not in the protocol of the admin socket");
  std::string text = answer->substr(code_end + 1);
  if (text.ends_with('\n')) text.pop_back();
  return fail(answer->substr(error_word.size(), code_end - error_word.size()), std::move(text));
}

}  // namespace culvert
