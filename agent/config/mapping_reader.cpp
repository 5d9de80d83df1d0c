// SPDX-License-Identifier: Apache-2.0
#include "agent/config/mapping_reader.hpp"

#include <string_view>

#include <fmt/core.h>

#include "common/config/settings_reader.hpp"
#include "common/http/characters.hpp"

namespace culvert::agent {

namespace {

using namespace std::chrono_literals;

void read_back_end_tls(const TomlTable& table, SystemMapping& mapping) {
  mapping.backend_ca = read_file_path(table, "backend_ca");
  mapping.backend_server_name = table.parsed("backend_server_name", parse_host).value_or(mapping.internal_host.host);
  const ClientCertificate shown = read_client_certificate(table);
  mapping.client_certificate = shown.certificate;
  mapping.client_key = shown.key;
  mapping.tls_minimum = table
                            .word<TlsVersion>("tls_minimum", {{"1.0", TlsVersion::tls_1_0},
                                                              {"1.1", TlsVersion::tls_1_1},
                                                              {"1.2", TlsVersion::tls_1_2},
                                                              {"1.3", TlsVersion::tls_1_3}})
                            .value_or(mapping.tls_minimum);
  mapping.tls_legacy = table.boolean("tls_legacy").value_or(mapping.tls_legacy);
  if (has_tls(mapping.protocol)) return;
  mapping.backend_server_name.clear();
  for (const std::string_view key :
       {"backend_ca", "backend_server_name", "client_certificate", "client_key", "tls_minimum", "tls_legacy"}) {
    if (table.has(key))
      table.fault(key, "is only for protocol = \"tcps\" or \"https\"; leave it out or change the protocol");
  }
}

Result<std::string> parse_resource_path(std::string_view text) {
  std::string canonical;
  if (!text.starts_with('/')) return fail("config.malformed", "must begin with a slash");
  if (const http::Flaw flaw = http::append_canonical_path(canonical, text, http::all_kept))
    return fail("config.malformed", fmt::format("\"{}\": {}", text, flaw->text));
  return canonical;
}

Result<std::string> parse_method(std::string_view text) {
  if (!http::is_token(text) || text == "CONNECT")
    return fail("config.malformed", fmt::format("\"{}\" is not a method; write for example \"GET\"", text));
  return std::string(text);
}

Resource read_resource(const TomlTable& table) {
  table.require({"path"});
  Resource resource;
  resource.path = table.parsed("path", parse_resource_path).value_or("/");
  resource.sub_paths = table.word<bool>("match", {{"exact", false}, {"sub_paths", true}}).value_or(false);
  resource.methods = table.parsed_list("methods", parse_method).value_or(std::vector<std::string>());
  resource.ignores_parameters = table.word<bool>("parameters", {{"compare", false}, {"ignore", true}}).value_or(false);
  resource.enabled = table.boolean("enabled").value_or(true);
  resource.upgrade = table.boolean("upgrade").value_or(false);
  return resource;
}

void read_http(const TomlTable& table, SystemMapping& mapping) {
  mapping.host_header =
      table.word<HostHeader>("host_header", {{"virtual", HostHeader::outside}, {"internal", HostHeader::internal}})
          .value_or(mapping.host_header);
  mapping.encoded_slash = table
                              .word<http::EncodedSlash>("encoded_slash", {{"refuse", http::EncodedSlash::refuse},
                                                                          {"keep", http::EncodedSlash::keep}})
                              .value_or(mapping.encoded_slash);
  mapping.encoded_backslash =
      table
          .word<http::EncodedBackslash>(
              "encoded_backslash", {{"refuse", http::EncodedBackslash::refuse}, {"keep", http::EncodedBackslash::keep}})
          .value_or(mapping.encoded_backslash);
  mapping.strips_secure =
      table.word<bool>("secure_cookies", {{"strip", true}, {"keep", false}}).value_or(mapping.strips_secure);
  if (const auto time = table.duration("upgrade_idle_timeout", 1s, 24h)) mapping.upgrade_idle_timeout = *time;
  if (const auto time = table.duration("first_byte_timeout", 100ms, 24h)) mapping.first_byte_timeout = *time;
  if (const auto time = table.duration("idle_timeout", 1s, 24h)) mapping.idle_timeout = *time;
  for (const TomlTable& resource : table.tables("resource")) mapping.resources.push_back(read_resource(resource));
  if (is_http(mapping.protocol)) return;
  for (const std::string_view key : {"host_header", "encoded_slash", "encoded_backslash", "secure_cookies",
                                     "first_byte_timeout", "idle_timeout", "upgrade_idle_timeout", "resource"}) {
    if (table.has(key))
      table.fault(key, "is only for protocol = \"http\" or \"https\"; leave it out or change the protocol");
  }
}

}  // namespace

SystemMapping read_system_mapping(const TomlTable& table) {
  table.require({"virtual", "internal"});
  SystemMapping mapping;
  mapping.protocol = table
                         .word<MappingProtocol>("protocol", {{"tcp", MappingProtocol::tcp},
                                                             {"tcps", MappingProtocol::tcps},
                                                             {"http", MappingProtocol::http},
                                                             {"https", MappingProtocol::https},
                                                             {"ldap", MappingProtocol::tcp},
                                                             {"ldaps", MappingProtocol::tcps}})
                         .value_or(MappingProtocol::tcp);
  const auto virtual_host = table.parsed("virtual", parse_endpoint_range);
  const auto internal_host = table.parsed("internal", parse_endpoint_range);
  if (virtual_host) mapping.virtual_host = *virtual_host;
  if (internal_host) mapping.internal_host = *internal_host;
  const auto count = [](const PortRange& ports) { return ports.high - ports.low + 1; };
  if (virtual_host && internal_host && count(virtual_host->ports) != count(internal_host->ports)) {
    table.fault("internal", fmt::format("has {} ports, but virtual has {}; both ranges must have the same length",
                                        count(internal_host->ports), count(virtual_host->ports)));
  }
  mapping.addresses = read_networks(table, "addresses");
  mapping.enabled = table.boolean("enabled").value_or(true);
  read_back_end_tls(table, mapping);
  if (const auto timeout = table.duration("connect_timeout", 100ms, 5min))
    mapping.connect_timeout_ms = static_cast<std::uint32_t>(timeout->count());
  if (const auto limit = table.number("connections_max", {1, 1'000'000}))
    mapping.connections_max = static_cast<std::uint32_t>(*limit);
  mapping.check = table.boolean("check").value_or(true);
  read_http(table, mapping);
  return mapping;
}

}  // namespace culvert::agent
