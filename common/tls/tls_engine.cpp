// SPDX-License-Identifier: Apache-2.0
#include "common/tls/tls_engine.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "common/tls/tls_failure.hpp"
#include "protocol/check.hpp"

namespace culvert {

/// The BIO between OpenSSL and the engine's two buffers.
struct TlsEngineBio {
  static TlsEngine& engine_of(BIO* bio) { return *static_cast<TlsEngine*>(BIO_get_data(bio)); }

  static int write(BIO* bio, const char* data, int size) {
    TlsEngine& engine = engine_of(bio);
    check(engine.output_ != nullptr, "an engine has an output before it seals");
    engine.output_->append(std::as_bytes(std::span(data, static_cast<std::size_t>(size))));
    return size;
  }
  static int read(BIO* bio, char* data, int size) {
    TlsEngine& engine = engine_of(bio);
    BIO_clear_retry_flags(bio);
    if (engine.input_.empty()) {
      BIO_set_retry_read(bio);
      return -1;
    }
    const std::size_t bytes = std::min(static_cast<std::size_t>(size), engine.input_.size());
    std::memcpy(data, engine.input_.data(), bytes);
    engine.input_ = engine.input_.subspan(bytes);
    return static_cast<int>(bytes);
  }
  static long control(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

  /// One method for the process, never freed: BIOs may outlive any owner.
  static const BIO_METHOD* method() {
    static const BIO_METHOD* const made = [] {
      BIO_METHOD* fresh = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "culvert");
      if (fresh == nullptr) throw std::bad_alloc();
      BIO_meth_set_write(fresh, write);
      BIO_meth_set_read(fresh, read);
      BIO_meth_set_ctrl(fresh, control);
      return fresh;
    }();
    return made;
  }
};

TlsEngine::TlsEngine(UniqueSsl ssl) : ssl_(std::move(ssl)) {
  BIO* bio = BIO_new(TlsEngineBio::method());
  if (bio == nullptr) throw std::bad_alloc();
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_.get(), bio, bio);
}

TlsEngine::~TlsEngine() = default;

TlsEngine::Step TlsEngine::failed(int result, std::span<const std::byte> opening) {
  switch (SSL_get_error(ssl_.get(), result)) {
    case SSL_ERROR_WANT_READ: return Step::wants_input;
    case SSL_ERROR_ZERO_RETURN: return Step::closed;
    default: break;
  }
  if (error_.code.empty()) error_ = describe_tls_failure(ssl_.get(), result, opening);
  ERR_clear_error();
  return Step::failed;
}

TlsEngine::Step TlsEngine::handshake() {
  ERR_clear_error();
  const auto opening = BIO_number_read(SSL_get_rbio(ssl_.get())) == 0 ? input_ : std::span<const std::byte>();
  const int result = SSL_do_handshake(ssl_.get());
  return result == 1 ? Step::done : failed(result, opening);
}

TlsEngine::Read TlsEngine::read(std::span<std::byte> room) {
  if (ending_ != Step::done) return {ending_, 0};
  ERR_clear_error();
  std::size_t total = 0;
  while (total < room.size()) {
    std::size_t bytes = 0;
    const int result = SSL_read_ex(ssl_.get(), room.data() + total, room.size() - total, &bytes);
    if (result == 1) {
      total += bytes;
      continue;
    }
    const Step step = failed(result);
    if (total == 0) return {step, 0};
    if (step != Step::wants_input) ending_ = step;
    break;
  }
  return {Step::done, total};
}

bool TlsEngine::write(std::span<const std::byte> bytes) {
  ERR_clear_error();
  if (sealed_bytes_ >= key_update_bytes_ && SSL_version(ssl_.get()) == TLS1_3_VERSION) {
    SSL_key_update(ssl_.get(), SSL_KEY_UPDATE_NOT_REQUESTED);
    sealed_bytes_ = 0;
    ++key_updates_;
  }
  std::size_t written = 0;
  const int result = SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &written);
  if (result != 1) {
    (void)failed(result);
    return false;
  }
  sealed_bytes_ += written;
  return true;
}

void TlsEngine::shutdown() {
  ERR_clear_error();
  (void)SSL_shutdown(ssl_.get());
  ERR_clear_error();
}

}  // namespace culvert
