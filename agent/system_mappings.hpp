// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "agent/config.hpp"
#include "common/base/quota.hpp"
#include "common/tls/tls_context.hpp"
#include "common/tunnel/stream_acceptor.hpp"

namespace culvert::agent {

/// Where requests of an HTTP mapping go, and by which rules.
struct HttpTarget {
  StreamTarget target;  ///< Without a place: each new connection takes one.
  std::string key;      ///< Which idle connections may serve it.
  http::Scheme scheme = http::Scheme::http;
  HostHeader host_header = HostHeader::outside;
  http::EncodedSlash slash = http::EncodedSlash::refuse;
  std::shared_ptr<const std::vector<Resource>> resources;
  std::chrono::milliseconds first_byte_time_max{0};
  std::chrono::milliseconds idle_time_max{0};
  std::shared_ptr<Quota> connections;
  std::uint32_t connections_max = 0;
  std::shared_ptr<Quota> place;  ///< While a connection is being made.
};

/// The agent's access control: what the cloud side of each server may reach, and as what. Nothing else can be reached,
/// whatever a server asks for. An immutable value (but for the count of open connections); looked up on the workers.
class SystemMappings {
 public:
  /// Loads the certificates of tcps mappings, so it may block. Errors: tls.*, with the mapping's name.
  static Result<SystemMappings> load(const std::vector<SystemMapping>& mappings);
  /// These replace `older`. Mappings that stand in both (the same server and virtual address) keep their connections;
  /// those of the others end within a second. How many of the latter there are.
  std::size_t succeed(const SystemMappings& older);

  /// A mapping as it stands, and a way to its first port that takes no place.
  struct Entry {
    const SystemMapping& settings;
    std::uint32_t connections = 0;
    StreamTarget target;
  };
  std::vector<Entry> entries() const;

  enum class Refusal : std::uint8_t {
    not_exposed,
    full,
    speaks_http,  ///< Requests go there, not opaque bytes.
  };
  /// Where a virtual host and port lead for this server, or why not. `host` in any case.
  std::expected<StreamTarget, Refusal> find(std::string_view server, std::string_view host, std::uint16_t port) const;
  /// The same for an HTTP exchange; not_exposed where the mapping is not of HTTP.
  std::expected<HttpTarget, Refusal> find_http(std::string_view server, std::string_view host,
                                               std::uint16_t port) const;

 private:
  struct Mapping {
    SystemMapping settings;
    std::optional<TlsContext> tls;
    std::shared_ptr<const AllowList> addresses;
    std::shared_ptr<Quota> connections;
    std::shared_ptr<const std::vector<Resource>> resources;
  };
  const Mapping* find_mapping(std::string_view server, std::string_view host, std::uint16_t port) const;
  static StreamTarget target_of(const Mapping& mapping, std::uint16_t port);

  std::vector<Mapping> mappings_;
};

}  // namespace culvert::agent
