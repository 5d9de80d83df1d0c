// SPDX-License-Identifier: Apache-2.0
#include "common/ports/listener.hpp"

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
constexpr auto exhausted_patience = 1s;  // Connections wait in the backlog during a shorter shortage.

UniqueFd open_reserve() {
  return UniqueFd(::open("/dev/null", O_RDONLY | O_CLOEXEC));
}

/// Ends an unread connection with FIN: bytes that are left unread would make the kernel send RST, which the peer
/// reports as a crash.
void close_with_fin(UniqueFd fd) {
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
    // The peer left, or its network failed, before the accept (accept(2)): the next connection may work.
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
    // EMFILE, ENFILE, ENOBUFS, ENOMEM; an unknown error must not make us spin either.
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
  const char* remedy = error == EACCES ? "ports below 1024 need CAP_NET_BIND_SERVICE; grant it, or choose a higher port"
                       : error == EADDRNOTAVAIL
                           ? "no interface of this machine has this address; `ip address` lists its addresses"
                           : "check the address";
  return {"listen.refused", fmt::format("cannot listen on {}: {}: {}", where, std::strerror(error), remedy)};
}

/// With SO_REUSEPORT on both sockets the kernel allows addresses that overlap.
void set_reuse_port(int fd, bool reuse) {
  const int value = reuse ? 1 : 0;
  (void)::setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &value, sizeof value);
}

Result<UniqueFd> open_socket(const tcp::endpoint& local, bool shares_port) {
  UniqueFd fd = make_tcp_socket(local.protocol().family());
  const int on = 1;
  const int off = 0;
  if (fd && shares_port) set_reuse_port(fd.get(), true);
  const bool listens =
      fd && ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
      (!local.address().is_v6() || ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0) &&
      ::bind(fd.get(), local.data(), static_cast<socklen_t>(local.size())) == 0 &&
      ::listen(fd.get(), backlog_connections) == 0;
  if (!listens) return std::unexpected(listen_error(local, errno));
  if (shares_port) set_reuse_port(fd.get(), false);  // No other program may take the port.
  set_tcp_options(fd.get());                         // Accepted sockets inherit the options (tcp(7)).
  return fd;
}

}  // namespace

/// The part of a Listener that all workers share. The last of them closes the socket.
struct ListenerSocket {
  UniqueFd fd;
  ListenerEvents events;
  std::atomic<std::uint64_t> exhausted_total{0};
  std::atomic<std::uint64_t> exhausted_unreported{0};
  std::atomic<Clock::rep> report_at{0};

  /// Counts one failed accept, and reports if the last report was a second ago. On any worker.
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

/// One worker's part of a Listener. Made on the owner's thread, then used and destroyed on its worker.
class WorkerAcceptor final : public Pollable {
 public:
  WorkerAcceptor(Worker& worker, std::shared_ptr<ListenerSocket> socket, Admits admits)
      : worker_(worker),
        socket_(std::move(socket)),
        admits_(std::move(admits)),
        pause_timer_(worker.context()),
        reserve_(open_reserve()) {}
  WorkerAcceptor(const WorkerAcceptor&) = delete;
  WorkerAcceptor& operator=(const WorkerAcceptor&) = delete;
  ~WorkerAcceptor() = default;

  void start_polling() {
    polled_ = worker_.poller().add(socket_->fd.get(), EPOLLIN | EPOLLEXCLUSIVE, *this);
    if (!polled_) pause();
  }

  void stop_polling() {
    if (std::exchange(polled_, false)) worker_.poller().remove(socket_->fd.get(), *this);
  }

  void set_admits(Admits admits) { admits_ = std::move(admits); }

  void on_ready(std::uint32_t) override {
    for (int accepts = 0; accepts < accepts_per_event_max; ++accepts) {
      const Accepted outcome = accept_one();
      if (outcome == Accepted::nothing_waits) return;
      if (outcome == Accepted::exhausted) return pause();
    }
  }

  /// Set once by the Listener: the handler of an expired timer cannot be cancelled, so it checks whether this still
  /// exists.
  std::weak_ptr<WorkerAcceptor> self;

