// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

namespace culvert::bench {

/// The purpose of a connection: the first byte of its first request.
enum class Kind : char {
  none = 0,
  source = 'd',  // sends bytes without end, until the client's half-close
  sink = 'u',    // reads bytes up to the client's half-close, and answers with their number
  stall = 's',   // reads nothing more
  query = 'q',   // answers this request and each that follows
  once = 'o',    // answers, then ends
};

constexpr std::size_t request_bytes = 64;
constexpr std::size_t answer_bytes = 128;

/// Serves on loopback until the process is ended.
[[noreturn]] void run_backend(std::uint16_t port);

}  // namespace culvert::bench
