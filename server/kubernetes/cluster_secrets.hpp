// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/value.hpp>

#include "common/config/secret_file.hpp"

// The Secrets whose names objects mention, as last read, and when to read each of them again. Pure: no network, no
// clock.

namespace culvert::server {

/// A Secret of the server's namespace.
struct ClusterSecret {
  enum class State : std::uint8_t {
    unread,   ///< The API server has not answered yet.
    missing,  ///< There is no Secret of this name.
    refused,  ///< The API server does not let us read it.
    there,
  };
  State state = State::unread;
  std::string refusal;  ///< refused: the API server's answer.
  std::string version;  ///< there: resourceVersion
  std::map<std::string, Secret, std::less<>> values;

  /// nullptr: there is no such key.
  const Secret* find(std::string_view key) const;
};

class ClusterSecrets {
 public:
  using Time = std::chrono::steady_clock::time_point;
  /// How often each Secret is read.
  static constexpr std::chrono::seconds interval{60};
  /// The same for one that does not exist, or could not be read.
  static constexpr std::chrono::seconds retry{10};
  /// look_now() takes effect at most this often.
  static constexpr std::chrono::seconds look_interval{5};

  /// From now on these Secrets are read; those that are new at once. Forgets all others.
  void follow(const std::set<std::string>& names, Time now);
  /// Has all of them read as soon as possible: a login that one of them contains was refused.
  void look_now(Time now);

  /// Those to read now; call note_answer() or note_failure() for each.
  std::vector<std::string> due(Time now) const;
  /// When due() next returns a name; Time::max(): there is none to read.
  Time next_due() const;

  /// The API server's answer about a Secret: its status and body; `text` describes an error. Only 200 and 404 count for
  /// a Secret that is known already. Returns whether anything has changed.
  bool note_answer(const std::string& name, int status, const boost::json::value& body, std::string text, Time now);
  /// There was no answer: what is known stays.
  void note_failure(const std::string& name, Time now);

  /// nullptr: it is not followed.
  const ClusterSecret* find(std::string_view name) const;
  /// Whether the API server has answered about all of these.
  bool are_read(const std::set<std::string>& names) const;

 private:
  struct Followed {
    ClusterSecret secret;
    Time due;
  };
  std::map<std::string, Followed, std::less<>> followed_;
  Time looked_ = Time::min();
};

}  // namespace culvert::server
