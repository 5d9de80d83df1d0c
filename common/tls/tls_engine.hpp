// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/base/error.hpp"
#include "common/net/send_buffer.hpp"
#include "common/tls/tls_context.hpp"

namespace culvert {

/// TLS without a socket: records in, bytes out, and back. An SSL driven by hand over a BIO of our own, so that one
/// system call carries as many records as fit (Asio's ssl::stream costs half as much again per byte). Lives on one
/// worker; its buffers are the caller's, so an idle one holds none.
///
/// After an error only errors follow; error() tells which.
class TlsEngine {
 public:
  /// `ssl` has its role and its expectations of the peer set.
  explicit TlsEngine(UniqueSsl ssl);
  TlsEngine(const TlsEngine&) = delete;
  TlsEngine& operator=(const TlsEngine&) = delete;
  ~TlsEngine();

  enum class Step : std::uint8_t {
    done,         ///< The handshake is complete; read() gave bytes.
    wants_input,  ///< All that was fed is used up.
    closed,       ///< The peer said close_notify: a clean end.
    failed,
  };
  /// Where records to send are appended: by every function below. Must be set before each, as it is the worker's.
  void set_output(SendBuffer& output) { output_ = &output; }
  /// Ciphertext that came. Must stay until a function wants more.
  void feed(std::span<const std::byte> ciphertext) { input_ = ciphertext; }
  Step handshake();
  struct Read {
    Step step;
    std::size_t bytes;  ///< With `done`: at the start of the room.
  };
  /// Opens records into `room` until it is full (done) or the input is used up (done with what there is, then
  /// wants_input).
  Read read(std::span<std::byte> room);
  /// Seals all of `bytes`, which must not be empty. Before it, KeyUpdate when this direction has carried
  /// `key_update_bytes` (SPEC 3).
  bool write(std::span<const std::byte> bytes);
  /// close_notify.
  void shutdown();
  /// Ciphertext that was fed and not used yet.
  std::span<const std::byte> unread() const { return input_; }

  const Error& error() const { return error_; }
  ssl_st* native() const { return ssl_.get(); }
  std::uint64_t key_updates() const { return key_updates_; }

  /// 64 GiB: RFC 8446 5.5 allows AES-GCM some 390 GB per key.
  static constexpr std::uint64_t key_update_bytes_default = 64ull << 30;
  void set_key_update_bytes(std::uint64_t bytes) { key_update_bytes_ = bytes; }

 private:
  friend struct TlsEngineBio;
  Step failed(int result);

  UniqueSsl ssl_;
  SendBuffer* output_ = nullptr;
  std::span<const std::byte> input_;
  Error error_;
  Step ending_ = Step::done;  ///< What the next read() says, where bytes came before it.
  std::uint64_t key_update_bytes_ = key_update_bytes_default;
  std::uint64_t sealed_bytes_ = 0;
  std::uint64_t key_updates_ = 0;
};

}  // namespace culvert
