// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string>

#include <boost/asio/awaitable.hpp>

#include "agent/config/config.hpp"
#include "common/config/secret_file.hpp"
#include "common/enrolment/join_token.hpp"
#include "common/net/offload.hpp"
#include "common/program/program.hpp"
#include "common/tls/certificate_request.hpp"

namespace culvert::agent {

/// Reads a token from a file that only its owner can read. Blocks. Codes: those of read_secret_file() and
/// parse_join_token().
Result<JoinToken> read_token_file(const std::filesystem::path& file);

/// What a join ended with, and the key that asked.
struct Joined {
  protocol::Enrolled answer;
  KeyAndRequest asked;
  std::string identity;
  Endpoint address;  ///< Of the token's addresses, the one that answered.
};
/// Joins with the token at the first of its addresses that answers, through the proxy of `server` if it has one.
boost::asio::awaitable<Result<Joined>> join_with_token(JoinToken token, Server server, Offload& offload, KeyKind kind);

/// `culvert-agent join`: token in, identity on the disk, and a drop-in with its [[server]].
Program::Tool join_tool();

}  // namespace culvert::agent
