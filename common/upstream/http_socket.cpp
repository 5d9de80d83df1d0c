// SPDX-License-Identifier: Apache-2.0
#include "common/upstream/http_socket.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include <linux/sockios.h>
#include <sys/ioctl.h>

#include "protocol/check.hpp"

namespace culvert {

using Piece = http::BodyReader::Piece;
using State = DataSocket::State;

namespace {

/// Bytes read at once to complete a head; most heads are shorter.
constexpr std::size_t read_ahead_bytes = 8 << 10;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

}  // namespace

void HttpSocket::use(std::size_t bytes) {
  used_ += bytes;
  if (used_ < input_.size()) return;
  input_ = std::string();  // clear() would keep the memory.
  used_ = 0;
}

State HttpSocket::read_ahead() {
  std::array<std::byte, read_ahead_bytes> room;  // NOLINT(cppcoreguidelines-pro-type-member-init): zeroing would cost.
  const auto outcome = socket_.read(room);
  if (used_ > 0) {
    input_.erase(0, used_);
    used_ = 0;
  }
  input_.append(reinterpret_cast<const char*>(room.data()), outcome.bytes);
  return outcome.state;
}

DataSocket::Outcome HttpSocket::pull(std::span<std::byte> room, http::BodyReader& body) {
  std::size_t filled = 0;
  // Decodes `input`, which may be a part of `room` itself: data only moves towards the start.
  const auto decode = [&](std::span<const std::byte> input) {
    std::size_t used = 0;
    for (;;) {
      const Piece piece = body.next(input.subspan(used));
      if (!piece.data.empty()) {
        std::memmove(room.data() + filled, piece.data.data(), piece.data.size());
        filled += piece.data.size();
      }
      used += piece.used;
      if (piece.kind != Piece::Kind::data) return std::pair(piece.kind, used);
    }
  };
  const auto outcome_of = [&](Piece::Kind kind, State otherwise) -> DataSocket::Outcome {
    if (kind == Piece::Kind::end) return {filled, State::ended};
    if (kind == Piece::Kind::refused) return {filled, State::failed};
    return {filled, otherwise};
  };
  if (body.is_complete()) return {0, State::ended};
  if (!body.is_intact()) return {0, State::failed};
  if (!input().empty()) {
    const auto [kind, used] = decode(bytes_of(input().substr(0, room.size())));
    use(used);
    return outcome_of(kind, State::ready);
  }
  const auto read = socket_.read(room);
  if (read.bytes == 0 && read.state == State::ended) return {0, body.finish() ? State::ended : State::cut};
  if (read.bytes == 0) return read;
  const auto came = std::span<const std::byte>(room).first(read.bytes);
  const auto [kind, used] = decode(came);
  // Bytes after the body belong to the next message.
  if (used < came.size() && kind == Piece::Kind::end)
    input_.assign(reinterpret_cast<const char*>(came.data()) + used, came.size() - used);
  return outcome_of(kind, read.state);
}

void HttpSocket::write(std::string_view text) {
  output_.append(bytes_of(text));
}

bool HttpSocket::write_body(std::span<const Bytes> pieces, http::BodyWriter& body) {
  std::size_t size = 0;
  for (const auto piece : pieces) size += piece.size();
  http::BodyWriter::Wrapping around;
  if (!body.wrap(size, around)) return false;
  // Two more for the framing of a chunk.
  std::array<Bytes, pieces_max + 2> parts;
  std::size_t count = 0;
  const auto add = [&](Bytes part) {
    if (!part.empty()) parts[count++] = part;
  };
  add(bytes_of(around.before));
  for (const auto piece : pieces) add(piece);
  add(bytes_of(around.behind));
  std::size_t sent = 0;
  if (!has_output()) sent = socket_.write(std::span(parts).first(count)).bytes;  // flush() reports an error.
  given_bytes_ += sent;
  for (const auto part : std::span(parts).first(count)) {
    const std::size_t here = std::min(sent, part.size());
    sent -= here;
    if (here < part.size()) output_.append(part.subspan(here));
  }
  return true;
}

bool HttpSocket::flush() {
  while (has_output()) {
    // If the queue is empty, TLS has bytes left.
    const auto outcome = socket_.write(output_.front());
    if (outcome.bytes > 0) output_.drop(outcome.bytes);
    given_bytes_ += outcome.bytes;
    if (outcome.state != State::ready) return outcome.state != State::failed;
  }
  return true;
}

std::uint64_t HttpSocket::acknowledged() const {
  int queued = 0;
  if (::ioctl(socket_.fd(), SIOCOUTQ, &queued) != 0) return given_bytes_;
  return given_bytes_ - static_cast<std::uint64_t>(queued);
}

bool HttpSocket::is_all_sent() const {
  int unsent = 0;
  return !has_output() && (::ioctl(socket_.fd(), SIOCOUTQNSD, &unsent) != 0 || unsent == 0);
}

std::pair<DataSocket, std::string> HttpSocket::release() {
  check(!has_output(), "a connection is released between two messages");
  std::string rest(input());
  use(rest.size());
  return {std::exchange(socket_, DataSocket()), std::move(rest)};
}

}  // namespace culvert
