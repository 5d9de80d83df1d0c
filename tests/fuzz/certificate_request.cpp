// SPDX-License-Identifier: Apache-2.0
#include "common/tls/certificate_request.hpp"

#include <vector>

#include "protocol/check.hpp"
#include "tests/fuzz/targets.hpp"

namespace culvert::fuzz {

/// The inputs of the corpus that are good ask for this name.
constexpr std::string_view identity = "spiffe://test.culvert/account/acme/agent/one";

void certificate_request(std::span<const std::byte> input) {
  const auto any = check_request(input, "");
  const auto named = check_request(input, identity);
  if (!any) check(any.error().code == "tls.bad_request", "a request that is refused has this code");
  check(!named || (any && *named == *any), "a request with this name is one with any name, and has the same key");
  if (!any) return;
  check(!check_request(input, std::string(identity) + "x"), "a request is for one name");
  std::vector<std::byte> longer(input.begin(), input.end());
  longer.push_back(std::byte{0});
  check(!check_request(longer, ""), "nothing is behind a request");
  check(!check_request(input.first(input.size() - 1), ""), "and nothing of it is missing");
}

}  // namespace culvert::fuzz
