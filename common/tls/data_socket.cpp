// SPDX-License-Identifier: Apache-2.0
#include "common/tls/data_socket.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include <sys/socket.h>
#include <sys/uio.h>

#include "common/net/socket_options.hpp"

namespace culvert {
namespace {

/// How much is sealed at once: the output buffer of a TLS back end never holds more.
constexpr std::size_t seal_bytes_max = 64 << 10;
/// StreamEnd::pieces_max, and what goes around a chunk.
constexpr std::size_t pieces_together_max = 10;

}  // namespace

DataSocket::Outcome DataSocket::receive(std::span<std::byte> room) {
  for (;;) {
    const ssize_t size = ::recv(fd_.get(), room.data(), room.size(), 0);
    if (size > 0) {
      const auto bytes = static_cast<std::size_t>(size);
      // What comes after a short read makes a new event, unless it is an end that was announced already.
      return {bytes, bytes < room.size() && !hangup_ ? State::blocked : State::ready};
    }
    if (size == 0) return {0, State::ended};
    if (errno == EAGAIN) return {0, State::blocked};
    if (errno != EINTR) return {0, State::failed};
  }
}

DataSocket::Outcome DataSocket::read(std::span<std::byte> room) {
  return tls_ ? read_tls(room) : receive(room);
}

DataSocket::Outcome DataSocket::read_tls(std::span<std::byte> room) {
  // No more ciphertext at a time than there is room: what is left over then is a record at most, and rare.
  std::array<std::byte, 16 << 10> ciphertext;  // NOLINT(cppcoreguidelines-pro-type-member-init): zeroing would cost.
  State socket = State::ready;
  for (;;) {
    tls_->engine->set_output(tls_->output);
    tls_->engine->feed(tls_->unread);
    const TlsEngine::Read read = tls_->engine->read(room);
    if (tls_->on_refused && refused_renegotiation(tls_->engine->native())) std::exchange(tls_->on_refused, nullptr)();
    const auto rest = tls_->engine->unread();
    // Not kept while empty: an idle stream holds no buffer.
    tls_->unread = std::vector<std::byte>(rest.begin(), rest.end());
    // What a read makes (an alert) goes out now: nobody may write for long. What does not fit is flushed by the next
    // event or write.
    if (!tls_->output.empty()) (void)flush_tls();
    if (read.step == TlsEngine::Step::done) return {read.bytes, State::ready};
    if (read.step == TlsEngine::Step::closed) return {0, State::ended};
    if (read.step == TlsEngine::Step::failed) return {0, State::failed};
    if (socket == State::blocked) return {0, State::blocked};
    const Outcome got = receive(std::span(ciphertext).first(std::min(ciphertext.size(), room.size())));
    if (got.state == State::ended) return {0, State::cut};
    if (got.state == State::failed) return got;
    socket = got.state;
    tls_->unread.assign(ciphertext.begin(), ciphertext.begin() + static_cast<std::ptrdiff_t>(got.bytes));
  }
}

DataSocket::Outcome DataSocket::write(std::span<const std::byte> bytes) {
  if (tls_) return write_tls(bytes);
  std::size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t size = ::send(fd_.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (size >= 0) {
      sent += static_cast<std::size_t>(size);
    } else if (errno == EAGAIN) {
      return {sent, State::blocked};
    } else if (errno != EINTR) {
      return {sent, State::failed};
    }
  }
  return {sent, State::ready};
}

DataSocket::Outcome DataSocket::write(std::span<const std::span<const std::byte>> pieces) {
  std::size_t sent = tls_ || pieces.size() < 2 ? 0 : send_together(pieces);
  Outcome all{sent, State::ready};
  for (const auto piece : pieces) {
    const std::size_t here = std::min(sent, piece.size());
    sent -= here;
    if (here == piece.size()) continue;
    // The kernel has refused this, or was not asked yet; write() tells which.
    const Outcome one = write(piece.subspan(here));
    all.bytes += one.bytes;
    all.state = one.state;
    if (one.state != State::ready) break;
  }
  return all;
}

/// How much the kernel took at once; errors are for the next call to find.
std::size_t DataSocket::send_together(std::span<const std::span<const std::byte>> pieces) {
  std::array<iovec, pieces_together_max> parts{};
  std::size_t count = 0;
  for (const auto piece : pieces.first(std::min(pieces.size(), parts.size()))) {
    parts[count++] = {const_cast<std::byte*>(piece.data()), piece.size()};  // sendmsg() only reads.
  }
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = count;
  const ssize_t size = ::sendmsg(fd_.get(), &message, MSG_NOSIGNAL);
  return size > 0 ? static_cast<std::size_t>(size) : 0;
}

DataSocket::Outcome DataSocket::write_tls(std::span<const std::byte> bytes) {
  std::size_t sealed = 0;
  for (;;) {
    const State state = flush_tls();
    if (state != State::ready || sealed == bytes.size()) return {sealed, state};
    const auto piece = bytes.subspan(sealed, std::min(bytes.size() - sealed, seal_bytes_max));
    tls_->engine->set_output(tls_->output);
    if (!tls_->engine->write(piece)) return {sealed, State::failed};
    sealed += piece.size();
  }
}

DataSocket::State DataSocket::flush_tls() {
  while (!tls_->output.empty()) {
    const auto bytes = tls_->output.bytes();
    const ssize_t size = ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (size > 0) {
      tls_->output.drop(static_cast<std::size_t>(size));
    } else if (errno == EAGAIN) {
      return State::blocked;
    } else if (errno != EINTR) {
      return State::failed;
    }
  }
  tls_->output = SendBuffer(0);
  return State::ready;
}

bool DataSocket::finish() {
  if (tls_) {
    if (!std::exchange(tls_->said_close, true)) {
      tls_->engine->set_output(tls_->output);
      tls_->engine->shutdown();
    }
    if (flush_tls() == State::blocked) return false;
  }
  ::shutdown(fd_.get(), SHUT_WR);
  return true;
}

void DataSocket::reset() {
  if (fd_) reset_on_close(fd_.get());
  fd_.close();
}

}  // namespace culvert
