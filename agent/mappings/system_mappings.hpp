// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "agent/config/config.hpp"
#include "common/base/permit.hpp"
#include "common/http/head.hpp"
#include "common/tls/tls_context.hpp"
#include "common/upstream/back_end_exchange.hpp"

namespace culvert::agent {

/// The back end of an HTTP mapping, and the rules for its requests.
struct HttpTarget {
  BackEndTarget back_end;
  http::Scheme scheme = http::Scheme::http;
  HostHeader host_header = HostHeader::outside;
  http::PathRules paths = http::EncodedSlash::refuse;
  bool strips_secure = false;  ///< Of cookies.
  std::shared_ptr<const std::vector<Resource>> resources;
};

/// The agent's access control: the targets that each server may reach, and their virtual names. Nothing else can be
/// reached. Immutable except the count of open connections; used on all workers.
class SystemMappings {
 public:
  /// Loads the certificates of mappings with TLS, so it may block. `head_limits` are for the back ends' responses.
  /// Errors: tls.*, with the mapping's name.
  static Result<SystemMappings> load(const std::vector<SystemMapping>& mappings,
                                     const http::HeadLimits& head_limits = {});
  /// Replaces `older`. A mapping that is in both (the same server and virtual address) keeps its connections. Those of
  /// removed mappings end within a second; returns their number.
  std::size_t succeed(const SystemMappings& older);

  /// A mapping, its open connections, and the target of its first port.
  struct Entry {
    const SystemMapping& settings;
    std::uint32_t connections = 0;
    StreamTarget target;
  };
  std::vector<Entry> entries() const;

  enum class Miss : std::uint8_t {
    not_exposed,
    speaks_http,  ///< The mapping allows HTTP requests, not opaque bytes.
  };
  /// Returns the target of a virtual host and port for this server and a stream of this kind. `host` may be in any
  /// spelling that parse_host() accepts.
  std::expected<StreamTarget, Miss> find(std::string_view server, std::string_view host, std::uint16_t port,
                                         protocol::Open::Kind kind) const;
  /// The same for an HTTP exchange; not_exposed if the mapping is not an HTTP mapping.
  std::expected<std::shared_ptr<const HttpTarget>, Miss> find_http(std::string_view server, std::string_view host,
                                                                   std::uint16_t port) const;

 private:
  struct Mapping {
    SystemMapping settings;
    std::optional<TlsContext> tls;
    std::shared_ptr<const AddressRule> addresses;
    std::shared_ptr<Quota> connections;
    std::shared_ptr<const std::vector<Resource>> resources;
    std::shared_ptr<const HttpTarget> http;  ///< Target of the first port, made once and shared by its requests.
  };
  const Mapping* find_mapping(std::string_view server, std::string_view host, std::uint16_t port) const;
  void prepare(Mapping& mapping) const;
  std::shared_ptr<const HttpTarget> http_target_of(const Mapping& mapping, std::uint16_t port) const;
  static StreamTarget target_of(const Mapping& mapping, std::uint16_t port);

  std::vector<Mapping> mappings_;
  http::HeadLimits head_limits_;
};

}  // namespace culvert::agent
