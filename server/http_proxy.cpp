// SPDX-License-Identifier: Apache-2.0
#include "server/http_proxy.hpp"

#include <utility>

#include <boost/asio/ip/tcp.hpp>

#include "common/net/socket_options.hpp"

namespace culvert::server {

namespace {

constexpr std::string_view location_field = "SAP-Connectivity-SCC-Location_ID";

/// The location that the request names; the default one where it names none.
std::expected<std::string, ProxyError> location_of(const http::RequestHead& head) {
  const auto named = head.fields.find(location_field);
  if (!named) return std::string();
  const ProxyError bad{400,
                       "request.bad_location",
                       "http_request_error",
                       "the location's name has characters that none has",
                       "mend the field SAP-Connectivity-SCC-Location_ID",
                       {},
                       false};
  const auto is_name_character = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  };
  if (head.fields.count(location_field) != 1 || !std::ranges::all_of(*named, is_name_character))
    return std::unexpected(bad);
  return std::string(*named);
}

}  // namespace

/// Outlives the proxy as long as a connection of it does.
struct HttpProxy::Shared {
  Shared(DataPlanes& planes, const TunnelDirectory& directory, Log& log, HttpProxySettings first)
      : settings(std::make_shared<const HttpProxySettings>(std::move(first))),
        around{planes, directory, log, [this](http::RequestHead& head, const std::string&) { return admit(head); }} {}

  std::expected<ProxyRoute, ProxyError> admit(const http::RequestHead& head) const {
    auto location = location_of(head);
    if (!location) return std::unexpected(location.error());
    return ProxyRoute{settings.get()->account, std::move(*location)};
  }

  Snapshot<HttpProxySettings> settings;
  ProxySurroundings around;
  std::shared_ptr<Quota> connections = std::make_shared<Quota>();
};

HttpProxy::HttpProxy(std::shared_ptr<Shared> shared) : shared_(std::move(shared)) {}

HttpProxy::~HttpProxy() = default;

Result<std::unique_ptr<HttpProxy>> HttpProxy::open(DataPlanes& planes, const TunnelDirectory& directory, Log& log,
                                                   HttpProxySettings settings) {
  boost::system::error_code malformed;
  const std::string host = settings.port.listen.host == "localhost" ? "127.0.0.1" : settings.port.listen.host;
  const auto address = boost::asio::ip::make_address(host, malformed);
  if (malformed) return fail("listen.refused", "http_proxy.listen: no address of this machine; write an IP address");
  auto shared = std::make_shared<Shared>(planes, directory, log, std::move(settings));
  ListenerEvents events;
  events.on_accept = [shared](Worker& worker, UniqueFd socket, const boost::asio::ip::tcp::endpoint& peer) {
    auto place = Quota::take(shared->connections, shared->settings.get()->port.connections_max);
    if (!place) {
      reset_on_close(socket.get());
      shared->around.log.limited(Log::Level::warn, "port.full",
                                 {{"port", "http_proxy"}, {"hint", "all of connections_max are open"}});
      return;
    }
    ProxyClient::start(shared->around.planes.plane(worker.index()),
                       {.around = std::shared_ptr<const ProxySurroundings>(shared, &shared->around),
                        .socket = std::move(socket),
                        .read_ahead = {},
                        .source = peer.address(),
                        .place = std::move(place),
                        .tunnel = {},
                        .tried = {},
                        .inside = {}});
  };
  events.on_refused = [shared](Worker&, const boost::asio::ip::tcp::endpoint& peer) {
    shared->around.log.limited(Log::Level::warn, "port.not_allowed",
                               {{"port", "http_proxy"},
                                {"peer", peer.address().to_string()},
                                {"hint", "allow_from does not name this address"}});
  };
  const auto workers = planes.workers();
  auto listener = Listener::open({address, shared->settings.get()->port.listen.port}, workers, std::move(events),
                                 [shared](const boost::asio::ip::address& source) {
                                   return shared->settings.get()->port.allow_from.allows(source);
                                 });
  if (!listener) return fail(listener.error().code, "http_proxy: " + listener.error().text);
  std::unique_ptr<HttpProxy> proxy(new HttpProxy(std::move(shared)));
  proxy->listener_ = std::move(*listener);
  return proxy;
}

void HttpProxy::change(HttpProxySettings settings) {
  shared_->settings.publish(std::make_shared<const HttpProxySettings>(std::move(settings)));
}

HttpProxySettings HttpProxy::settings() const {
  return *shared_->settings.get();
}

std::uint32_t HttpProxy::connections() const {
  return shared_->connections->taken();
}

}  // namespace culvert::server
