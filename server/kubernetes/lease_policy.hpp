// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>

// Decides a replica's next step towards the Lease whose holder writes. Pure: no network, no clock.

namespace culvert::server {

/// The fields of a Lease of coordination.k8s.io/v1 that the decisions depend on.
struct LeaseRecord {
  std::string version;  ///< resourceVersion
  std::string holder;   ///< Empty: no replica holds it.
  std::chrono::seconds duration{0};
  std::int64_t transitions = 0;  ///< How often another replica became the holder.
  std::string acquired;          ///< RFC 3339, as the holder wrote it.
};

/// The state of one replica: next() takes the outcome of the last step and the time, and returns the next step.
///
/// A holder that has not renewed for as long as the Lease says may be replaced. That time is measured by our own clock
/// from the moment when we saw the last change, never by the times in the record, so that a replica whose clock is
/// wrong cannot take the Lease too early (threats D14). We hold it until `trust` after the moment when our last
/// successful write began: no other replica can have replaced us by then.
class LeasePolicy {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::seconds duration{12};  ///< Written to the Lease.
  static constexpr std::chrono::seconds renewal{4};    ///< The holder's, from one write to the next look.
  static constexpr std::chrono::seconds retry{2};      ///< The others' interval, and after a failure.
  static constexpr std::chrono::seconds trust = duration - renewal;

  // The outcomes of a step.
  struct Begun {};  ///< There was no step yet; or the wait is over, or was cut short by leave().
  struct Found {
    LeaseRecord record;
  };
  struct Missing {};   ///< There is no Lease.
  struct Written {};   ///< Create or Update has succeeded.
  struct Conflict {};  ///< Create or Update was too late: another writer was first (409).
  struct Failed {};    ///< There was no answer, or an error of another kind.
  using Outcome = std::variant<Begun, Found, Missing, Written, Conflict, Failed>;

  // The steps.
  struct Get {
    friend bool operator==(Get, Get) = default;
  };
  struct Create {
    friend bool operator==(Create, Create) = default;
  };
  /// Replaces the record that was found, if it still has that version.
  struct Update {
    bool releases = false;         ///< Writes an empty holder instead of this replica.
    std::int64_t transitions = 0;  ///< The value to write.
    std::string acquired;          ///< The value to write; empty: the present time.
    friend bool operator==(const Update&, const Update&) = default;
  };
  struct Wait {
    Clock::duration time;  ///< Or until leave().
    friend bool operator==(Wait, Wait) = default;
  };
  /// leave() has had its effect: the Lease is given up, was not ours, or the attempt has failed.
  struct End {
    friend bool operator==(End, End) = default;
  };
  using Step = std::variant<Get, Create, Update, Wait, End>;

  /// `identity` is this replica's name among all that want the Lease.
  explicit LeasePolicy(std::string identity) : identity_(std::move(identity)) {}

  Step next(const Outcome& outcome, Clock::time_point now);
  /// From now on is_ours() is false, and next() gives the Lease up before it returns End.
  void leave() { leaving_ = true; }

  bool is_ours(Clock::time_point now) const { return !leaving_ && now < held_until_; }

 private:
  Step on_found(const LeaseRecord& found, Clock::time_point now);
  Step renew(Step step, Clock::time_point now);

  std::string identity_;
  bool leaving_ = false;
  std::string seen_version_;
  Clock::time_point seen_at_;      ///< When we first saw that version.
  Clock::time_point write_began_;  ///< When the last Create or Update was the next step.
  bool releases_ = false;          ///< That write gives the Lease up.
  Clock::time_point held_until_ = Clock::time_point::min();
};

}  // namespace culvert::server
