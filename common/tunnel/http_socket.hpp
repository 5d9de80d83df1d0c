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
#include "common/tunnel/byte_queue.hpp"
#include "common/tunnel/relay_socket.hpp"
#include "common/tunnel/stream_end.hpp"

namespace culvert {

/// One HTTP/1.1 connection as bytes: what was read ahead of its turn, and what the socket has not taken yet. Holds no
/// memory while both are empty. Whose turn it is, and what a head says, is its owner's matter. On one worker.
class HttpSocket {
 public:
  HttpSocket() = default;
  explicit HttpSocket(RelaySocket socket, std::string read_ahead = {})
      : socket_(std::move(socket)), input_(std::move(read_ahead)) {}

  int fd() const { return socket_.fd(); }
  explicit operator bool() const { return static_cast<bool>(socket_); }
  void note_hangup() { socket_.note_hangup(); }

  // ---- in
  /// What came and is not used yet.
  std::string_view input() const { return std::string_view(input_).substr(used_); }
  void use(std::size_t bytes);
  /// Reads some more behind it, so that a head can be completed.
  RelaySocket::State read_ahead();
  /// Data of `body` into `room`, from what was read ahead, then from the socket. `blocked`: not until the next event;
  /// `ended`: the body is complete; `cut`: its connection ended before it; `failed`: the connection or the body's
  /// framing is broken.
  RelaySocket::Outcome pull(std::span<std::byte> room, http::BodyReader& body);

  // ---- out; each appends to what waits, which flush() gives to the socket
  void write(std::string_view text);
  /// A part of a body: what the socket does not take at once is kept. False: it is more than the head declared.
  [[nodiscard]] bool write_body(std::span<const StreamEnd::Bytes> pieces, http::BodyWriter& body);
  /// False: the connection is gone.
  [[nodiscard]] bool flush();
  std::size_t waiting() const { return output_.size(); }
  /// How many bytes the peer has acknowledged of all that were written, without TLS.
  std::uint64_t acknowledged() const;
  bool has_output() const { return !output_.empty() || socket_.has_unsent(); }

  /// Half-close; false: call again when the socket can take more.
  bool finish() { return socket_.finish(); }
  void reset() { socket_.reset(); }
  void close() { socket_.close(); }
  /// Hands the connection on with what was read ahead; nothing may wait to be sent.
  std::pair<RelaySocket, std::string> release();

 private:
  RelaySocket socket_;
  std::string input_;
  std::size_t used_ = 0;
  ByteQueue output_;
  std::uint64_t given_bytes_ = 0;  ///< To the kernel.
};

}  // namespace culvert
