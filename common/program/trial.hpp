// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.hpp"

namespace culvert {

/// A configuration on the command line, for a quick test on one machine. It becomes the TOML that a file would contain,
/// so that there is one way to read and check it.
struct Trial {
  enum class Count { once, optional, many };
  struct Option {
    std::string name;   ///< "--channel"
    std::string value;  ///< "PORT:SERVICE", for --help.
    std::string help;
    Count count = Count::once;  ///< `once` must be given when any option is.
  };
  /// By option name; only options that were given.
  using Values = std::map<std::string, std::vector<std::string>>;

  std::vector<Option> options;
  /// Error: "trial.malformed", which says what is wrong with an option's value.
  std::function<Result<std::string>(const Values& values)> toml;
};

/// The line `key = "value"`, with escapes as TOML requires.
std::string toml_line(std::string_view key, std::string_view value);

/// "left<separator>right", split at the first or the last separator. Error: "trial.malformed", which shows `shape`.
struct TrialPair {
  std::string left;
  std::string right;
};
Result<TrialPair> split_first(std::string_view value, char separator, std::string_view shape);
Result<TrialPair> split_last(std::string_view value, char separator, std::string_view shape);

}  // namespace culvert
