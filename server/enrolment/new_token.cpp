// SPDX-License-Identifier: Apache-2.0
#include "server/enrolment/new_token.hpp"

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>  // explicit_bzero
#include <span>
#include <string_view>

#include <sys/random.h>

#include "common/enrolment/join_token.hpp"
#include "protocol/check.hpp"

namespace culvert::server {

namespace {

void fill_randomly(std::span<std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::getrandom(bytes.data(), bytes.size(), 0);
    if (count < 0 && errno == EINTR) continue;
    check(count > 0, "the kernel has random numbers");
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

/// 80 random bits in base32: 16 characters.
std::string random_id() {
  constexpr std::string_view digits = "abcdefghijklmnopqrstuvwxyz234567";
  std::array<std::byte, 10> bytes{};
  fill_randomly(bytes);
  std::string id;
  unsigned bits = 0;
  unsigned count = 0;
  for (const std::byte byte : bytes) {
    bits = (bits << 8) | std::to_integer<unsigned>(byte);
    for (count += 8; count >= 5; count -= 5) id += digits[(bits >> (count - 5)) & 31];
  }
  return id;
}

}  // namespace

NewToken::~NewToken() {
  ::explicit_bzero(secret.data(), secret.size());
}

NewToken make_token() {
  NewToken token;
  token.id = random_id();
  fill_randomly(token.secret);
  return token;
}

StoredToken stored_token_of(const NewToken& token) {
  return {.id = token.id, .secret = hash_of(token.secret), .not_after = token.not_after, .used_by = {}, .used_at = {}};
}

}  // namespace culvert::server
