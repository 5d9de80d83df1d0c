// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "common/net/endpoint.hpp"
#include "protocol/reason.hpp"

// SOCKS 5 (RFC 1928) from the greeting to the request, without I/O: bytes and verdicts come in, bytes and steps go out.
// Methods: none (0x00), user and password (0x02, RFC 1929), and a token with a location (0x80):
//
//   client  01 | length of the JWT, 4 bytes | JWT | n, 1 byte | n bytes of base64(location)
//   server  01 00                                             0x00: accepted

namespace culvert::server {

/// What a reply says (RFC 1928 6).
enum class Socks5Reply : std::uint8_t {
  succeeded = 0,
  failed = 1,
  not_allowed = 2,
  no_agent = 3,  ///< In the standard "network unreachable".
  unreachable = 4,
  refused = 5,
  command_not_supported = 7,
  address_not_supported = 8,
};

/// One client's negotiation. Takes bytes in portions of its own choice, so that nothing behind the request is ever
/// taken, and where its input was cut makes no difference. A regular expression of calls, each feed() with at most
/// wanted() bytes:  feed+ ( verdict feed+ )? reply
class Socks5 {
 public:
  /// What is offered; of those that the client knows, the strongest is taken: token, password, none.
  struct Methods {
    bool none = false;
    bool password = false;
    bool token = false;
  };
  enum class Step : std::uint8_t {
    need_more,
    check_password,  ///< user() and secret() are for the caller to judge: verdict().
    check_token,     ///< secret() is the token, location() what it came with.
    connect,         ///< To target(); the answer is reply().
    refused,         ///< output() says so, perhaps with nothing; why() is for the log.
  };
  static constexpr std::size_t token_bytes_max = 8'192;

  explicit Socks5(Methods offered);
  Socks5(const Socks5&) = delete;
  Socks5& operator=(const Socks5&) = delete;
  ~Socks5();

  /// How many bytes are missing before anything can be decided; 0 while a step waits for its caller.
  std::size_t wanted() const { return part_ == Part::none ? 0 : part_bytes_ - bytes_.size(); }
  Step feed(std::span<const std::byte> bytes);
  /// On the check that was asked for. Wipes the secret.
  Step verdict(bool is_welcome);
  /// To the request. After a token "refused" becomes "unreachable": its method has another meaning for the code.
  void reply(Socks5Reply code);
  /// What the client is to be told; empty from then on. A few bytes.
  std::string take_output();

  std::string_view user() const { return user_; }
  std::string_view secret() const { return secret_; }
  std::string_view location() const { return location_; }
  const Endpoint& target() const { return target_; }
  /// "version", "no_method", "credentials": what was wrong.
  std::string_view why() const { return why_; }

 private:
  enum class Part : std::uint8_t {
    none,
    greeting,
    methods,
    password_head,
    user,
    password,
    token_head,
    token,
    location,
    request,
    domain_length,
    address,
  };
  Step expect(Part part, std::size_t bytes);
  Step refuse(std::string_view why);
  Step refuse_request(Socks5Reply code, std::string_view why);
  Step take_part(std::string_view part);
  Step choose_method(std::string_view methods);
  Step take_credentials(Part part, std::string_view came);
  Step take_location(std::string_view base64);
  Step take_request(std::string_view head);
  Step take_address(std::string_view address);
  void keep_secret(std::size_t bytes);

  const Methods offered_;
  Part part_ = Part::none;
  std::size_t part_bytes_ = 0;
  std::string bytes_;  ///< Of the part under way.
  std::string secret_;
  std::string output_;
  std::string user_;
  std::string location_;
  Endpoint target_;
  std::string_view why_;
  bool by_token_ = false;
  std::uint8_t address_type_ = 0;
};

/// What the agent's refusal, or the end of the attempt, means to the client.
Socks5Reply socks5_reply_of(protocol::Reason reason);

}  // namespace culvert::server
