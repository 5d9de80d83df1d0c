// SPDX-License-Identifier: Apache-2.0
#include "common/upstream/target_dialer.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <utility>

#include <sys/socket.h>

#include "common/admin/defect.hpp"
#include "common/net/monotonic_time.hpp"
#include "common/net/outside.hpp"
#include "common/net/socket_address.hpp"
#include "common/net/socket_options.hpp"
#include "common/tls/tls_connect.hpp"

namespace culvert {

using protocol::Reason;
using protocol::Reject;

namespace {

constexpr std::chrono::milliseconds waiting_poll{20};

bool names_an_address(const std::string& host) {
  boost::system::error_code not_a_literal;
  (void)boost::asio::ip::make_address(host, not_a_literal);
  return !not_a_literal || host == "localhost";
}

}  // namespace

Reject reject_of(const Error& error) {
  if (error.code == "dial.refused") return {Reason::target_refused, false, "the target refused the connection"};
  if (error.code == "dial.timed_out" || error.code == "tls.timed_out")
    return {Reason::target_timed_out, false, "the target did not answer in time"};
  if (error.code == "dial.name_not_found" || error.code == "dial.dns_failed")
    return {Reason::target_name_unknown, false, "the target's name cannot be resolved"};
  if (error.code == "dial.address_denied")
    return {Reason::not_exposed, false, "the target's name resolves to a forbidden address"};
  if (error.code == "dial.no_descriptors" || error.code == "dial.no_local_port")
    return {Reason::overloaded, true, "out of local ports or descriptors"};
  if (error.code.starts_with("tls.")) return {Reason::target_tls_failed, false, "TLS to the target failed"};
  return {Reason::target_unreachable, false, "the target cannot be reached"};
}

Admission::Admission(Permit stream, SharePermit descriptor, std::shared_ptr<ChurnGuard> guard)
    : stream_(std::move(stream)),
      descriptor_(std::move(descriptor)),
      guard_(std::move(guard)),
      began_(monotonic_now()) {}

Admission::~Admission() {
  note_end(false);
}

void Admission::note_reset() {
  note_end(true);
}

void Admission::note_end(bool reset_by_opener) {
  if (!guard_) return;
  const protocol::Time now = monotonic_now();
  std::exchange(guard_, nullptr)->note(now - began_, reset_by_opener, now);
}

bool Dialed::watch(Poller& poller, Pollable& pollable) const {
  constexpr std::uint32_t events = EPOLLIN | EPOLLOUT | EPOLLRDHUP;
  if (watched_by == nullptr) return poller.add(socket.fd(), events, pollable);
  return poller.hand_over(socket.fd(), events, *watched_by, pollable);
}

/// Permits and the gauge of a dial, until it is over.
struct TargetDialer::Held {
  Held(TargetDialer& owner, Permit dial_permit, Permit mapping_permit)
      : dialer(owner), dial(std::move(dial_permit)), connection(std::move(mapping_permit)) {
    dialer.gauge_.add();
  }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  ~Held() {
    dialer.gauge_.sub();
    dial.reset();
    dialer.note_dial_over();
  }

  TargetDialer& dialer;
  Permit dial;
  Permit connection;
};

/// The dial of one address without TLS, the usual case. It needs no resolver and no handshake, so it runs without a
/// coroutine.
class TargetDialer::DirectDial final : public Dial, public Pollable {
 public:
  DirectDial(TargetDialer& dialer, const StreamTarget& target, std::unique_ptr<Held> held, Done done)
      : dialer_(dialer),
        target_{.endpoint = target.endpoint, .name = target.name},
        deadline_(monotonic_now() + target.connect_time_max),
        held_(std::move(held)),
        done_(std::move(done)) {}
  ~DirectDial() override {
    // The kernel may have connected it already: the target must not see a normal end.
    if (socket_) reset_on_close(socket_.get());
    dialer_.worker_.poller().forget(*this);
  }

