// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/array.hpp>

#include "common/ports/client_port.hpp"

namespace culvert {

/// All client ports of a configuration, and their change by a reload. New ports are bound before anything else changes,
/// so that a port that cannot be opened refuses the whole reload. Ports whose address stays keep listening; one may
/// also move to another address of the same port, such as from 0.0.0.0 to 127.0.0.1. At home.
class ClientPorts {
 public:
  /// `inherited`, if given, must outlive this.
  ClientPorts(DataPlanes& planes, Log& log, InheritedSockets* inherited = nullptr)
      : planes_(planes), log_(log), inherited_(inherited) {}

  /// Wanted ports, of which the new ones are bound.
  struct Staged {
    std::vector<ClientPort::Settings> wanted;
    std::map<std::string, std::unique_ptr<ClientPort>> opened;
  };
  /// Binds the new ports. Nothing else changes yet; destroying the result closes them. Errors: those of
  /// ClientPort::open(), with the port's name.
  Result<Staged> stage(std::vector<ClientPort::Settings> wanted);
  /// Makes `staged` the current ports, and closes those that are not in it.
  void commit(Staged staged);
  /// Stages and commits each port separately. Calls `on_failed` for each port that cannot be opened; the next call
  /// tries it again.
  void change_each(std::vector<ClientPort::Settings> wanted,
                   const std::function<void(const std::string& name, const Error& error)>& on_failed);
  void close() { ports_.clear(); }
  std::size_t size() const { return ports_.size(); }

  /// Returns the ports of one group, for `status`.
  boost::json::array status(std::string_view group) const;

 private:
  Result<void> open(const ClientPort::Settings& settings, const std::set<std::string>& wanted, Staged& staged);

  DataPlanes& planes_;
  Log& log_;
  InheritedSockets* inherited_;
  std::map<std::string, std::unique_ptr<ClientPort>> ports_;  ///< Keyed by address.
};

}  // namespace culvert