 private:
  Accepted accept_one() {
    sockaddr_storage storage{};
    socklen_t size = sizeof storage;
    UniqueFd fd(
        ::accept4(socket_->fd.get(), reinterpret_cast<sockaddr*>(&storage), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) return outcome_of(errno);
    const tcp::endpoint peer = endpoint_of(storage, size);
    if (admits_ && !admits_(peer.address())) {
      close_with_fin(std::move(fd));
      if (socket_->events.on_refused) socket_->events.on_refused(worker_, peer);
      return Accepted::connection;
    }
    socket_->events.on_accept(worker_, std::move(fd), peer);
    return Accepted::connection;
  }

  void pause() {
    const auto now = Clock::now();
    if (now - exhausted_last_ > 2 * exhausted_pause) exhausted_since_ = now;
    exhausted_last_ = now;
    if (now - exhausted_since_ >= exhausted_patience) close_waiting();
    socket_->exhausted(worker_);
    stop_polling();
    pause_timer_.expires_at(now + exhausted_pause);
    pause_timer_.async_wait([acceptor = self](const boost::system::error_code&) {
      if (const auto alive = acceptor.lock()) alive->start_polling();
    });
  }

  /// Closes connections that wait in the backlog, with the reserved descriptor, so that the clients need not wait for
  /// their own time-out.
  void close_waiting() {
    for (int accepts = 0; accepts < accepts_per_event_max; ++accepts) {
      reserve_.close();
      UniqueFd fd(::accept4(socket_->fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      const bool got_one = static_cast<bool>(fd);
      if (got_one) close_with_fin(std::move(fd));
      reserve_ = open_reserve();
      if (!got_one) return;
    }
  }

  Worker& worker_;
  std::shared_ptr<ListenerSocket> socket_;
  Admits admits_;
  asio::steady_timer pause_timer_;
  UniqueFd reserve_;
  Clock::time_point exhausted_since_;
  Clock::time_point exhausted_last_;
  bool polled_ = false;
};

Result<std::unique_ptr<Listener>> Listener::open(const tcp::endpoint& local, std::span<Worker* const> workers,
                                                 ListenerEvents events, const Admits& admits, UniqueFd inherited,
                                                 std::span<const Listener* const> leaving) {
  for (const Listener* each : leaving) each->set_shares_port(true);
  auto fd = inherited ? std::move(inherited) : open_socket(local, !leaving.empty());
  for (const Listener* each : leaving) each->set_shares_port(false);
  if (!fd) return std::unexpected(fd.error());
  auto socket = std::make_shared<ListenerSocket>();
  socket->fd = std::move(*fd);
  socket->events = std::move(events);
  return std::unique_ptr<Listener>(new Listener(std::move(socket), workers, admits));
}

Listener::Listener(std::shared_ptr<ListenerSocket> socket, std::span<Worker* const> workers, const Admits& admits)
    : socket_(std::move(socket)), local_(local_endpoint_of(socket_->fd.get())) {
  for (Worker* worker : workers) {
    auto acceptor = std::make_shared<WorkerAcceptor>(*worker, socket_, admits);
    acceptor->self = acceptor;
    acceptors_.push_back({worker, std::move(acceptor)});
  }
}

void Listener::set_shares_port(bool shares) const {
  if (socket_) set_reuse_port(socket_->fd.get(), shares);
}

void Listener::start() {
  for (const OnWorker& one : acceptors_) one.worker->post([acceptor = one.acceptor] { acceptor->start_polling(); });
}

void Listener::close() {
  for (OnWorker& one : acceptors_) one.worker->post([acceptor = std::move(one.acceptor)] { acceptor->stop_polling(); });
  acceptors_.clear();
  socket_.reset();
}

void Listener::set_admits(const Admits& admits) {
  for (OnWorker& one : acceptors_)
    one.worker->post([acceptor = one.acceptor, admits] { acceptor->set_admits(admits); });
}

std::uint64_t Listener::exhausted_count() const {
  return socket_ ? socket_->exhausted_total.load() : 0;
}

}  // namespace culvert
