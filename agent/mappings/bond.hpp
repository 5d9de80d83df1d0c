// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <utility>

#include "common/tunnel/bond_end.hpp"
#include "common/upstream/back_end.hpp"

namespace culvert::agent {

/// The back-end connections of one worker that only one client's requests use, by the stream of the client's bond
/// (SPEC 5.10). A login by NTLM or Negotiate belongs to a connection: whoever used it next would be logged in.
class BondTable {
 public:
  /// Accepts a stream of kind bond. Its connections are closed when it ends.
  void open(DataPlane& plane, TunnelId tunnel, Stream stream);
  /// Returns the connections of a bond on this tunnel. A bond that has ended has none, and keeps none.
  std::shared_ptr<BackEndPool> find(Worker& worker, TunnelId tunnel, protocol::StreamId stream) const;

 private:
  friend class Bond;
  using Key = std::pair<TunnelId, protocol::StreamId>;
  std::map<Key, std::shared_ptr<BackEndPool>> pools_;
};

/// The agent's side of a bond.
class Bond final : public BondEnd {
 public:
  Bond(DataPlane& plane, BondTable& table, BondTable::Key key, Stream stream);
  ~Bond() override;
  void start();

 private:
  void on_tick(protocol::Time) override {}

  BondTable& table_;
  const BondTable::Key key_;
};

}  // namespace culvert::agent
