// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace culvert::bench {

/// What a connection is for: the first byte of its first request.
enum class Kind : char {
  none = 0,
  source = 'd',  // bytes come without end, until the client's half-close
  sink = 'u',    // bytes are read up to the client's half-close; the answer is their number
  stall = 's',   // nothing more is read
  query = 'q',   // an answer, and so to each request that follows
  once = 'o',    // an answer, then the end
};

constexpr std::size_t request_bytes = 64;
constexpr std::size_t answer_bytes = 128;

/// Serves on loopback until the process is ended.
[[noreturn]] void run_backend(std::uint16_t port);

}  // namespace culvert::bench
