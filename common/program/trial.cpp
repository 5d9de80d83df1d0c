// SPDX-License-Identifier: Apache-2.0
#include "common/program/trial.hpp"

#include <fmt/core.h>

namespace culvert {

namespace {

Result<TrialPair> split(std::string_view value, std::size_t at, std::string_view shape) {
  if (at == value.npos || at == 0 || at + 1 == value.size())
    return fail("trial.malformed", fmt::format("\"{}\": write {}", value, shape));
  return TrialPair{std::string(value.substr(0, at)), std::string(value.substr(at + 1))};
}

}  // namespace

std::string toml_line(std::string_view key, std::string_view value) {
  std::string line = fmt::format("{} = \"", key);
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < ' ' || byte == 127) {
      line += fmt::format("\\u{:04x}", byte);
    } else {
      if (c == '"' || c == '\\') line += '\\';
      line += c;
    }
  }
  return line + "\"\n";
}

Result<TrialPair> split_first(std::string_view value, char separator, std::string_view shape) {
  return split(value, value.find(separator), shape);
}

Result<TrialPair> split_last(std::string_view value, char separator, std::string_view shape) {
  return split(value, value.rfind(separator), shape);
}

}  // namespace culvert