  /// Returns false if the dial is over already.
  bool begin(const boost::asio::ip::address& address) {
    const boost::asio::ip::tcp::endpoint remote(address, target_.endpoint.port);
    socket_ = make_tcp_socket(remote.protocol().family());
    if (!socket_) return fail(errno);
    if (::connect(socket_.get(), remote.data(), static_cast<socklen_t>(remote.size())) == 0) {
      succeed(nullptr);
      return false;
    }
    if (errno != EINPROGRESS) return fail(errno);
    if (dialer_.worker_.poller().add(socket_.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP, *this)) return true;
    done_(std::unexpected(Reject{Reason::overloaded, true, "the kernel's limit of watched sockets is reached"}));
    return false;
  }

  /// The socket is connected, or connecting has failed: SO_ERROR has the result.
  void on_ready(std::uint32_t events) override {
    if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) == 0 || !socket_) return;
    int error = 0;
    socklen_t size = sizeof error;
    ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    if (error == 0) return succeed(this);
    (void)fail(error);
  }
  void on_tick(protocol::Time now) override {
    if (socket_ && now >= deadline_) (void)fail(ETIMEDOUT);
  }

 private:
  // Both may destroy this object.
  void succeed(Pollable* watched_by) {
    Done done = std::move(done_);
    Dialed dialed{DataSocket(std::move(socket_)), std::move(held_->connection), watched_by};
    held_.reset();
    done(std::move(dialed));
  }
  bool fail(int error) {
    Done done = std::move(done_);
    socket_.close();
    held_.reset();
    done(std::unexpected(dialer_.failure(target_, dial_error(target_.endpoint, error))));
    return false;
  }

  TargetDialer& dialer_;
  const StreamTarget target_;  ///< Only its endpoint and name.
  const protocol::Time deadline_;
  UniqueFd socket_;
  std::unique_ptr<Held> held_;
  Done done_;
};

/// Shared by a coroutine and the Dial that waits for it.
struct TargetDialer::CoroutineState {
  StreamTarget target;
  std::unique_ptr<Held> held;
  Done done;  ///< Empty: the Dial was destroyed.
};

class TargetDialer::CoroutineDial final : public Dial {
 public:
  CoroutineDial(TargetDialer& dialer, TaskGroup::TaskId task, std::shared_ptr<CoroutineState> waiting)
      : dialer_(dialer), task_(task), waiting_(std::move(waiting)) {}
  ~CoroutineDial() override {
    if (!waiting_->done) return;  // It is over; this may be inside the coroutine.
    waiting_->done = nullptr;
    dialer_.dials_.request_stop(task_);
  }
  void on_tick(protocol::Time) override {}  // The coroutine has its own deadline.

 private:
  TargetDialer& dialer_;
  const TaskGroup::TaskId task_;
  std::shared_ptr<CoroutineState> waiting_;
};

/// Waits for a permit, then forwards to the dial that it has begun.
class TargetDialer::WaitingDial final : public Dial {
 public:
  WaitingDial(TargetDialer& dialer, StreamTarget target, LinkQuota link, LinkLimits limits, Done done)
      : dialer_(dialer),
        target_(std::move(target)),
        link_(std::move(link)),
        limits_(limits),
        deadline_(monotonic_now() + target_.connect_time_max),
        done_(std::move(done)),
        position_(dialer_.waiting_.insert(dialer_.waiting_.end(), this)) {
    dialer_.poll_waiting();
  }
  ~WaitingDial() override {
    if (over_ != nullptr) *over_ = true;
    if (done_) dialer_.waiting_.erase(position_);
  }

