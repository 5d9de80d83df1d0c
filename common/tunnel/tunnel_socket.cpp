// SPDX-License-Identifier: Apache-2.0
#include "common/tunnel/tunnel_socket.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "common/net/monotonic_time.hpp"
#include "common/net/socket_options.hpp"

namespace culvert {

namespace {

/// The least batch is one record, the largest DataPlane::staging_bytes.
constexpr std::uint64_t batches_per_second = 50;
constexpr std::size_t batch_bytes_min = 16 << 10;
/// How much of a batch may wait in the kernel: as much as is sent within 10 ms.
constexpr std::uint64_t notsent_per_second = 100;
constexpr std::uint64_t notsent_bytes_min = 16 << 10;
constexpr std::uint64_t notsent_bytes_max = 128 << 10;
/// A tunnel that sends less is not considered limited by anything.
constexpr std::uint64_t busy_bytes_per_second = 64 << 10;
constexpr int user_timeout_ms = 12'000;

}  // namespace

TunnelSocket::TunnelSocket(DataPlane& plane, UniqueFd fd, UniqueSsl ssl, std::uint64_t key_update_bytes,
                           const std::string& congestion_control)
    : plane_(plane),
      fd_(std::move(fd)),
      engine_(std::move(ssl)),
      second_began_(monotonic_now()),
      notsent_bytes_(notsent_bytes_max) {
  engine_.set_key_update_bytes(key_update_bytes);
  if (!congestion_control.empty()) ask_for_congestion_control(fd_.get(), congestion_control);
  set_option(fd_.get(), IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd_.get(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, notsent_bytes_);
  set_option(fd_.get(), IPPROTO_TCP, TCP_USER_TIMEOUT, user_timeout_ms);
}

bool TunnelSocket::watch(Pollable& pollable) {
  return plane_.worker().poller().add(fd_.get(), EPOLLIN | EPOLLOUT | EPOLLRDHUP, pollable);
}

void TunnelSocket::note_ready(std::uint32_t events) {
  if ((events & EPOLLOUT) != 0) writable_ = true;
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) hangup_ = true;
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) readable_ = true;
}

// ---- in

TunnelSocket::Received TunnelSocket::receive() {
  const auto room = plane_.ciphertext();
  const ssize_t size = ::recv(fd_.get(), room.data(), room.size(), 0);
  if (size < 0 && errno == EINTR) return {};
  if (size < 0 && errno != EAGAIN) return {Received::State::failed, {}, errno};
  if (size <= 0) {
    readable_ = false;
    return {size == 0 ? Received::State::ended : Received::State::nothing, {}, 0};
  }
  const auto bytes = static_cast<std::size_t>(size);
  if (bytes_in_ == 0) tls_round_trip_ = monotonic_now() - second_began_;
  bytes_in_ += bytes;
  plane_.counters().tunnel_bytes_in.add(bytes);
  // A short read has emptied the socket, and later bytes make a new event; an end that was reported already does not.
  readable_ = bytes == room.size() || hangup_;
  return {Received::State::bytes, room.first(bytes), 0};
}

TlsEngine::Step TunnelSocket::shake_hands() {
  engine_.set_output(output());
  return engine_.handshake();
}

TlsEngine::Read TunnelSocket::read(std::span<std::byte> plaintext) {
  engine_.set_output(output());
  const TlsEngine::Read read = engine_.read(plaintext);
  if (read.step == TlsEngine::Step::wants_input) give_back_output();
  return read;
}

// ---- out

/// Returns the bytes sent in the last second, or in this one if they are more already.
std::uint64_t TunnelSocket::rate_out() const {
  return std::max(last_second_out_, bytes_out_ - second_began_out_);
}

std::size_t TunnelSocket::batch_bytes() const {
  return std::clamp(static_cast<std::size_t>(rate_out() / batches_per_second), batch_bytes_min,
                    DataPlane::staging_bytes);
}

bool TunnelSocket::has_room() {
  if (refused_for_seconds_ == 0) return true;
  // poll() also makes the kernel report when there is room.
  pollfd socket{.fd = fd_.get(), .events = POLLOUT, .revents = 0};
  if (::poll(&socket, 1, 0) == 0) {
    writable_ = false;
    refused_for_seconds_ = 2;
  }
  return writable_;
}

SendBuffer& TunnelSocket::output() {
  if (!output_) output_ = plane_.take_send_buffer();
  return *output_;
}

/// A turn may serve hundreds of tunnels: none keeps an empty buffer until the end of the turn.
void TunnelSocket::give_back_output() {
  if (output_ && output_->empty()) plane_.give_send_buffer(std::move(output_));
}

bool TunnelSocket::seal(std::span<const std::byte> plaintext) {
  engine_.set_output(output());
  return engine_.write(plaintext);
}

void TunnelSocket::seal_close() {
  engine_.set_output(output());
  engine_.shutdown();
}

TunnelSocket::Flushed TunnelSocket::flush() {
  while (output_ && !output_->empty()) {
    if (!writable_) return Flushed::some;
    const auto bytes = output_->bytes();
    const ssize_t sent = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      output_->drop(static_cast<std::size_t>(sent));
      bytes_out_ += static_cast<std::uint64_t>(sent);
      plane_.counters().tunnel_bytes_out.add(static_cast<std::uint64_t>(sent));
    } else if (errno == EAGAIN) {
      writable_ = false;
      refused_for_seconds_ = 2;
    } else if (errno != EINTR) {
      return Flushed::failed;
    }
  }
  give_back_output();
  return Flushed::all;
}

void TunnelSocket::half_close() {
  ::shutdown(fd_.get(), SHUT_WR);
}

void TunnelSocket::close() {
  // What is left may be the TLS alert with the reason. An error of send() is ignored: nothing can be done about it.
  if (output_ && !output_->empty())
    (void)::send(fd_.get(), output_->bytes().data(), output_->size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  output_.reset();
  ::shutdown(fd_.get(), SHUT_RDWR);
}

// ---- once per second

void TunnelSocket::begin_second(protocol::Time now) {
  const protocol::Time lasted = now - std::exchange(second_began_, now);
  last_second_out_ = bytes_out_ - std::exchange(second_began_out_, bytes_out_);
  if (refused_for_seconds_ > 0) --refused_for_seconds_;
  is_congested_ = false;
  if (last_second_out_ < busy_bytes_per_second) {
    congestion_ = {};
    return;
  }
  const auto notsent =
      static_cast<int>(std::clamp(rate_out() / notsent_per_second, notsent_bytes_min, notsent_bytes_max));
  if (notsent != notsent_bytes_) set_option(fd_.get(), IPPROTO_TCP, TCP_NOTSENT_LOWAT, notsent_bytes_ = notsent);
  const auto progress = tcp_progress(fd_.get());
  is_congested_ = progress && congestion_.is_limiting(*progress, lasted);
}

std::chrono::microseconds TunnelSocket::tcp_round_trip() const {
  const auto progress = tcp_progress(fd_.get());
  return progress ? progress->round_trip_min : std::chrono::microseconds(0);
}

}  // namespace culvert
