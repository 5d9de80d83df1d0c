// SPDX-License-Identifier: Apache-2.0
#include "tests/bench/backend.hpp"

#include <array>
#include <bit>
#include <cerrno>
#include <system_error>
#include <unordered_map>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "tests/bench/sockets.hpp"

namespace culvert::bench {
namespace {

class Backend {
 public:
  explicit Backend(std::uint16_t port) {
    set_option(listener_.number(), SOL_SOCKET, SO_REUSEADDR, 1);
    const sockaddr_in address = loopback(port);
    if (::bind(listener_.number(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener_.number(), 4096) != 0) {
      fail_by_errno("listen");
    }
    poller_.add(listener_.number(), EPOLLIN, 0);
  }

  [[noreturn]] void run() {
    for (;;) {
      for (const epoll_event& event : poller_.wait(-1)) {
        if (event.data.u64 == 0) {
          accept_all();
          continue;
        }
        const auto client = clients_.find(static_cast<int>(event.data.u64));
        if (!is_served(client->second, event.events)) clients_.erase(client);
      }
    }
  }

 private:
  struct Client {
    Descriptor socket;
    Kind kind = Kind::none;   // none: a request is awaited
    Kind asked = Kind::none;  // by the request under way
    std::uint64_t bytes = 0;  // of the request under way, or sunk
  };

  void accept_all() {
    for (int number; (number = ::accept4(listener_.number(), nullptr, nullptr, SOCK_NONBLOCK)) >= 0;) {
      Client& client = clients_.insert_or_assign(number, Client{Descriptor(number, "accept4")}).first->second;
      set_option(client.socket.number(), IPPROTO_TCP, TCP_NODELAY, 1);
      poller_.add(number, EPOLLIN, static_cast<std::uint64_t>(number));
    }
  }

  /// False: this client has ended, or was reset.
  bool is_served(Client& client, std::uint32_t events) {
    try {
      return serve(client, events);
    } catch (const std::system_error&) {
      return false;
    }
  }

  bool serve(Client& client, std::uint32_t events) {
    if (client.kind == Kind::none) return read_request(client);
    if (client.kind == Kind::sink) return sink(client);
    if ((events & (EPOLLRDHUP | EPOLLERR | EPOLLHUP)) != 0) return false;
    if (client.kind == Kind::source) send_some(client.socket.number(), chunk());
    return true;
  }

  bool read_request(Client& client) {
    std::array<char, request_bytes> request{};
    const ssize_t got = ::recv(client.socket.number(), request.data(), request.size() - client.bytes, 0);
    if (got <= 0) return got < 0 && errno == EAGAIN;
    if (client.bytes == 0) client.asked = static_cast<Kind>(request[0]);
    client.bytes += static_cast<std::uint64_t>(got);
    if (client.bytes < request_bytes) return true;
    client.bytes = 0;
    return begin(client);
  }

  bool begin(Client& client) {
    static constexpr std::array<char, answer_bytes> answer{};
    const int socket = client.socket.number();
    if (client.asked == Kind::query || client.asked == Kind::once) {
      return send_some(socket, answer) == answer.size() && client.asked == Kind::query;
    }
    client.kind = client.asked;
    const auto key = static_cast<std::uint64_t>(socket);
    if (client.kind == Kind::source) poller_.modify(socket, EPOLLOUT | EPOLLRDHUP, key);
    if (client.kind == Kind::stall) poller_.modify(socket, 0, key);
    return true;
  }

  bool sink(Client& client) {
    const ssize_t got = ::recv(client.socket.number(), chunk().data(), chunk().size(), 0);
    if (got > 0) client.bytes += static_cast<std::uint64_t>(got);
    if (got != 0) return got > 0 || errno == EAGAIN;
    std::array<char, sizeof client.bytes> count = std::bit_cast<std::array<char, sizeof client.bytes>>(client.bytes);
    send_some(client.socket.number(), count);
    return false;
  }

  Descriptor listener_{::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), "socket"};
  Poller poller_;
  std::unordered_map<int, Client> clients_;
};

}  // namespace

void run_backend(std::uint16_t port) {
  Backend(port).run();
}

}  // namespace culvert::bench
