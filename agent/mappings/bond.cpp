// SPDX-License-Identifier: Apache-2.0
#include "agent/mappings/bond.hpp"

namespace culvert::agent {

void BondTable::open(DataPlane& plane, TunnelId tunnel, Stream stream) {
  const Key key{tunnel, stream.id()};
  pools_[key] = std::make_shared<BackEndPool>(plane.worker(), BackEndPool::Users::one_client);
  plane.relays().add(std::make_unique<Bond>(plane, *this, key, std::move(stream))).start();
}

std::shared_ptr<BackEndPool> BondTable::find(Worker& worker, TunnelId tunnel, protocol::StreamId stream) const {
  if (const auto found = pools_.find({tunnel, stream}); found != pools_.end()) return found->second;
  auto none = std::make_shared<BackEndPool>(worker, BackEndPool::Users::one_client);
  none->close();
  return none;
}

Bond::Bond(DataPlane& plane, BondTable& table, BondTable::Key key, Stream stream)
    : BondEnd(plane, std::move(stream)), table_(table), key_(key) {}

Bond::~Bond() {
  // An exchange that is under way still holds the pool, which takes its connection no more.
  if (const auto found = table_.pools_.find(key_); found != table_.pools_.end()) {
    found->second->close();
    table_.pools_.erase(found);
  }
}

void Bond::start() {
  stream_.join(*this);
  stream_.accept();
}

}  // namespace culvert::agent