  /// Returns false if there is no permit yet. May destroy this object.
  bool begin() {
    if (dialer_.dials_.is_stopping()) return false;
    auto permit = Quota::take(link_.dials, limits_.dials_max);
    if (!permit) return false;
    dialer_.waiting_.erase(position_);
    Done done = std::move(done_);
    done_ = nullptr;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline_ - monotonic_now());
    target_.connect_time_max = std::max(left, std::chrono::milliseconds(0));
    bool is_over = false;
    over_ = &is_over;
    auto dial = dialer_.begin(target_, std::move(permit), std::move(done));
    if (is_over) return true;
    over_ = nullptr;
    dial_ = std::move(dial);
    return true;
  }
  void on_tick(protocol::Time now) override {
    if (dial_) return dial_->on_tick(now);
    if (!done_ || begin() || now < deadline_) return;
    dialer_.waiting_.erase(position_);
    Done done = std::move(done_);
    done_ = nullptr;
    done(std::unexpected(Reject{Reason::overloaded, true, "this peer has too many dials in progress"}));
  }

 private:
  TargetDialer& dialer_;
  StreamTarget target_;
  const LinkQuota link_;
  const LinkLimits limits_;
  const protocol::Time deadline_;
  Done done_;  ///< Empty once it waits no more.
  std::list<WaitingDial*>::iterator position_;
  std::unique_ptr<Dial> dial_;
  bool* over_ = nullptr;  ///< Set to true if this object is destroyed inside begin().
};

TargetDialer::TargetDialer(Worker& worker, Gauge& dials, Log& log)
    : worker_(worker),
      gauge_(dials),
      log_(log),
      dialer_(worker.context().get_executor()),
      poll_(worker.context()),
      dials_(worker.context().get_executor(), report_defect(log, "dial")) {}

std::expected<Admission, Reject> TargetDialer::admit(const StreamTarget& target, const LinkQuota& link,
                                                     const LinkLimits& limits) {
  if (dials_.is_stopping()) return std::unexpected(Reject{Reason::draining, true, "shutting down"});
  auto& guard = churn_[target.name];
  if (!guard) guard = std::make_shared<ChurnGuard>();
  if (!guard->allows(monotonic_now())) {
    log_.limited(Log::Level::warn, "target.churn",
                 {{"target", target.name},
                  {"hint", "its streams are opened and reset at once, repeatedly: find the client that does this"}});
    return std::unexpected(Reject{Reason::overloaded, true, "streams to this target are opened and reset too quickly"});
  }
  auto stream = Quota::take(link.streams, limits.streams_max);
  if (!stream) return std::unexpected(Reject{Reason::overloaded, true, "this peer has too many streams"});
  if (!link.descriptors) return Admission(std::move(stream), nullptr, guard);
  auto descriptor = FairQuota::take(link.descriptors, link.holder);
  if (!descriptor) {
    log_.limited(Log::Level::warn, "share.used",
                 {{"holder", link.holder}, {"hint", "it has its share of the descriptors: raise LimitNOFILE"}});
    return std::unexpected(Reject{Reason::overloaded, true, "this peer has its share of the descriptors"});
  }
  return Admission(std::move(stream), std::move(descriptor), guard);
}

std::unique_ptr<Dial> TargetDialer::dial(const StreamTarget& target, const LinkQuota& link, const LinkLimits& limits,
                                         WhenFull when_full, Done done) {
  if (dials_.is_stopping()) {
    done(std::unexpected(Reject{Reason::draining, true, "shutting down"}));
    return nullptr;
  }
  if (auto permit = Quota::take(link.dials, limits.dials_max)) return begin(target, std::move(permit), std::move(done));
  if (when_full == WhenFull::wait) return std::make_unique<WaitingDial>(*this, target, link, limits, std::move(done));
  done(std::unexpected(Reject{Reason::overloaded, true, "this peer has too many dials in progress"}));
  return nullptr;
}

std::unique_ptr<Dial> TargetDialer::begin(const StreamTarget& target, Permit permit, Done done) {
  Permit connection = target.connections ? Quota::take(target.connections, target.connections_max) : nullptr;
  if (target.connections && !connection) {
    log_.limited(Log::Level::warn, "mapping.full",
                 {{"target", target.name}, {"hint", "all of its connections_max are open"}});
    done(std::unexpected(Reject{Reason::overloaded, false, "all connections of the mapping are open"}));
    return nullptr;
  }
  auto held = std::make_unique<Held>(*this, std::move(permit), std::move(connection));
  boost::system::error_code not_a_literal;
  const auto address = boost::asio::ip::make_address(target.endpoint.host, not_a_literal);
  if (!not_a_literal && !target.tls && !target.addresses && !target.proxy) {
    auto direct = std::make_unique<DirectDial>(*this, target, std::move(held), std::move(done));
    if (direct->begin(address)) return direct;
    return nullptr;
  }
  auto waiting = std::make_shared<CoroutineState>(target, std::move(held), std::move(done));
  const auto task = dials_.spawn(connect(waiting));
  return std::make_unique<CoroutineDial>(*this, task, std::move(waiting));
}

