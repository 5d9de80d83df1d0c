// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/tunnel/local_port.hpp"

namespace culvert {

/// All local ports of a program, and their change by a reload: new ones are bound before anything else happens, so that
/// a port that cannot be had refuses the whole reload. Ports whose address stays keep listening. At home.
class LocalPorts {
 public:
  /// `inherited`, where given, outlives this.
  LocalPorts(DataPlanes& planes, TunnelDirectory& directory, Log& log, InheritedSockets* inherited = nullptr)
      : planes_(planes), directory_(directory), log_(log), inherited_(inherited) {}

  /// Ports that are bound and not in service yet.
  struct Staged {
    std::vector<LocalPort::Settings> wanted;
    std::map<std::string, std::unique_ptr<LocalPort>> opened;
  };
  /// Binds what is new. Nothing else changes yet; dropping the result undoes it. Errors: the listener's, with the
  /// port's name.
  Result<Staged> stage(std::vector<LocalPort::Settings> wanted);
  void commit(Staged staged);
  void close() { ports_.clear(); }

  struct Status {
    std::string name;
    std::string listen;
    std::uint32_t connections;
  };
  std::vector<Status> status() const;

 private:
  DataPlanes& planes_;
  TunnelDirectory& directory_;
  Log& log_;
  InheritedSockets* inherited_;
  std::map<std::string, std::unique_ptr<LocalPort>> ports_;  ///< By address.
};

}  // namespace culvert
