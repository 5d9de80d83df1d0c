// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "common/http/body_reader.hpp"
#include "common/http/body_writer.hpp"
#include "common/net/byte_queue.hpp"
#include "common/tls/data_socket.hpp"

namespace culvert {

/// The bytes of one HTTP/1.1 connection: a buffer of bytes that were read ahead, and one of bytes that the socket has
/// not accepted yet. Holds no memory while both are empty. The owner interprets heads and the order of messages. On one
/// worker.
class HttpSocket {
 public:
  using Bytes = std::span<const std::byte>;
  /// Limit of pieces in one write_body().
  static constexpr std::size_t pieces_max = 8;

  HttpSocket() = default;
  explicit HttpSocket(DataSocket socket, std::string read_ahead = {})
      : socket_(std::move(socket)), input_(std::move(read_ahead)) {}

  int fd() const { return socket_.fd(); }
  explicit operator bool() const { return static_cast<bool>(socket_); }
  void note_hangup() { socket_.note_hangup(); }
  bool has_hung_up() const { return socket_.has_hung_up(); }
  bool has_refused_renegotiation() const { return socket_.has_refused_renegotiation(); }

  // ---- in
  /// Returns the bytes that were read ahead and not used yet. Valid until the next call.
  std::string_view input() const { return std::string_view(input_).substr(used_); }
  /// Removes the first `bytes` of input().
  void use(std::size_t bytes);
  /// Reads more and appends it to input(), to complete a head.
  DataSocket::State read_ahead();
  /// Fills `room` with data of `body`, from input() and then from the socket. `blocked`: no more until the next event;
  /// `ended`: the body is complete; `cut`: the connection ended before the body; `failed`: the connection failed, or
  /// the body's framing is invalid (what came before the fault is in `room` all the same).
  DataSocket::Outcome pull(std::span<std::byte> room, http::BodyReader& body);

  // ---- out
  /// Appends to the bytes that wait for flush().
  void write(std::string_view text);
  /// Sends a part of a body; bytes that the socket does not accept at once wait for flush(). Returns false if the body
  /// is longer than the head declared.
  [[nodiscard]] bool write_body(std::span<const Bytes> pieces, http::BodyWriter& body);
  /// Writes waiting bytes to the socket. Returns false if the connection has ended.
  [[nodiscard]] bool flush();
  std::size_t waiting() const { return output_.size(); }
  /// Returns how many of the written bytes the peer has acknowledged; exact without TLS only.
  std::uint64_t acknowledged() const;
  /// Whether nothing waits any more, here or in the kernel: a reset arrives behind all bytes.
  bool is_all_sent() const;
  bool has_output() const { return !output_.empty() || socket_.has_unsent(); }

  /// Half-closes. Returns false if it must be called again when the socket is writable.
  bool finish() { return socket_.finish(); }
  void reset() { socket_.reset(); }
  void close() { socket_.close(); }
  /// Gives up the connection and the bytes that were read ahead; no bytes may wait for flush().
  std::pair<DataSocket, std::string> release();

 private:
  DataSocket socket_;
  std::string input_;
  std::size_t used_ = 0;
  ByteQueue output_;
  std::uint64_t given_bytes_ = 0;  ///< Bytes written to the kernel.
};

}  // namespace culvert
