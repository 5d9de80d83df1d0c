// SPDX-License-Identifier: Apache-2.0
#include "agent/config/config.hpp"

#include <regex>
#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "tests/testing/config_files.hpp"
#include "tests/testing/documented_keys.hpp"

namespace culvert::agent {
namespace {

using testing::ConfigFiles;

constexpr std::string_view smallest =
    "[[server]]\naddress = 'tunnel.example.com:443'\ncertificate = 'cert.pem'\nprivate_key = 'key.pem'\nca = "
    "'ca.pem'\n";

constexpr std::string_view full = R"([[server]]
name = "first"
address = "Tunnel.Example.com:443"
server_name = "tunnel.internal"
certificate = "cert.pem"
private_key = "key.pem"
ca = "ca.pem"
tunnels_min = 3
tunnels_max = 4
far_round_trip = "25ms"
congestion_control = "cubic"
proxy = "http://proxy.example.com:3128"
proxy_user = "u"
proxy_password_file = "password"
no_proxy = ["localhost", ".example.org", "10.0.0.0/8", "::1"]

[[server]]
name = "second"
address = "other.example.com:8042"
certificate = "cert.pem"
private_key = "key.pem"
ca = "ca.pem"

[[channel]]
listen = "5001"
endpoint = "tcp://tunnel.example.com:443/myservice"

[[channel]]
listen = "0.0.0.0:5002"
allow_from = ["10.0.0.0/8"]
connections_max = 7
connections_per_source_max = 6
server = "second"
service_id = "myservice"

[[system_mapping]]
server = "first"
protocol = "tcps"
virtual = "ERP:8000-8010"
internal = "10.0.0.5:9000-9010"
backend_ca = "ca.pem"
backend_server_name = "erp.internal"
client_certificate = "cert.pem"
client_key = "key.pem"
tls_minimum = "1.1"
tls_legacy = true
connect_timeout = "3s"
connections_max = 5

[[system_mapping]]
server = "second"
virtual = "erp:8000"
internal = "erp.internal:80"

[log]
level = "warn"
format = "text"

[admin]
socket = "/run/culvert/agent.sock"

[metrics]
listen = ":9595"
allow_from = ["127.0.0.1"]

[limits]
memory_budget = "256MiB"
streams_per_link_max = 100
dials_max = 7
workers = 2
)";

TEST(AgentConfig, has_its_defaults) {
  const ConfigFiles files;
  const auto config =
      load_config(files.write(std::string(smallest) + "[[channel]]\nlisten = '5001'\nservice_id = 's'\n"
                                                      "[[system_mapping]]\nvirtual = 'erp:1'\ninternal = 'x:2'\n"));
  ASSERT_TRUE(config) << config.error().text;
  ASSERT_EQ(config->servers.size(), 1u);
  const Server& server = config->servers[0];
  EXPECT_EQ(server.name, "tunnel.example.com:443");
  EXPECT_EQ(server.server_name, "tunnel.example.com");
  EXPECT_EQ(server.tunnels_min, 2u);
  EXPECT_EQ(server.tunnels_max, 8u);
  EXPECT_EQ(server.far_round_trip, std::chrono::milliseconds(10));
  EXPECT_EQ(server.congestion_control, "bbr");
  EXPECT_FALSE(server.proxy);
  const ListenSettings port{.listen = {"127.0.0.1", 5001}, .allow_from = {}};
  EXPECT_EQ(config->channels, (std::vector<Channel>{{port, server.name, "s"}}));
  SystemMapping mapping;
  mapping.server = server.name;
  mapping.virtual_host = {"erp", {1, 1}};
  mapping.internal_host = {"x", {2, 2}};
  EXPECT_EQ(config->system_mappings, (std::vector<SystemMapping>{mapping}));
  EXPECT_FALSE(config->metrics.listen);
  EXPECT_EQ(config->limits, LimitSettings{});
}

TEST(AgentConfig, takes_every_key) {
  const ConfigFiles files;
  const auto config = load_config(files.write(full));
  ASSERT_TRUE(config) << config.error().text;
  ASSERT_EQ(config->servers.size(), 2u);
  const ProxySettings proxy{.address = {"proxy.example.com", 3128},
                            .user = "u",
                            .password_file = files.path() / "password",
                            .no_proxy = {"localhost", ".example.org", "10.0.0.0/8", "::1"}};
  const CredentialFiles credentials{files.path() / "cert.pem", files.path() / "key.pem", files.path() / "ca.pem"};
  EXPECT_EQ(config->servers[0], (Server{.name = "first",
                                        .address = {"tunnel.example.com", 443},
                                        .server_name = "tunnel.internal",
                                        .credentials = credentials,
                                        .tunnels_min = 3,
                                        .tunnels_max = 4,
                                        .far_round_trip = std::chrono::milliseconds(25),
                                        .congestion_control = "cubic",
                                        .proxy = proxy}));
  ASSERT_EQ(config->channels.size(), 2u);
  EXPECT_EQ(config->channels[0].server, "first");
  EXPECT_EQ(config->channels[0].service_id, "myservice");
  EXPECT_EQ(config->channels[1].server, "second");
  EXPECT_EQ(config->channels[1].port.connections_max, 7u);
  EXPECT_EQ(config->channels[0].port.connections_per_source_max, 0u);
  EXPECT_EQ(config->channels[1].port.connections_per_source_max, 6u);
  ASSERT_EQ(config->system_mappings.size(), 2u);
  const SystemMapping mapping{.server = "first",
                              .protocol = MappingProtocol::tcps,
                              .virtual_host = {"erp", {8000, 8010}},
                              .internal_host = {"10.0.0.5", {9000, 9010}},
                              .backend_ca = credentials.ca,
                              .backend_server_name = "erp.internal",
                              .client_certificate = credentials.certificate,
                              .client_key = credentials.private_key,
                              .tls_minimum = TlsVersion::tls_1_1,
                              .tls_legacy = true,
                              .connect_timeout_ms = 3000,
                              .connections_max = 5};
  EXPECT_EQ(config->system_mappings[0], mapping);
  EXPECT_EQ(config->metrics.listen, (Endpoint{"127.0.0.1", 9595}));
  EXPECT_EQ(files_of(*config).size(), 9u);
}

TEST(AgentConfig, expects_the_internal_host_in_a_back_ends_certificate_by_default) {
  const ConfigFiles files;
  const auto config = load_config(files.write(
      std::string(smallest) + "[[system_mapping]]\nvirtual = 'erp:1'\ninternal = 'X:2'\nprotocol = 'tcps'\n"));
  ASSERT_TRUE(config) << config.error().text;
  EXPECT_EQ(config->system_mappings[0].backend_server_name, "x");
}

struct EndpointRow {
  std::string_view endpoint;
  std::string_view service_id;
};

TEST(AgentConfig, reads_a_channels_endpoint_as_a_service_mapping_shows_it) {
  const ConfigFiles files;
  for (const EndpointRow& row : {
           EndpointRow{"tcp://tunnel.example.com:443/s", "s"},
           EndpointRow{"tunnel.example.com/s", "s"},
           EndpointRow{"rfc://TUNNEL.example.com./My.Service-1", "My.Service-1"},
       }) {
    SCOPED_TRACE(row.endpoint);
    const auto config = load_config(files.write(std::string(smallest) + "[[channel]]\nlisten = '1'\nendpoint = '" +
                                                std::string(row.endpoint) + "'\n"));
    ASSERT_TRUE(config) << config.error().text;
    EXPECT_EQ(config->channels[0].service_id, row.service_id);
    EXPECT_EQ(config->channels[0].server, "tunnel.example.com:443");
  }
}

TEST(AgentConfig, prints_the_server_that_a_channels_endpoint_lacks) {
  const ConfigFiles files;
  EXPECT_EQ(files.faults_of(std::string(smallest) + "[[channel]]\nlisten = '1'\nendpoint = 'other.example.com/s'\n",
                            load_config),
            "config.toml:8: channel.endpoint: no [[server]] has the address other.example.com:443; add\n"
            "  [[server]]\n"
            "  address = \"other.example.com:443\"\n"
            "  certificate = \"agent.pem\"\n"
            "  private_key = \"agent.key\"\n"
            "  ca = \"server-ca.pem\"");
}

struct Row {
  std::string_view added;  // Appended to the smallest configuration, which has 5 lines.
  std::string_view fault;
};

constexpr std::string_view second_server =
    "[[server]]\nname = 'second'\naddress = 'tunnel.example.com:443'\ncertificate = 'cert.pem'\nprivate_key = "
    "'key.pem'\n"
    "ca = 'ca.pem'\n";  // Lines 6 to 11.

TEST(AgentConfig, reports_what_is_wrong_with_line_key_and_remedy) {
  const ConfigFiles files;
  for (const Row& row : {
           Row{"tunnels_min = 9", "config.toml:6: server.tunnels_min: is 9, must be a whole number from 1 to 8"},
           Row{"tunnels_max = 9", "config.toml:6: server.tunnels_max: is 9, must be a whole number from 1 to 8"},
           Row{"tunnels_max = 2\ntunnels_min = 3",
               "config.toml:7: server.tunnels_min: is 3, more than tunnels_max, which is 2"},
           Row{"far_round_trip = '0s'", "config.toml:6: server.far_round_trip: is \"0s\", must be a time from"},
           Row{"congestion_control = 'no such/algorithm'", "config.toml:6: server.congestion_control: "},
           Row{"congestion_control = ''", "config.toml:6: server.congestion_control: "},
           Row{"name = ''", "config.toml:6: server.name: is empty"},
           Row{"server_name = 'a b'", "config.toml:6: server.server_name: \"a b\": not a host name"},
           Row{"proxy = 'https://p:1'", "config.toml:6: server.proxy: \"https://p:1\": only plain HTTP to the proxy"},
           Row{"proxy = 'p:1'", "config.toml:6: server.proxy: \"p:1\": only plain HTTP"},
           Row{"proxy = 'http://p'", "config.toml:6: server.proxy: \"p\": the port is missing"},
           Row{"proxy = 'http://p:1/x'", "config.toml:6: server.proxy: \"p:1/x\": the port must be"},
           Row{"proxy = 'http://u:hunter2@p:1'",
               "config.toml:6: server.proxy: no user name or password here; put them into proxy_user"},
           Row{"proxy_user = 'u'\nproxy_password_file = 'password'",
               "config.toml:6: server.proxy_user: has no meaning without proxy; add it"},
           Row{"proxy = 'http://p:1'\nproxy_password_file = 'password'",
               "config.toml:7: server.proxy_password_file: has no meaning without proxy_user"},
           Row{"proxy = 'http://p:1'\nproxy_user = 'u'",
               "config.toml:7: server.proxy_user: has no meaning without proxy_password_file"},
           Row{"proxy = 'http://p:1'\nproxy_user = 'u:v'\nproxy_password_file = 'password'",
               "config.toml:7: server.proxy_user: must be"},
           Row{"proxy = 'http://p:1'\nproxy_user = 'u'\nproxy_password_file = 'open.pem'",
               "config.toml:8: server.proxy_password_file: open.pem is open to every user"},
           Row{"no_proxy = ['a']", "config.toml:6: server.no_proxy: has no meaning without proxy"},
           Row{"proxy = 'http://p:1'\nno_proxy = ['10.0.0.1/8']",
               "config.toml:7: server.no_proxy: \"10.0.0.1/8\": the address has bits"},
           Row{"proxy = 'http://p:1'\nno_proxy = ['*.example.org']",
               "config.toml:7: server.no_proxy: \"*.example.org\": not a host name"},
           Row{"[[server]]\naddress = 'tunnel.example.com:443'\ncertificate = 'cert.pem'\nprivate_key = 'key.pem'\nca "
               "= 'ca.pem'",
               "config.toml:7: server.address: another [[server]] has the name \"tunnel.example.com:443\" too"},
           Row{"[[channel]]\nlisten = '1'", "config.toml:6: channel: needs service_id"},
           Row{"[[channel]]\nlisten = '1'\nservice_id = 's'\nendpoint = 'tunnel.example.com/s'",
               "config.toml:8: channel.service_id: endpoint names the service already"},
           Row{"[[channel]]\nlisten = '1'\nendpoint = 'tunnel.example.com'",
               "config.toml:8: channel.endpoint: the service id is missing"},
           Row{"[[channel]]\nlisten = '1'\nendpoint = 'ftp://tunnel.example.com/s'",
               "config.toml:8: channel.endpoint: only tcp:// and rfc://"},
           Row{"[[channel]]\nlisten = '1'\nendpoint = 'tunnel.example.com/s/t'",
               "config.toml:8: channel.endpoint: the service id must be"},
           Row{"[[channel]]\nlisten = '1'\nendpoint = 'tunnel.example.com:x/s'",
               "config.toml:8: channel.endpoint: \"tunnel.example.com:x\": the port"},
           Row{"[[channel]]\nlisten = '1'\nserver = 'x'\nservice_id = 's'",
               "config.toml:8: channel.server: no [[server]] has the name \"x\"; there is \"tunnel.example.com:443\""},
           Row{"[[channel]]\nlisten = '0.0.0.0:1'\nservice_id = 's'",
               "config.toml:7: channel.listen: 0.0.0.0:1 can be reached"},
           Row{"[[channel]]\nlisten = ':1'\nservice_id = 's'\n[[channel]]\nlisten = '1'\nservice_id = 't'",
               "config.toml:10: channel.listen: 127.0.0.1:1 is already taken by 127.0.0.1:1 (config.toml:7)"},
           Row{"[[system_mapping]]\nvirtual = 'a:1'", "config.toml:6: system_mapping.internal: is missing"},
           Row{"[[system_mapping]]\nvirtual = 'a:1-3'\ninternal = 'b:1-2'",
               "config.toml:8: system_mapping.internal: has 2 ports, but virtual has 3"},
           Row{"[[system_mapping]]\nvirtual = 'a:1'\ninternal = 'b:1'\nprotocol = 'udp'",
               "config.toml:9: system_mapping.protocol: is \"udp\", must be one of \"tcp\", \"tcps\", \"http\""},
           Row{"[[system_mapping]]\nvirtual = 'a:1'\ninternal = 'b:1'\nhost_header = 'internal'",
               "config.toml:9: system_mapping.host_header: is only for protocol = \"http\""},
           Row{"[[system_mapping]]\nvirtual = 'a:1'\ninternal = 'b:1'\nprotocol = 'http'\n"
               "[[system_mapping.resource]]\npath = '/a/../../b'",
               "config.toml:11: system_mapping.resource.path: \"/a/../../b\": the path climbs above its root"},
           Row{"[[system_mapping]]\nvirtual = 'a:1'\ninternal = 'b:1'\nprotocol = 'http'\n"
               "[[system_mapping.resource]]\npath = '/a'\nenabled = 'yes'",
               "config.toml:12: system_mapping.resource.enabled: must be true or false, is text"},
           Row{"[[system_mapping]]\nvirtual = 'a:1'\ninternal = 'b:1'\nbackend_ca = 'ca.pem'",
               "config.toml:9: system_mapping.backend_ca: is only for protocol = \"tcps\""},
           Row{"[[system_mapping]]\nvirtual = 'a:1'\ninternal = 'b:1'\ntls_minimum = '1.0'",
               "config.toml:9: system_mapping.tls_minimum: is only for protocol = \"tcps\""},
           Row{"[[system_mapping]]\nvirtual = 'a:1'\ninternal = 'b:1'\ntls_legacy = true",
               "config.toml:9: system_mapping.tls_legacy: is only for protocol = \"tcps\""},
           Row{"[[system_mapping]]\nvirtual = 'a:1'\ninternal = 'b:1'\nprotocol = 'https'\ntls_minimum = '0.9'",
               "config.toml:10: system_mapping.tls_minimum: is \"0.9\", must be one of \"1.0\""},
           Row{"[[system_mapping]]\nvirtual = 'a:1'\ninternal = 'b:1'\nprotocol = 'https'\ntls_legacy = 'yes'",
               "config.toml:10: system_mapping.tls_legacy: must be true or false, is text"},
           Row{"[[system_mapping]]\nvirtual = 'a:1'\ninternal = 'b:1'\nbackend_server_name = 'x'",
               "config.toml:9: system_mapping.backend_server_name: is only for"},
           Row{"[[system_mapping]]\nvirtual = 'a:1'\ninternal = 'b:1'\nprotocol = 'tcps'\nclient_key = 'key.pem'",
               "config.toml:10: system_mapping.client_key: client_certificate and client_key are needed together"},
           Row{"[[system_mapping]]\nvirtual = 'a:1'\ninternal = 'b:1'\nconnect_timeout = '6m'",
               "config.toml:9: system_mapping.connect_timeout: is \"6m\", must be a time from \"100ms\" to \"5m\""},
           Row{"[[system_mapping]]\nvirtual = 'a:1-5'\ninternal = 'b:1-5'\n[[system_mapping]]\nvirtual = "
               "'A.:5'\ninternal = 'c:5'",
               "config.toml:10: system_mapping.virtual: a:5 is also exposed as a:1-5 (config.toml:7)"},
           Row{"[[system_mapping]]\nvirtual = '[::1]:5'\ninternal = 'b:1'\n[[system_mapping]]\nvirtual = "
               "'[0:0::1]:5'\ninternal = 'c:5'",
               "config.toml:10: system_mapping.virtual: [::1]:5 is also exposed as [::1]:5 (config.toml:7)"},
       }) {
    SCOPED_TRACE(row.added);
    const std::string faults = files.faults_of(std::string(smallest) + std::string(row.added), load_config);
    EXPECT_NE(faults.find(row.fault), std::string::npos) << faults;
    EXPECT_EQ(faults.find('\n'), std::string::npos) << faults;
    EXPECT_EQ(faults.find("hunter2"), std::string::npos) << faults;
  }
}

TEST(AgentConfig, asks_for_the_server_where_there_is_more_than_one) {
  const ConfigFiles files;
  const auto faults_of = [&](std::string_view added) {
    return files.faults_of(std::string(smallest) + std::string(second_server) + std::string(added), load_config);
  };
  EXPECT_EQ(faults_of("[[channel]]\nlisten = '1'\nservice_id = 's'"),
            "config.toml:12: channel.server: is missing, and there is more than one to choose from: "
            "\"tunnel.example.com:443\", \"second\"");
  EXPECT_EQ(faults_of("[[system_mapping]]\nvirtual = 'a:1'\ninternal = 'b:1'"),
            "config.toml:12: system_mapping.server: is missing, and there is more than one to choose from: "
            "\"tunnel.example.com:443\", \"second\"");
  EXPECT_EQ(faults_of("[[channel]]\nlisten = '1'\nendpoint = 'tunnel.example.com/s'"),
            "config.toml:14: channel.endpoint: more than one [[server]] has the address tunnel.example.com:443; add "
            "server = \"…\" "
            "with the name of one of them");
  EXPECT_EQ(faults_of("[[channel]]\nlisten = '1'\nserver = 'second'\nendpoint = 'tunnel.example.com/s'"), "");
  EXPECT_EQ(faults_of("[[system_mapping]]\nserver = 'second'\nvirtual = 'a:1'\ninternal = 'b:1'\n"
                      "[[system_mapping]]\nserver = 'tunnel.example.com:443'\nvirtual = 'a:1'\ninternal = 'b:1'"),
            "");
}

TEST(AgentConfig, needs_a_server) {
  const ConfigFiles files;
  EXPECT_EQ(files.faults_of("", load_config),
            "config.toml:1: server: is missing; add a [[server]] with address and identity, or certificate, "
            "private_key and ca");
}

TEST(AgentConfig, loads_or_reports_a_line_for_every_mutation_of_the_file) {
  const ConfigFiles files;
  const std::regex fault_line("config\\.toml:[0-9]+: .+");
  const int count = testing::for_each_mutation(full, [&](const std::string& mutation) {
    const std::string faults = files.faults_of(mutation, load_config);
    EXPECT_TRUE(faults.empty() || std::regex_match(faults.substr(0, faults.find('\n')), fault_line)) << faults << "\n"
                                                                                                     << mutation;
  });
  EXPECT_GT(count, 200);
}

TEST(AgentConfig, has_an_example_of_every_key_that_is_right) {
  const std::string example = testing::example_configuration("agent");
  EXPECT_EQ(testing::written_keys(example), config_keys());
  const testing::TemporaryDirectory directory;
  for (const char* name : {"agent.crt", "agent.key", "ca.crt", "proxy-password", "directory-ca.crt"})
    directory.write(std::filesystem::path("tls") / name, "x");
  const auto config = load_config(directory.write("agent.toml", example));
  EXPECT_TRUE(config) << config.error().text;
}

TEST(AgentConfig, is_documented_key_by_key) {
  EXPECT_EQ(testing::documented_keys("agent"), config_keys());
}

}  // namespace
}  // namespace culvert::agent
