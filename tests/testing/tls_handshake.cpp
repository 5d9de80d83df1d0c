// SPDX-License-Identifier: Apache-2.0
#include "tests/testing/tls_handshake.hpp"

#include <array>
#include <stdexcept>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "common/tls/tls_failure.hpp"

namespace culvert::testing {
namespace {

constexpr int turns_max = 100;
constexpr std::size_t pair_bytes = 256 << 10;  // Room for a huge certificate and the alert that answers it.
constexpr std::array<unsigned char, 10> alpn{9, 'c', 'u', 'l', 'v', 'e', 'r', 't', '/', '1'};

RawContext careless(const SSL_METHOD* method, const Credential* own) {
  const RawContext context(SSL_CTX_new(method), &SSL_CTX_free);
  SSL_CTX_set_security_level(context.get(), 0);
  SSL_CTX_set_mode(context.get(), SSL_MODE_NO_AUTO_CHAIN);
  SSL_CTX_set_max_cert_list(context.get(), 1 << 20);
  if (own == nullptr) return context;
  STACK_OF(X509)* const chain = sk_X509_new_null();
  for (const auto& above : own->intermediates) sk_X509_push(chain, above.get());
  const int used = SSL_CTX_use_cert_and_key(context.get(), own->certificate.get(), own->key.get(), chain, 1);
  sk_X509_free(chain);
  if (used != 1) throw std::runtime_error(ERR_error_string(ERR_peek_error(), nullptr));
  return context;
}

RawContext with_alpn(const RawContext& context) {
  SSL_CTX_set_alpn_protos(context.get(), alpn.data(), alpn.size());
  return context;
}

/// One side of the connection: the handshake, then one read.
class Side {
 public:
  explicit Side(SSL* ssl) : ssl_(ssl) {}

  bool is_done() const { return failure.has_value(); }
  bool has_shaken() const { return SSL_is_init_finished(ssl_) == 1; }

  void step() {
    if (failure) return;
    ERR_clear_error();
    int result = SSL_do_handshake(ssl_);
    if (result == 1) {
      std::array<char, 64> bytes{};
      result = SSL_read(ssl_, bytes.data(), bytes.size());
    }
    const int kind = SSL_get_error(ssl_, result);
    if (result > 0 || kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE) return;
    failure = describe_tls_failure(ssl_, result);
    if (ERR_peek_error() != 0) throw std::runtime_error("describe_tls_failure leaves errors behind");
  }

  std::optional<Error> failure;

 private:
  SSL* ssl_;
};

int choose_culvert(SSL* /*ssl*/, const unsigned char** chosen, unsigned char* size, const unsigned char* offered,
                   unsigned int offered_size, void* /*user*/) {
  unsigned char* match = nullptr;
  if (SSL_select_next_proto(&match, size, alpn.data(), alpn.size(), offered, offered_size) != OPENSSL_NPN_NEGOTIATED) {
    return SSL_TLSEXT_ERR_NOACK;
  }
  *chosen = match;
  return SSL_TLSEXT_ERR_OK;
}

}  // namespace

RawContext careless_server(const Credential& own) {
  RawContext context = careless(TLS_server_method(), &own);
  SSL_CTX_set_alpn_select_cb(context.get(), &choose_culvert, nullptr);
  return context;
}

RawContext careless_client(const Credential& own) {
  return with_alpn(careless(TLS_client_method(), &own));
}
RawContext careless_client() {
  return with_alpn(careless(TLS_client_method(), nullptr));
}

UniqueSsl accepting(const RawContext& context) {
  UniqueSsl ssl(SSL_new(context.get()));
  SSL_set_accept_state(ssl.get());
  return ssl;
}

UniqueSsl dialling(const RawContext& context) {
  UniqueSsl ssl(SSL_new(context.get()));
  SSL_set_connect_state(ssl.get());
  return ssl;
}

Outcome shake_hands(ssl_st* client, ssl_st* server) {
  BIO* client_end = nullptr;
  BIO* server_end = nullptr;
  if (BIO_new_bio_pair(&client_end, pair_bytes, &server_end, pair_bytes) != 1) throw std::runtime_error("no BIO pair");
  SSL_set_bio(client, client_end, client_end);
  SSL_set_bio(server, server_end, server_end);
  Side dialler(client);
  Side acceptor(server);
  // Each round moves what the pair's buffer holds. After both handshakes two more rounds carry alerts and tickets.
  int turns_left = turns_max;
  for (int after = 0; after < 2 && turns_left > 0; --turns_left) {
    dialler.step();
    acceptor.step();
    const bool settled = (dialler.is_done() || dialler.has_shaken()) && (acceptor.is_done() || acceptor.has_shaken());
    const bool failed = dialler.is_done() || acceptor.is_done();
    after += settled || failed ? 1 : 0;
  }
  if (turns_left == 0) throw std::runtime_error("the handshake does not end");
  return {.client = dialler.failure, .server = acceptor.failure};
}

std::optional<Error> receive(ssl_st* ssl, const std::string& bytes) {
  BIO* const in = BIO_new(BIO_s_mem());
  BIO_write(in, bytes.data(), static_cast<int>(bytes.size()));
  BIO_set_mem_eof_return(in, 0);
  SSL_set_bio(ssl, in, BIO_new(BIO_s_mem()));
  Side side(ssl);
  side.step();
  return side.failure;
}

}  // namespace culvert::testing
