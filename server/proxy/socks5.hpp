// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "common/net/endpoint.hpp"
#include "protocol/reason.hpp"

// SOCKS 5 (RFC 1928) from the greeting to the request, without I/O: bytes and verdicts in, bytes and steps out.
// Methods: none (0x00), user and password (0x02, RFC 1929), and a token with a location (0x80):
//
//   client  01 | length of the JWT, 4 bytes | JWT | n, 1 byte | n bytes of base64(location)
//   server  01 00                                             0x00: accepted

namespace culvert::server {

/// Codes of replies (RFC 1928 6).
enum class Socks5Reply : std::uint8_t {
  succeeded = 0,
  failed = 1,
  not_allowed = 2,
  no_agent = 3,  ///< "Network unreachable" in the standard.
  unreachable = 4,
  refused = 5,
  command_not_supported = 7,
  address_not_supported = 8,
};

/// One client's negotiation. It asks for the number of bytes that it needs, so that no byte after the request is ever
/// read, and the boundaries of its input do not matter. The order of calls as a regular expression, each feed() with at
/// most wanted() bytes:  feed+ ( verdict feed+ )? reply
class Socks5 {
 public:
  /// Methods to offer. The strongest that the client knows is used: token, password, none. A login with an empty
  /// password counts as none.
  struct Methods {
    bool none = false;
    bool password = false;
    bool token = false;
  };
  enum class Step : std::uint8_t {
    need_more,
    check_password,  ///< Check user() and secret(), then call verdict().
    check_token,     ///< Check the token in secret() and location(), then call verdict().
    connect,         ///< Connect to target(), then call reply().
    refused,         ///< The client is refused; why() is for the log. There may be output.
  };
  static constexpr std::size_t token_bytes_max = 8'192;

  explicit Socks5(Methods offered);
  Socks5(const Socks5&) = delete;
  Socks5& operator=(const Socks5&) = delete;
  ~Socks5();

  /// Returns how many bytes are needed for the next step; 0 while verdict() or reply() is due.
  std::size_t wanted() const { return part_ == Part::none ? 0 : part_bytes_ - bytes_.size(); }
  Step feed(std::span<const std::byte> bytes);
  /// Ends a check. Wipes the secret.
  Step verdict(bool is_accepted);
  /// Answers the request. After a token, "refused" becomes "unreachable": its method uses that code otherwise.
  void reply(Socks5Reply code);
  /// Returns bytes to send to the client, and removes them. At most a few.
  std::string next_output();

  std::string_view user() const { return user_; }
  std::string_view secret() const { return secret_; }
  std::string_view location() const { return location_; }
  const Endpoint& target() const { return target_; }
  /// Returns the reason of a refusal: "version", "no_method", "credentials" and others.
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
  Step read_part(std::string_view part);
  Step choose_method(std::string_view methods);
  Step read_credentials(Part part, std::string_view bytes);
  Step read_empty_password();
  Step read_location(std::string_view base64);
  Step read_request(std::string_view head);
  Step read_address(std::string_view address);
  void keep_secret(std::size_t bytes);

  const Methods offered_;
  Part part_ = Part::none;
  std::size_t part_bytes_ = 0;
  std::string bytes_;  ///< Bytes of the current part.
  std::string secret_;
  std::string output_;
  std::string user_;
  std::string location_;
  Endpoint target_;
  std::string_view why_;
  bool by_token_ = false;
  std::uint8_t address_type_ = 0;
};

/// Returns the reply for a refusal of the agent, or for the end of the stream.
Socks5Reply socks5_reply_of(protocol::Reason reason);

}  // namespace culvert::server
