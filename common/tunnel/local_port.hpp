// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "common/admin/log.hpp"
#include "common/base/error.hpp"
#include "common/base/quota.hpp"
#include "common/base/snapshot.hpp"
#include "common/config/settings.hpp"
#include "common/net/inherited_sockets.hpp"
#include "common/net/listener.hpp"
#include "common/tunnel/relay.hpp"
#include "common/tunnel/tunnel_directory.hpp"

namespace culvert {

/// A local port that leads into a tunnel: an agent's channel, a server's virtual listener. Each connection becomes a
/// stream on the tunnel with the least to do; one that is refused for a reason that another tunnel need not share is
/// tried there. In the first seconds of a port, a connection waits for the first tunnel: after a restart it comes out
/// of the backlog before there is one. Owned at home; what it does, it does on the workers.
class LocalPort {
 public:
  struct Settings {
    ListenSettings port;
    std::string key;      ///< Of the tunnel directory.
    protocol::Open open;  ///< Where to.
    std::string name;     ///< For logs: "channel web", "virtual_listener erp:443".
    std::string far_end;  ///< For logs, who answers at the far end: "server tunnel.example.com:443", "an agent of
                          ///< account acme".
  };
  /// Binds at once; accepts from then on. Of `inherited`, a socket that listens there already is taken. Errors: the
  /// listener's.
  static Result<std::unique_ptr<LocalPort>> open(DataPlanes& planes, TunnelDirectory& directory, Log& log,
                                                 Settings settings, InheritedSockets* inherited = nullptr);
  LocalPort(const LocalPort&) = delete;
  LocalPort& operator=(const LocalPort&) = delete;
  /// Accepts no more. Connections that stand are untouched.
  ~LocalPort();

  /// For the connections from now on; the address stays.
  void change(Settings settings);
  Settings settings() const;
  std::uint32_t connections() const;
  /// Where it listens: the port that the kernel chose, where 0 was asked for.
  boost::asio::ip::tcp::endpoint local_endpoint() const { return listener_->local_endpoint(); }

 private:
  struct Shared;
  explicit LocalPort(std::shared_ptr<Shared> shared);

  std::shared_ptr<Shared> shared_;
  std::unique_ptr<Listener> listener_;
};

}  // namespace culvert
