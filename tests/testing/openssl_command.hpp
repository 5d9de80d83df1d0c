// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace culvert::testing {

struct CommandResult {
  int status = 0;
  std::string output;  ///< Standard output and standard error.
};

/// Runs `openssl` with these arguments: a judge that shares no code with ours.
inline CommandResult openssl_command(const std::string& arguments) {
  std::FILE* const pipe = ::popen(("openssl " + arguments + " 2>&1 </dev/null").c_str(), "re");  // NOLINT(cert-env33-c)
  if (pipe == nullptr) throw std::runtime_error("cannot run openssl");
  CommandResult result;
  std::array<char, 4096> bytes{};
  while (const std::size_t size = std::fread(bytes.data(), 1, bytes.size(), pipe))
    result.output.append(bytes.data(), size);
  result.status = ::pclose(pipe);
  return result;
}

}  // namespace culvert::testing
