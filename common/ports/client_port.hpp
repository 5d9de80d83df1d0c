// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <boost/asio/ip/tcp.hpp>

#include "common/admin/log.hpp"
#include "common/base/error.hpp"
#include "common/base/permit.hpp"
#include "common/config/settings.hpp"
#include "common/net/unique_fd.hpp"
#include "common/ports/inherited_sockets.hpp"
#include "common/ports/listener.hpp"
#include "common/ports/port_clients.hpp"
#include "common/tunnel/data_planes.hpp"

namespace culvert {

/// A connection that a client made to a client port.
struct Client {
  UniqueFd socket;
  boost::asio::ip::tcp::endpoint peer;
  Permit connection;                     ///< Permit of the port: hold it until the connection ends.
  std::shared_ptr<PortClients> clients;  ///< All clients of the port, to tell when this one keeps it waiting.
  std::chrono::steady_clock::time_point port_opened;
};

/// A port that clients connect to: a channel, a virtual listener, a proxy, an OnPremiseService. All have the same
/// allow_from, limits of connections, log lines, socket activation and change(); they differ in the function that
/// serves a connection. When all of connections_max are open, the one that has waited longest for its client is closed
/// for a new one (WaitsForClient). Owned at home; accepts and serves on the workers.
class ClientPort {
 public:
  /// Becomes the owner of a connection, on the plane's worker. Called on several workers at once.
  using Serve = std::function<void(DataPlane& plane, Client client)>;

  struct Settings {
    ListenSettings port;
    std::string name;        ///< Name for logs: "channel web", "http_proxy".
    std::string_view group;  ///< The list of `status` that shows the port. A literal.
    Serve serve;
  };

  /// Binds at once; clients wait in the backlog until start(). Uses a socket of `inherited` that listens at the address
  /// already. `leaving` are ports that the caller is going to close (Listener::open). Errors: those of
  /// address_to_listen() and Listener::open().
  static Result<std::unique_ptr<ClientPort>> open(DataPlanes& planes, Log& log, Settings settings,
                                                  InheritedSockets* inherited = nullptr,
                                                  std::span<const ClientPort* const> leaving = {});
  ClientPort(const ClientPort&) = delete;
  ClientPort& operator=(const ClientPort&) = delete;
  /// Accepts no more. Open connections continue.
  ~ClientPort();

  /// Starts accepting. Once.
  void start() { listener_->start(); }
  /// Applies the settings to new connections; the address stays.
  void change(Settings settings);
  std::string name() const;
  std::string_view group() const;
  std::uint32_t connections() const;
  /// Returns its address, with the port that the kernel chose if 0 was configured.
  boost::asio::ip::tcp::endpoint local_endpoint() const { return listener_->local_endpoint(); }

 private:
  struct Shared;
  enum class WhenFull : std::uint8_t { make_room, refuse };

  static void serve(const std::shared_ptr<Shared>& port, DataPlane& plane, UniqueFd socket,
                    const boost::asio::ip::tcp::endpoint& peer, WhenFull when_full);
  explicit ClientPort(std::shared_ptr<Shared> shared);

  std::shared_ptr<Shared> shared_;
  std::unique_ptr<Listener> listener_;
};

}  // namespace culvert
