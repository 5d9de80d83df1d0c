// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "common/base/guarded.hpp"

namespace culvert {

/// How much of something limited each of several holders has: the descriptors of each account. The last quarter is for
/// holders with less than an equal share, counted as if there were one holder more. So each has something that nobody
/// else's need touches, and so has the next one that comes. Pure.
class FairShares {
 public:
  explicit FairShares(std::uint64_t max) : max_(max) {}

  /// Gives one more unit to `holder`, or returns false.
  bool take(const std::string& holder) {
    const auto found = holders_.find(holder);
    const std::uint64_t own = found == holders_.end() ? 0 : found->second;
    const bool has_many = own * (holders_.size() + 1) >= taken_;
    if (taken_ >= (has_many ? max_ - max_ / 4 : max_)) return false;
    ++holders_[holder];
    ++taken_;
    return true;
  }
  void give(const std::string& holder) {
    const auto found = holders_.find(holder);
    if (found == holders_.end()) return;
    --taken_;
    if (--found->second == 0) holders_.erase(found);
  }
  std::uint64_t taken() const { return taken_; }

 private:
  const std::uint64_t max_;
  std::uint64_t taken_ = 0;
  std::map<std::string, std::uint64_t> holders_;
};

/// One unit of a FairQuota, given back when the last copy is destroyed. It keeps its quota alive.
using SharePermit = std::shared_ptr<void>;

/// FairShares for any thread; touched once per tunnel or stream, never per frame.
class FairQuota {
 public:
  explicit FairQuota(std::uint64_t max) : shares_(max) {}

  /// Returns nullptr if `holder` may have no more.
  static SharePermit take(const std::shared_ptr<FairQuota>& quota, const std::string& holder) {
    if (!quota->shares_.with([&](FairShares& shares) { return shares.take(holder); })) return nullptr;
    return {quota.get(),
            [quota, holder](FairQuota*) { quota->shares_.with([&](FairShares& shares) { shares.give(holder); }); }};
  }

 private:
  Guarded<FairShares> shares_;
};

}  // namespace culvert
