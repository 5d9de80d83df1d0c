// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "common/admin/log.hpp"
#include "common/ports/client_port.hpp"
#include "common/tunnel/tunnel_directory.hpp"
#include "protocol/messages.hpp"

namespace culvert {

/// The destination of a port that carries plain bytes: an agent's channel, a server's virtual listener.
struct TcpRoute {
  std::string key;      ///< Key in the tunnel directory.
  protocol::Open open;  ///< The target.
  std::string name;     ///< Name of the port, for logs.
  std::string far_end;  ///< Text for logs: "server tunnel.example.com:443", "an agent of account acme".
};

/// Returns a function that opens a stream for each connection. In the port's first seconds a connection waits for a
/// first tunnel. `directory` and `log` must outlive the connections.
ClientPort::Serve serve_tcp(const TunnelDirectory& directory, Log& log, TcpRoute route);

}  // namespace culvert
