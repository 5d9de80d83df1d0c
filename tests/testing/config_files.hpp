// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>

#include "tests/testing/temporary_directory.hpp"

namespace culvert::testing {

/// A directory with the files that a configuration names: cert.pem, key.pem, ca.pem, password, and open.pem, which
/// others may read.
class ConfigFiles {
 public:
  ConfigFiles() {
    for (const char* name : {"cert.pem", "key.pem", "ca.pem", "password"}) directory_.write(name, "x");
    directory_.write("open.pem", "x", 0644);
  }

  const std::filesystem::path& path() const { return directory_.path(); }
  std::filesystem::path write(std::string_view text) const { return directory_.write("config.toml", text); }
  std::filesystem::path write_drop_in(std::string_view name, std::string_view text) const {
    return directory_.write(std::filesystem::path("config.toml.d") / name, text);
  }

  /// The error of loading this text, without the directory of the files; "" if it is valid.
  template <typename Load>
  std::string faults_of(std::string_view text, Load load) const {
    const auto config = load(write(text));
    if (config) return "";
    std::string faults = config.error().text;
    const std::string prefix = path().string() + "/";
    for (auto at = faults.find(prefix); at != faults.npos; at = faults.find(prefix)) faults.erase(at, prefix.size());
    return faults;
  }

 private:
  TemporaryDirectory directory_;
};

/// Changes each "key =" and "[table]" line of a text in every way that a person or a full disk might (threats D13).
/// Calls `visit` with each result.
template <typename Visit>
int for_each_mutation(std::string_view text, Visit visit) {
  int count = 0;
  const auto try_one = [&](const std::string& mutation) {
    visit(mutation);
    ++count;
  };
  for (std::size_t size = 0; size < text.size(); size += 64) try_one(std::string(text.substr(0, size)));
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size() - 1) + 1;
    const std::string before(text.substr(0, begin));
    const std::string line(text.substr(begin, end - begin));
    const std::string after(text.substr(end));
    try_one(before + after);
    try_one(before + line + line + after);
    try_one(before + line.substr(0, line.size() / 2) + after);
    const std::size_t equals = line.find('=');
    if (equals != line.npos) {
      for (const char* value :
           {"1", "-1", "''", "'x'", "true", "1.5", "[]", "['']", "[1]", "{}", "{ a = 1 }", "[[]]", "2020-01-01", ""})
        try_one(before + line.substr(0, equals + 1) + " " + value + "\n" + after);
    }
    begin = end;
  }
  return count;
}

}  // namespace culvert::testing
