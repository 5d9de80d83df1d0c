// SPDX-License-Identifier: Apache-2.0
// The door for libFuzzer; the build says which target stands behind it.
#include "tests/fuzz/targets.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  culvert::fuzz::CULVERT_FUZZ_TARGET(std::as_bytes(std::span(data, size)));
  return 0;
}
