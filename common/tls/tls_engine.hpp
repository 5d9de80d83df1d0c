// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/base/error.hpp"
#include "common/net/send_buffer.hpp"
#include "common/tls/tls_context.hpp"

namespace culvert {

/// TLS without a socket: turns records into bytes and bytes into records. It drives an SSL over a BIO of its own, so
/// that one system call carries as many records as fit (Asio's ssl::stream costs 1.5 times as much per byte). Lives on
/// one worker. The caller owns its buffers, so an idle engine holds none.
///
/// After an error only errors follow; error() returns the cause.
class TlsEngine {
 public:
  /// The role of `ssl` and its requirements on the peer must be set.
  explicit TlsEngine(UniqueSsl ssl);
  TlsEngine(const TlsEngine&) = delete;
  TlsEngine& operator=(const TlsEngine&) = delete;
  ~TlsEngine();

  enum class Step : std::uint8_t {
    done,         ///< The handshake is complete; read() gave bytes.
    wants_input,  ///< All input is used up.
    closed,       ///< The peer sent close_notify: a clean end.
    failed,
  };
  /// Every function below appends records to `output`, which belongs to the worker. Set it before each call.
  void set_output(SendBuffer& output) { output_ = &output; }
  /// Passes received ciphertext, which must stay valid until a function returns wants_input.
  void feed(std::span<const std::byte> ciphertext) { input_ = ciphertext; }
  Step handshake();
  struct Read {
    Step step;
    std::size_t bytes;  ///< With `done`: bytes at the start of `room`.
  };
  /// Decrypts records into `room` until it is full (done) or the input is used up (done with the bytes so far, then
  /// wants_input).
  Read read(std::span<std::byte> room);
  /// Encrypts all of `bytes`, which must not be empty. Sends KeyUpdate first when this direction has carried
  /// `key_update_bytes` (SPEC 3).
  bool write(std::span<const std::byte> bytes);
  /// Sends close_notify.
  void shutdown();
  /// Input that is not used yet.
  std::span<const std::byte> unread() const { return input_; }

  const Error& error() const { return error_; }
  ssl_st* native() const { return ssl_.get(); }
  std::uint64_t key_updates() const { return key_updates_; }

  /// 64 GiB: RFC 8446 5.5 allows about 390 GB per key with AES-GCM.
  static constexpr std::uint64_t key_update_bytes_default = 64ull << 30;
  void set_key_update_bytes(std::uint64_t bytes) { key_update_bytes_ = bytes; }

 private:
  friend struct TlsEngineBio;
  /// `opening`: the first bytes of the peer, in the call that reads them.
  Step failed(int result, std::span<const std::byte> opening = {});

  UniqueSsl ssl_;
  SendBuffer* output_ = nullptr;
  std::span<const std::byte> input_;
  Error error_;
  Step ending_ = Step::done;  ///< What the next read() returns, if bytes came before it.
  std::uint64_t key_update_bytes_ = key_update_bytes_default;
  std::uint64_t sealed_bytes_ = 0;
  std::uint64_t key_updates_ = 0;
};

}  // namespace culvert
