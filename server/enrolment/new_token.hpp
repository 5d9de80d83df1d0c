// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

#include "protocol/enrolment.hpp"
#include "server/enrolment/agent_file.hpp"

namespace culvert::server {

/// A join token that was just made: the only time that its secret is known. The destructor wipes it.
struct NewToken {
  NewToken() = default;
  NewToken(const NewToken&) = default;
  NewToken& operator=(const NewToken&) = default;
  ~NewToken();

  std::string id;  ///< 16 characters of base32.
  protocol::TokenSecret secret{};
  std::chrono::sys_seconds not_after;
};

/// With a random id and secret. The caller sets its end.
NewToken make_token();
/// What is kept of it: unused, and without its secret.
StoredToken stored_token_of(const NewToken& token);

}  // namespace culvert::server