/// Begins waiting dials in the next turn, since the dial that is over may be inside one of its own functions.
void TargetDialer::note_dial_over() {
  if (waiting_.empty() || std::exchange(is_beginning_, true)) return;
  worker_.post([this] { begin_waiting(); });
}

void TargetDialer::begin_waiting() {
  is_beginning_ = false;
  // All of them, since they are of several peers. begin() removes no other one from the list.
  for (auto next = waiting_.begin(); next != waiting_.end();) (void)(*next++)->begin();
}

/// The permit of a link may become free on another worker.
void TargetDialer::poll_waiting() {
  if (std::exchange(is_polling_, true)) return;
  poll_.expires_after(waiting_poll);
  poll_.async_wait([this](const boost::system::error_code& error) {
    is_polling_ = false;
    if (error) return;
    begin_waiting();
    if (!waiting_.empty()) poll_waiting();
  });
}

Reject TargetDialer::failure(const StreamTarget& target, const Error& error) {
  log_.limited(Log::Level::warn, "target.failed",
               {{"target", target.name}, {"code", error.code}, {"text", error.text}});
  return reject_of(error);
}

boost::asio::awaitable<void> TargetDialer::connect(std::shared_ptr<CoroutineState> waiting) {
  auto reached = co_await culvert::reach(dialer_, waiting->target);
  const std::unique_ptr<Held> held = std::move(waiting->held);
  if (!waiting->done) {
    // An unused connection must not look to the target like one that ended normally.
    if (reached) reached->reset();
    co_return;
  }
  Done done = std::move(waiting->done);
  waiting->done = nullptr;
  if (reached) {
    if (waiting->target.tls) {
      reached->on_refused_renegotiation([&log = log_, name = waiting->target.name] {
        log.limited(Log::Level::warn, "target.renegotiation",
                    {{"target", name},
                     {"hint",
                      "the back end wants to renegotiate TLS 1.2, as for a client certificate after it has "
                      "seen the path, and that is refused: enable TLS 1.3 there, or ask for the certificate "
                      "of every connection"}});
      });
    }
    done(Dialed{std::move(*reached), std::move(held->connection), nullptr});
  } else {
    done(std::unexpected(failure(waiting->target, reached.error())));
  }
}

boost::asio::awaitable<Result<DataSocket>> reach(Dialer& dialer, const StreamTarget& target) {
  const auto deadline = std::chrono::steady_clock::now() + target.connect_time_max;
  DialTarget where{target.endpoint, {}};
  // An address in the configuration is dialled as it is. A name may resolve to any address except this host and its
  // link, unless the configuration lists the networks.
  if (target.addresses) {
    where.allows = [allowed = target.addresses](const boost::asio::ip::address& address) {
      return allowed->allows(address);
    };
  } else if (!names_an_address(target.endpoint.host)) {
    where.allows = is_outside;
  }
  auto dialed = co_await dial_by_way_of(dialer, target.proxy.get(), std::move(where), deadline);
  if (!dialed) co_return std::unexpected(dialed.error());
  if (!target.tls) co_return DataSocket(std::move(dialed->fd));
  UniqueSsl ssl = target.tls->context.make_ssl();
  auto connected = co_await tls_connect(std::move(dialed->fd), std::move(ssl), target.tls->server_name, deadline);
  if (!connected) co_return std::unexpected(connected.error());
  co_return DataSocket(std::move(*connected));
}

}  // namespace culvert
