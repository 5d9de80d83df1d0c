// SPDX-License-Identifier: Apache-2.0
#include "common/net/listener.hpp"

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include <boost/asio/steady_timer.hpp>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/epoll.h>

#include "common/net/socket_address.hpp"

namespace culvert {

namespace asio = boost::asio;
using asio::ip::tcp;
using namespace std::chrono_literals;
using Clock = asio::steady_timer::clock_type;

namespace {

constexpr int backlog_connections = 4096;
constexpr int accepts_per_event_max = 64;
constexpr auto exhausted_pause = 100ms;  // As OpenSSH does.
constexpr auto exhausted_report_every = 1s;
constexpr auto exhausted_patience = 1s;  // A short want is better waited out in the backlog.

UniqueFd open_reserve() {
  return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

/// Ends a connection that nobody reads from with FIN: bytes left unread would make the kernel send RST, which the peer
/// reports as a crash.
void close_politely(UniqueFd fd) {
  ::shutdown(fd.get(), SHUT_WR);
  std::array<char, 4096> ignored{};
  for (int reads = 0; reads < 16; ++reads) {
    if (::recv(fd.get(), ignored.data(), ignored.size(), MSG_DONTWAIT) <= 0) return;
  }
}

enum class Accepted { connection, nothing_waits, try_next, exhausted };

Accepted outcome_of(int error) {
  switch (error) {
    case EAGAIN: return Accepted::nothing_waits;
    // The peer left, or its network failed, before we came (accept(2)): the next one may be well.
    case EINTR:
    case ECONNABORTED:
    case EPROTO:
    case EPERM:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET: return Accepted::try_next;
    // EMFILE, ENFILE, ENOBUFS, ENOMEM; and what we do not know must not make us spin either.
    default: return Accepted::exhausted;
  }
}

Error listen_error(const tcp::endpoint& local, int error) {
  const std::string where = to_text(local);
  if (error == EADDRINUSE) {
    return {"listen.in_use",
            fmt::format("cannot listen on {}: another program has this port. Find it with `ss -ltnp 'sport = :{}'`, "
                        "stop it, or choose another port",
                        where, local.port())};
  }
  const char* remedy = error == EACCES ? "ports below 1024 need CAP_NET_BIND_SERVICE; take a higher port or grant it"
                       : error == EADDRNOTAVAIL
                           ? "no interface of this machine has this address; `ip address` lists those it has"
                           : "check the address";
  return {"listen.refused", fmt::format("cannot listen on {}: {}: {}", where, std::strerror(error), remedy)};
}

Result<UniqueFd> open_socket(const tcp::endpoint& local) {
  UniqueFd fd = make_tcp_socket(local.protocol().family());
  const int on = 1;
  const int off = 0;
  const bool listens =
      fd && ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
      (!local.address().is_v6() || ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0) &&
      ::bind(fd.get(), local.data(), static_cast<socklen_t>(local.size())) == 0 &&
      ::listen(fd.get(), backlog_connections) == 0;
  if (!listens) return std::unexpected(listen_error(local, errno));
  set_no_delay(fd.get());  // What it accepts inherits that (tcp(7)).
  return fd;
}

}  // namespace

/// What all workers share of one Listener. Closed with the last of them.
struct ListenerSocket {
  UniqueFd fd;
  ListenerEvents events;
  std::atomic<std::uint64_t> exhausted_total{0};
  std::atomic<std::uint64_t> exhausted_unreported{0};
  std::atomic<Clock::rep> report_at{0};

  /// Counts one exhaustion and reports when a second has passed, whichever worker finds it so.
  void exhausted(Worker& worker) {
    exhausted_total.fetch_add(1, std::memory_order_relaxed);
    exhausted_unreported.fetch_add(1, std::memory_order_relaxed);
    const auto now = Clock::now().time_since_epoch();
    auto due = report_at.load();
    if (now.count() < due) return;
    const auto next = now + std::chrono::duration_cast<Clock::duration>(exhausted_report_every);
    if (!report_at.compare_exchange_strong(due, next.count())) return;
    const auto times = exhausted_unreported.exchange(0);
    if (events.on_exhausted) events.on_exhausted(worker, times);
  }
};

/// One worker's part of a Listener. Made by the owner's thread, from then on used and destroyed on its worker.
class ListenerEar final : public Pollable {
 public:
  ListenerEar(Worker& worker, std::shared_ptr<ListenerSocket> socket, Admits admits)
      : worker_(worker),
        socket_(std::move(socket)),
        admits_(std::move(admits)),
        pause_(worker.context()),
        reserve_(open_reserve()) {}
  ListenerEar(const ListenerEar&) = delete;
  ListenerEar& operator=(const ListenerEar&) = delete;
  ~ListenerEar() = default;

