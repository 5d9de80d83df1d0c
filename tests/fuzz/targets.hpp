// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

// What is fuzzed. Each target takes any bytes and aborts when the code under test breaks a law; libFuzzer calls it
// with what it invents (fuzzer.cpp), and the tests with the corpus (regression_test.cpp).

namespace culvert::fuzz {

using Target = void (*)(std::span<const std::byte> input);

/// The input as one stream of frames: whole and in slices, the same must come out.
void frame_decode(std::span<const std::byte> input);
/// The input as each message: what decodes must survive being encoded again.
void message_decode(std::span<const std::byte> input);
/// The first byte chooses the role and whether the greeting has happened, the second how the rest is cut and which
/// calls its driver makes in between.
void session(std::span<const std::byte> input);

/// What the session of the last call of session() had to keep, for the amplification test.
std::size_t session_streams_max();

}  // namespace culvert::fuzz
