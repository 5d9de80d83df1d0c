// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/base/counter.hpp"
#include "common/net/worker.hpp"
#include "protocol/credit.hpp"

namespace culvert {

/// An object that lives in a table of its worker until it retires itself: a relay, a client's connection.
class Resident {
 public:
  Resident() = default;
  Resident(const Resident&) = delete;
  Resident& operator=(const Resident&) = delete;
  virtual ~Resident() = default;

  /// Called about once per second. May retire any resident, itself included.
  virtual void on_tick(protocol::Time now) = 0;

 private:
  template <typename>
  friend class ResidentTable;
  std::uint64_t id_ = 0;  ///< In its table; 0 in none.
};

/// Names a resident in posts and coroutines that may outlive it. Of the type with which it was added, so that find()
/// needs no cast that could be wrong.
template <typename T>
struct Handle {
  std::uint64_t id = 0;
};

/// The residents of one kind on one worker. On its thread, between its start and its end.
template <typename Base>
class ResidentTable {
 public:
  /// `gauge` counts them. Both outlive the table.
  ResidentTable(Worker& worker, Gauge& gauge) : worker_(worker), gauge_(gauge) {}

  /// Takes the object over. The reference is valid until it retires.
  template <std::derived_from<Base> T>
  T& add(std::unique_ptr<T> resident) {
    T& added = *resident;
    added.id_ = ++last_id_;
    residents_.emplace(added.id_, std::move(resident));
    gauge_.add();
    return added;
  }
  template <std::derived_from<Base> T>
  Handle<T> handle_of(const T& resident) const {
    return {static_cast<const Resident&>(resident).id_};
  }
  /// nullptr once it has retired.
  template <std::derived_from<Base> T>
  T* find(Handle<T> handle) const {
    const auto found = residents_.find(handle.id);
    // Only handle_of() makes handles that name somebody, from an object of that type.
    return found == residents_.end() ? nullptr : static_cast<T*>(found->second.get());
  }
  /// Takes it out of the table; it is destroyed at the end of the worker's turn, since it may be inside one of its own
  /// functions. Does nothing for one that has retired already.
  void retire(Resident& resident) {
    const auto found = residents_.find(std::exchange(resident.id_, 0));
    if (found == residents_.end()) return;
    worker_.retire(std::move(found->second));
    residents_.erase(found);
    gauge_.sub();
  }
  std::size_t size() const { return residents_.size(); }

  /// Calls `use` with each resident. It may retire any of them.
  template <typename Use>
  void each(const Use& use) {
    std::vector<std::uint64_t> ids;
    ids.reserve(residents_.size());
    for (const auto& [id, resident] : residents_) ids.push_back(id);
    for (const std::uint64_t id : ids) {
      if (const auto found = residents_.find(id); found != residents_.end()) use(*found->second);
    }
  }

 private:
  Worker& worker_;
  Gauge& gauge_;
  std::uint64_t last_id_ = 0;
  std::unordered_map<std::uint64_t, std::unique_ptr<Base>> residents_;
};

}  // namespace culvert