  void start_polling() {
    polled_ = worker_.poller().add(socket_->fd.get(), EPOLLIN | EPOLLEXCLUSIVE, *this);
    if (!polled_) rest();
  }

  void stop_polling() {
    if (std::exchange(polled_, false)) worker_.poller().remove(socket_->fd.get(), *this);
  }

  void set_admits(Admits admits) { admits_ = std::move(admits); }

  void on_ready(std::uint32_t) override {
    for (int accepts = 0; accepts < accepts_per_event_max; ++accepts) {
      const Accepted outcome = accept_one();
      if (outcome == Accepted::nothing_waits) return;
      if (outcome == Accepted::exhausted) return rest();
    }
  }

  /// Set once by the Listener: a timer's handler that was already due cannot be recalled, so it asks whether we still
  /// live.
  std::weak_ptr<ListenerEar> self;

 private:
  Accepted accept_one() {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    UniqueFd fd(
        ::accept4(socket_->fd.get(), reinterpret_cast<sockaddr*>(&storage), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) return outcome_of(errno);
    const tcp::endpoint peer = endpoint_of(storage, size);
    if (admits_ && !admits_(peer.address())) {
      close_politely(std::move(fd));
      if (socket_->events.on_refused) socket_->events.on_refused(worker_, peer);
      return Accepted::connection;
    }
    socket_->events.on_accept(worker_, std::move(fd), peer);
    return Accepted::connection;
  }

  void rest() {
    const auto now = Clock::now();
    if (now - exhausted_last_ > 2 * exhausted_pause) exhausted_since_ = now;
    exhausted_last_ = now;
    if (now - exhausted_since_ >= exhausted_patience) turn_away_waiting();
    socket_->exhausted(worker_);
    stop_polling();
    pause_.expires_at(now + exhausted_pause);
    pause_.async_wait([ear = self](const boost::system::error_code&) {
      if (const auto alive = ear.lock()) alive->start_polling();
    });
  }

  /// Those who waited for long are told by a close, with the help of the descriptor kept for it, instead of hanging
  /// until their own time-out.
  void turn_away_waiting() {
    for (int accepts = 0; accepts < accepts_per_event_max; ++accepts) {
      reserve_.close();
      UniqueFd fd(::accept4(socket_->fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      const bool got_one = static_cast<bool>(fd);
      if (got_one) close_politely(std::move(fd));
      reserve_ = open_reserve();
      if (!got_one) return;
    }
  }

  Worker& worker_;
  std::shared_ptr<ListenerSocket> socket_;
  Admits admits_;
  asio::steady_timer pause_;
  UniqueFd reserve_;
  Clock::time_point exhausted_since_;
  Clock::time_point exhausted_last_;
  bool polled_ = false;
};

Result<std::unique_ptr<Listener>> Listener::open(const tcp::endpoint& local, std::span<Worker* const> workers,
                                                 ListenerEvents events, const Admits& admits, UniqueFd inherited) {
  auto fd = inherited ? std::move(inherited) : open_socket(local);
  if (!fd) return std::unexpected(fd.error());
  auto socket = std::make_shared<ListenerSocket>();
  socket->fd = std::move(*fd);
  socket->events = std::move(events);
  return std::unique_ptr<Listener>(new Listener(std::move(socket), workers, admits));
}

Listener::Listener(std::shared_ptr<ListenerSocket> socket, std::span<Worker* const> workers, const Admits& admits)
    : socket_(std::move(socket)), local_(local_endpoint_of(socket_->fd.get())) {
  for (Worker* worker : workers) {
    auto ear = std::make_shared<ListenerEar>(*worker, socket_, admits);
    ear->self = ear;
    worker->post([ear] { ear->start_polling(); });
    posts_.push_back({worker, std::move(ear)});
  }
}

void Listener::close() {
  for (Post& post : posts_) post.worker->post([ear = std::move(post.ear)] { ear->stop_polling(); });
  posts_.clear();
  socket_.reset();
}

void Listener::set_admits(const Admits& admits) {
  for (Post& post : posts_) post.worker->post([ear = post.ear, admits] { ear->set_admits(admits); });
}

std::uint64_t Listener::exhausted_count() const {
  return socket_ ? socket_->exhausted_total.load() : 0;
}

}  // namespace culvert
