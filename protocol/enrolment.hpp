// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "protocol/frame.hpp"
#include "protocol/limits.hpp"
#include "protocol/reason.hpp"

// The messages by which an agent gets a certificate (SPEC 5.11 to 5.14), as plain values; encoded and decoded as
// strictly as those of messages.hpp.

namespace culvert::protocol {

/// In HELLO: the agent may send RENEW. In WELCOME: the server answers it (SPEC 5.6).
inline constexpr std::string_view renew_capability = "renew";

/// A join token's secret half. Wiped when it is destroyed.
struct TokenSecret : std::array<std::byte, token_secret_bytes> {
  TokenSecret() = default;
  TokenSecret(const TokenSecret&) = default;
  TokenSecret& operator=(const TokenSecret&) = default;
  ~TokenSecret();
};

/// SPEC 5.11: agent to server, the first frame of a join connection: an agent without a certificate asks for one.
struct Join {
  std::string token;               ///< The token's id.
  TokenSecret secret{};            ///< Proves the token.
  std::string software;            ///< For logs only.
  std::vector<std::byte> request;  ///< PKCS #10 in DER: proves the key, and names the identity that the token is for.
  friend bool operator==(const Join&, const Join&) = default;
};

/// SPEC 5.12: agent to server: asks for a certificate for a fresh key. On a tunnel its certificate says who asks. On a
/// join connection `certificate` and `signature` do: the certificate's time is over, or the tunnel cannot be had.
struct Renew {
  std::vector<std::byte> request;      ///< As in Join.
  std::vector<std::byte> certificate;  ///< The agent's last one in DER. Empty on a tunnel.
  std::vector<std::byte> signature;    ///< By its key, bound to this connection (SPEC 8.7). Empty on a tunnel.
  friend bool operator==(const Renew&, const Renew&) = default;
};

/// SPEC 5.13: server to agent.
struct Issued {
  std::vector<std::byte> chain;        ///< The certificate and the intermediates above it, DER one after the other.
  std::vector<std::byte> authorities;  ///< All authorities that agents must trust from now on, likewise.
  std::chrono::seconds lifetime{0};    ///< Of the certificate, from its beginning to its end.
  friend bool operator==(const Issued&, const Issued&) = default;
};

/// SPEC 5.14: server to agent: no certificate.
struct Denied {
  Reason reason = Reason::internal;
  bool retryable = false;  ///< The same request may succeed later.
  std::string text;        ///< For the agent's log, and its administrator.
  friend bool operator==(const Denied&, const Denied&) = default;
};

/// The answer to Join and Renew.
using Enrolled = std::variant<Issued, Denied>;

std::vector<std::byte> encode(const Join& message);
std::vector<std::byte> encode(const Renew& message);
std::vector<std::byte> encode(const Issued& message);
std::vector<std::byte> encode(const Denied& message);

std::expected<Join, Reason> decode_join(std::span<const std::byte> payload);
std::expected<Renew, Reason> decode_renew(std::span<const std::byte> payload);
std::expected<Issued, Reason> decode_issued(std::span<const std::byte> payload);
std::expected<Denied, Reason> decode_denied(std::span<const std::byte> payload);

// ---- The agent's side of a join connection (SPEC 8.6), which needs no Session: one frame out, one frame in.

/// JOIN with its header. Wipe it after use.
std::vector<std::byte> join_frame(const Join& message);
/// RENEW with its header.
std::vector<std::byte> renew_frame(const Renew& message);

/// Reads the answer from a server that has been verified. The result does not depend on how the bytes were sliced.
class AnswerReader {
 public:
  AnswerReader() { reader_.set_greeted(); }
  /// nullopt: more bytes are needed. An error: the server ended the connection with GOAWAY, which gave this reason, or
  /// it broke a rule. Not to be called again after an answer or an error; what follows the answer is not read.
  std::expected<std::optional<Enrolled>, Reason> feed(std::span<const std::byte> bytes);

 private:
  static std::expected<Enrolled, Reason> read(const FrameReader::Part& part);

  FrameReader reader_;
  bool done_ = false;
};

// ---- The server's side

/// ISSUED or DENIED with its header. An Issued that breaks a limit, since an authority has too many or too long
/// certificates, becomes a Denied: the agent would end the tunnel for it.
std::vector<std::byte> answer_frame(const Enrolled& message);

}  // namespace culvert::protocol
