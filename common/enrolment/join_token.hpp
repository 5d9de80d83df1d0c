// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.hpp"
#include "common/net/endpoint.hpp"
#include "common/tls/digest.hpp"
#include "protocol/enrolment.hpp"

namespace culvert {

/// What an administrator carries from the server to a new agent: one line of text that works once. Anybody who has it
/// can join as the agent, so it is never an argument, and never logged.
struct JoinToken {
  std::vector<Endpoint> addresses;  ///< To dial, in this order; at least one, at most 8.
  std::string server_name;          ///< Name in the server's certificate; empty: the host of the address.
  Sha256 pin{};                     ///< Digest of the public key of an authority above the server's certificate.
  std::string id;                   ///< Public half; at most protocol::token_id_bytes_max.
  protocol::TokenSecret secret{};
  std::string identity;  ///< The SPIFFE id that the certificate will name.
  friend bool operator==(const JoinToken&, const JoinToken&) = default;
};

/// "culvert-join-1.…": printable, without blanks; without a final newline.
std::string to_text(const JoinToken& token);
/// Blanks and newlines around it do not count. Code "token.malformed"; the error never quotes the text.
Result<JoinToken> parse_join_token(std::string_view text);

/// Under which a secret is stored.
Sha256 hash_of(const protocol::TokenSecret& secret);

}  // namespace culvert
