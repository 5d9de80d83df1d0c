// SPDX-License-Identifier: Apache-2.0
#include "server/config/config.hpp"

#include <regex>
#include <string>
#include <string_view>

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "tests/testing/config_files.hpp"
#include "tests/testing/documented_keys.hpp"

namespace culvert::server {
namespace {

using testing::ConfigFiles;

constexpr std::string_view smallest =
    "[tunnel]\ncertificate = 'cert.pem'\nprivate_key = 'key.pem'\nclient_ca = 'ca.pem'\ntrust_domain = 'example.org'\n";

constexpr std::string_view full = R"([tunnel]
replica = "a"
replicas = ["b", "a"]
congestion_control = "system"
tunnels_per_agent_max = 16
listen = "0.0.0.0:8042"
certificate = "cert.pem"
private_key = "key.pem"
client_ca = "ca.pem"
trust_domain = "example.org"

[[service_mapping]]
account = "7a1c"
service_id = "myservice"
internal_address = "echoserver.test:80"
locations = ["plant-1", ""]

[[service_mapping]]
account = "7a1c"
service_id = "other"
internal_address = "[fd00::1]:80"

[[virtual_listener]]
listen = "0.0.0.0:5443"
allow_from = ["10.0.0.0/8", "fd00::/8"]
connections_max = 10
connections_per_source_max = 5
account = "7a1c"
location = "plant-1"
virtual_host = "ERP.:443"

[[virtual_listener]]
listen = ":5444"
account = "7a1c"
virtual_host = "db:5432"

[socks5_proxy]
connections_max = 7
connections_per_source_max = 0
unauthenticated_account = "7a1c"

[[socks5_proxy.consumer]]
name = "shop"
account = "7a1c"
locations = ["plant-1", ""]
virtual_hosts = ["ERP.:443", "[2001:db8::1]:80"]
secret_hash = "$scrypt$ln=10,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$x0jHUFkpNBiJVwY1AhuH7NuyxVlkarFnXjRNhp1B/eU"

[deny]
certificate_serials = ["0A:1B:2c", "00ff"]
agents = ["spiffe://example.org/account/7a1c/agent/a1", "spiffe://example.org/account/7a1c/location/plant-1/agent/a2"]

[log]
level = "debug"
format = "json"

[admin]
socket = "server.sock"

[metrics]
listen = "127.0.0.1:9495"
allow_from = ["127.0.0.0/8"]

[limits]
memory_budget = "1GiB"
streams_per_link_max = 100
dials_max = 7
workers = 2
)";

TEST(ServerConfig, has_its_defaults) {
  const ConfigFiles files;
  const auto config = load_config(files.write(smallest));
  ASSERT_TRUE(config) << config.error().text;
  EXPECT_EQ(config->tunnel.listen, (Endpoint{"0.0.0.0", 8042}));
  EXPECT_EQ(config->tunnel.congestion_control, "bbr");
  EXPECT_EQ(config->tunnel.tunnels_per_agent_max, 64u);
  EXPECT_EQ(config->tunnel.credentials.certificate, files.path() / "cert.pem");
  EXPECT_EQ(config->tunnel.credentials.private_key, files.path() / "key.pem");
  EXPECT_EQ(config->tunnel.credentials.ca, files.path() / "ca.pem");
  EXPECT_EQ(config->metrics.listen, (Endpoint{"127.0.0.1", 9494}));
  EXPECT_EQ(config->log, LogSettings{});
  EXPECT_EQ(config->limits, LimitSettings{});
  EXPECT_TRUE(config->admin.socket.empty());
  EXPECT_TRUE(config->service_mappings.empty() && config->virtual_listeners.empty());
}

TEST(ServerConfig, takes_every_key) {
  const ConfigFiles files;
  const auto config = load_config(files.write(full));
  ASSERT_TRUE(config) << config.error().text;
  EXPECT_EQ(config->tunnel.congestion_control, "");
  EXPECT_EQ(config->tunnel.tunnels_per_agent_max, 16u);
  EXPECT_EQ(config->tunnel.replica, "a");
  EXPECT_EQ(config->tunnel.replicas, (std::vector<std::string>{"b", "a"}));
  ASSERT_EQ(config->service_mappings.size(), 2u);
  EXPECT_EQ(config->service_mappings[0],
            (ServiceMapping{"7a1c", "myservice", {"echoserver.test", 80}, {"plant-1", ""}, {}}));
  EXPECT_EQ(config->service_mappings[1], (ServiceMapping{"7a1c", "other", {"fd00::1", 80}, {""}, {}}));
  ASSERT_EQ(config->virtual_listeners.size(), 2u);
  const VirtualListener& listener = config->virtual_listeners[0];
  EXPECT_EQ(listener.port.listen, (Endpoint{"0.0.0.0", 5443}));
  EXPECT_TRUE(listener.port.allow_from.allows(boost::asio::ip::make_address("10.1.2.3")));
  EXPECT_EQ(listener.port.connections_max, 10u);
  EXPECT_EQ(listener.port.connections_per_source_max, 5u);
  EXPECT_EQ(config->virtual_listeners[1].port.connections_per_source_max, 0u) << "often one program uses it";
  EXPECT_EQ(listener.location, "plant-1");
  EXPECT_EQ(listener.virtual_host, (Endpoint{"erp", 443}));
  EXPECT_EQ(config->virtual_listeners[1].port.listen, (Endpoint{"127.0.0.1", 5444}));
  EXPECT_EQ(config->virtual_listeners[1].location, "");
  ASSERT_TRUE(config->socks5_proxy);
  EXPECT_EQ(config->socks5_proxy->port.listen, (Endpoint{"127.0.0.1", 20004}));
  EXPECT_EQ(config->socks5_proxy->port.connections_max, 7u);
  EXPECT_EQ(config->socks5_proxy->port.connections_per_source_max, 0u);
  EXPECT_EQ(config->socks5_proxy->unauthenticated_account, "7a1c");
  ASSERT_EQ(config->socks5_proxy->consumers.size(), 1u);
  const Socks5Consumer& consumer = config->socks5_proxy->consumers[0];
  EXPECT_EQ(consumer.locations, (std::vector<std::string>{"plant-1", ""}));
  EXPECT_EQ(consumer.virtual_hosts, (std::vector<Endpoint>{{"erp", 443}, {"2001:db8::1", 80}}));
  EXPECT_TRUE(consumer.secret.matches("pleaseletmein"));
  EXPECT_EQ(config->deny.certificate_serials, (std::vector<std::string>{"a1b2c", "ff"}));
  EXPECT_EQ(config->deny.agents.size(), 2u);
  EXPECT_EQ(config->log, (LogSettings{LogSettings::Level::debug, LogSettings::Format::json}));
  EXPECT_EQ(config->admin.socket, files.path() / "server.sock");
  EXPECT_EQ(config->metrics.listen, (Endpoint{"127.0.0.1", 9495}));
  EXPECT_EQ(config->limits, (LimitSettings{1ull << 30, 100, 7, 2}));
}

constexpr std::string_view cluster =
    "[kubernetes]\napi_server = 'https://10.0.0.1'\nnamespace = 'culvert'\nexternal_address = 't.example:443'\n"
    "endpoint_slices = true\n";

TEST(ServerConfig, takes_what_belongs_to_a_cluster) {
  const ConfigFiles files;
  const auto config = load_config(
      files.write(std::string(smallest) + std::string(cluster) +
                  "replicas_service = 'r'\naccount = 'a'\n[on_premise_services]\nlisten = '0.0.0.0:7000-7009'\n"
                  "allow_from = ['10.0.0.0/8']\nconnections_max = 9\nconnections_per_source_max = 8\n"
                  "namespaces = ['shop']\n"));
  ASSERT_TRUE(config) << config.error().text;
  ASSERT_TRUE(config->kubernetes && config->on_premise_services);
  EXPECT_TRUE(config->kubernetes->endpoint_slices);
  EXPECT_EQ(config->kubernetes->replicas_service, "r");
  const OnPremiseSettings& settings = *config->on_premise_services;
  EXPECT_EQ(settings.port.listen, (Endpoint{"0.0.0.0", 7000}));
  EXPECT_EQ(settings.port.connections_max, 9u);
  EXPECT_EQ(settings.port.connections_per_source_max, 8u);
  EXPECT_TRUE(settings.port.allow_from.allows(boost::asio::ip::make_address("10.1.2.3")));
  EXPECT_FALSE(settings.port.allow_from.allows(boost::asio::ip::make_address("192.0.2.1")));
  EXPECT_EQ(settings.ports, (PortRange{7000, 7009}));
  EXPECT_EQ(settings.namespaces, std::vector<std::string>{"shop"});
  EXPECT_EQ(settings.accounts, std::vector<std::string>{"a"}) << "that of [kubernetes]";
}

TEST(ServerConfig, opens_nothing_to_the_cluster_by_default) {
  const ConfigFiles files;
  const auto faults = [&](std::string_view kubernetes, std::string_view on_premise) {
    return files.faults_of(
        std::string(smallest) + std::string(kubernetes) + "[on_premise_services]\n" + std::string(on_premise),
        load_config);
  };
  const std::string replicated = std::string(cluster) + "replicas_service = 'r'\n";
  EXPECT_EQ(faults(replicated, "accounts = ['a']\n"), "");
  EXPECT_NE(faults(replicated, "").find("on_premise_services.accounts: is empty"), std::string::npos);
  EXPECT_NE(faults("", "accounts = ['a']\n").find("need a cluster"), std::string::npos);
  EXPECT_NE(faults(cluster, "accounts = ['a']\n").find("needs replicas_service"), std::string::npos);
  EXPECT_NE(faults(replicated, "accounts = ['a']\nlisten = '0.0.0.0:7000-7009'\n").find("allow_from"),
            std::string::npos);
  EXPECT_NE(faults(replicated, "accounts = ['a']\nlisten = 'name:7000-7009'\n").find("an IP address and a range"),
            std::string::npos);
  EXPECT_NE(faults(replicated, "accounts = ['a']\nlisten = '127.0.0.1:8000-8100'\n").find("contains the port 8042"),
            std::string::npos);
}

TEST(ServerConfig, has_ports_for_destinations_only_with_a_cluster_and_apart_from_others) {
  const ConfigFiles files;
  const std::string replicated = std::string(cluster) + "replicas_service = 'r'\n";
  const auto faults = [&](std::string_view kubernetes, std::string_view gateway, std::string_view more = "") {
    return files.faults_of(
        fmt::format("{}{}[gateway]\ndestination_ports = {}\n{}", smallest, kubernetes, gateway, more), load_config);
  };
  EXPECT_EQ(faults(replicated, "'127.0.0.1:7000-7009'"), "");
  EXPECT_NE(faults("", "'127.0.0.1:7000-7009'").find("gateway.destination_ports: needs a cluster"), std::string::npos);
  EXPECT_NE(faults(cluster, "'127.0.0.1:7000-7009'").find("needs replicas_service"), std::string::npos);
  EXPECT_NE(faults(replicated, "'0.0.0.0:7000-7009'").find("allow_from"), std::string::npos);
  EXPECT_NE(faults(replicated, "'127.0.0.1:8000-8100'").find("contains the port 8042"), std::string::npos);
  const std::string_view on_premise = "[on_premise_services]\naccounts = ['a']\nlisten = '127.0.0.1:7009-7010'\n";
  EXPECT_NE(faults(replicated, "'127.0.0.1:7000-7009'", on_premise).find("has ports of [on_premise_services]"),
            std::string::npos);
}

TEST(ServerConfig, can_turn_the_metrics_off) {
  const ConfigFiles files;
  const auto config = load_config(files.write(std::string(smallest) + "[metrics]\nlisten = 'off'\n"));
  ASSERT_TRUE(config) << config.error().text;
  EXPECT_FALSE(config->metrics.listen);
}

TEST(ServerConfig, names_the_files_to_watch) {
  const ConfigFiles files;
  const auto config = load_config(files.write(smallest));
  ASSERT_TRUE(config);
  EXPECT_EQ(files_of(*config), (std::vector<std::filesystem::path>{files.path() / "cert.pem", files.path() / "key.pem",
                                                                   files.path() / "ca.pem"}));
}

struct Row {
  std::string_view added;  // Appended to the smallest configuration, which has 5 lines.
  std::string_view fault;
};

TEST(ServerConfig, reports_what_is_wrong_with_line_key_and_remedy) {
  const ConfigFiles files;
  for (const Row& row : {
           Row{"listen = 'example.org:8042'",
               "config.toml:6: tunnel.listen: \"example.org:8042\": a listener needs one of"},
           Row{"listn = ':1'", "config.toml:6: tunnel.listn: unknown key; did you mean \"listen\"?"},
           Row{"replica = 'a/b'", "config.toml:6: tunnel.replica: must be 1 to 255 letters"},
           Row{"replica = 'a'\nreplicas = ['b']",
               "config.toml:7: tunnel.replicas: must contain the name of this server"},
           Row{"replicas = ['b']", "config.toml:6: tunnel.replicas: must contain the name of this server"},
           Row{"[[service_mapping]]\nservice_id = 's'\ninternal_address = 'a:1'",
               "config.toml:6: service_mapping.account: is missing"},
           Row{"[[service_mapping]]\naccount = 'a/b'\nservice_id = 's'\ninternal_address = 'a:1'",
               "config.toml:7: service_mapping.account: must be 1 to 255 letters"},
           Row{"[[service_mapping]]\naccount = '..'\nservice_id = 's'\ninternal_address = 'a:1'",
               "config.toml:7: service_mapping.account: must be 1 to 255 letters"},
           Row{"[[service_mapping]]\naccount = 'a'\nservice_id = ''\ninternal_address = 'a:1'",
               "config.toml:8: service_mapping.service_id: must be 1 to 255 letters"},
           Row{"[[service_mapping]]\naccount = 'a'\nservice_id = 's'\ninternal_address = 'a:0'",
               "config.toml:9: service_mapping.internal_address: \"a:0\": the port must be"},
           Row{"[[service_mapping]]\naccount = 'a'\nservice_id = 's'\ninternal_address = 'a:1'\nlocations = []",
               "config.toml:10: service_mapping.locations: is empty"},
           Row{"[[service_mapping]]\naccount = 'a'\nservice_id = 's'\ninternal_address = 'a:1'\nlocations = ['p', 'p']",
               "config.toml:8: service_mapping.service_id: account \"a\" already has a mapping of \"s\" at the "
               "location \"p\" (config.toml:6)"},
           Row{"[[service_mapping]]\naccount = 'a'\nservice_id = 's'\ninternal_address = 'a:1'\n"
               "[[service_mapping]]\naccount = 'a'\nservice_id = 's'\ninternal_address = 'b:1'\nlocations = ['x', '']",
               "config.toml:12: service_mapping.service_id: account \"a\" already has a mapping of \"s\" at the "
               "location \"\" (config.toml:6)"},
           Row{"[[virtual_listener]]\nlisten = '0.0.0.0:1'\naccount = 'a'\nvirtual_host = 'h:1'",
               "config.toml:7: virtual_listener.listen: 0.0.0.0:1 can be reached from other machines; add allow_from"},
           Row{"[[virtual_listener]]\nlisten = '[::]:1'\nallow_from = []\naccount = 'a'\nvirtual_host = 'h:1'",
               "config.toml:7: virtual_listener.listen: [::]:1 can be reached from other machines; add allow_from"},
           Row{"[[virtual_listener]]\nlisten = ':1'\nallow_from = ['10.0.0.1/8']\naccount = 'a'\nvirtual_host = 'h:1'",
               "config.toml:8: virtual_listener.allow_from: \"10.0.0.1/8\": the address has bits beyond the prefix"},
           Row{"[socks5_proxy]", "config.toml:6: socks5_proxy: has no login"},
           Row{"[socks5_proxy]\nlisten = '0.0.0.0:1'\nunauthenticated_account = 'a'",
               "config.toml:7: socks5_proxy.listen: 0.0.0.0:1 can be reached from other machines; add allow_from"},
           Row{"[[socks5_proxy.consumer]]\nname = 'n'\naccount = 'a'\nsecret_hash = "
               "'$scrypt$ln=10,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$x0jHUFkpNBiJVwY1AhuH7NuyxVlkarFnXjRNhp1B/eU'\n",
               "config.toml:6: socks5_proxy.consumer.virtual_hosts: is missing"},
           Row{"[[socks5_proxy.consumer]]\nname = 'n'\naccount = 'a'\nvirtual_hosts = ['*:80']\nsecret_hash = "
               "'$scrypt$ln=10,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$x0jHUFkpNBiJVwY1AhuH7NuyxVlkarFnXjRNhp1B/eU'\n",
               "config.toml:9: socks5_proxy.consumer.virtual_hosts: \"*\": not a host name"},
           Row{"[[socks5_proxy.consumer]]\nname = 'n'\naccount = 'a'\nvirtual_hosts = ['h:1']\nsecret_hash = 'x'",
               "config.toml:10: socks5_proxy.consumer.secret_hash: must be a hash as"},
           Row{"[[socks5_proxy.consumer]]\nname = 'n'\naccount = 'a'\nvirtual_hosts = ['h:1']\nsecret_hash = "
               "'$scrypt$ln=10,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$x0jHUFkpNBiJVwY1AhuH7NuyxVlkarFnXjRNhp1B/eU'\n"
               "[[socks5_proxy.consumer]]\nname = 'n'\naccount = 'a'\nvirtual_hosts = ['h:1']\nsecret_hash = "
               "'$scrypt$ln=10,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$x0jHUFkpNBiJVwY1AhuH7NuyxVlkarFnXjRNhp1B/eU'\n",
               "config.toml:12: socks5_proxy.consumer.name: is taken already (config.toml:6)"},
           Row{"tunnels_per_agent_max = 15",
               "config.toml:6: tunnel.tunnels_per_agent_max: is 15, must be a whole number from 16 to 65536"},
           Row{"[[virtual_listener]]\naccount = 'a'\nvirtual_host = 'h:1'",
               "config.toml:6: virtual_listener.listen: is missing"},
           Row{"[[virtual_listener]]\nlisten = ':1'\naccount = 'a'\nvirtual_host = 'h:1-2'",
               "config.toml:9: virtual_listener.virtual_host: \"h:1-2\": the port must be"},
           Row{"[[virtual_listener]]\nlisten = ':1'\nlocation = 'a b'\naccount = 'a'\nvirtual_host = 'h:1'",
               "config.toml:8: virtual_listener.location: must be"},
           Row{"[[virtual_listener]]\nlisten = ':1'\nconnections_max = 0\naccount = 'a'\nvirtual_host = 'h:1'",
               "config.toml:8: virtual_listener.connections_max: is 0, must be a whole number from 1 to 1000000"},
           Row{"[http_proxy]\naccount = 'a'\nconnections_per_source_max = 1000001",
               "config.toml:8: http_proxy.connections_per_source_max: is 1000001, must be a whole number from 0 to "
               "1000000"},
           Row{"[socks5_proxy]\nunauthenticated_account = 'a'\nconnections_per_source_max = -1",
               "config.toml:8: socks5_proxy.connections_per_source_max: "},
           Row{"[[virtual_listener]]\nlisten = ':1'\naccount = 'a'\nvirtual_host = 'h:1'\n"
               "[[virtual_listener]]\nlisten = '127.0.0.1:1'\naccount = 'a'\nvirtual_host = 'i:1'",
               "config.toml:11: virtual_listener.listen: 127.0.0.1:1 is already taken by 127.0.0.1:1 (config.toml:7)"},
           Row{"[[virtual_listener]]\nlisten = ':8042'\naccount = 'a'\nvirtual_host = 'h:1'",
               "config.toml:7: virtual_listener.listen: 127.0.0.1:8042 is already taken by 0.0.0.0:8042 "
               "(config.toml:1)"},
           Row{"[[virtual_listener]]\nlisten = ':9494'\naccount = 'a'\nvirtual_host = 'h:1'",
               "config.toml:7: virtual_listener.listen: 127.0.0.1:9494 is already taken by 127.0.0.1:9494"},
           Row{"[deny]\ncertificate_serials = ['0x12']",
               "config.toml:7: deny.certificate_serials: must be a serial number"},
           Row{"[deny]\ncertificate_serials = ['']",
               "config.toml:7: deny.certificate_serials: must be a serial number"},
           Row{"[deny]\ncertificate_serials = ['fffffffffffffffffffffffffffffffffffffffff']",
               "must be a serial number of 1 to 40"},
           Row{"[deny]\nagents = ['agent-1']",
               "config.toml:7: deny.agents: not a SPIFFE id; write spiffe://example.org/account/"},
           Row{"[deny]\nagents = ['spiffe://example.com/account/a/agent/n']", "not of the trust domain"},
           Row{"[deny]\nagents = ['spiffe://example.org/account//agent/n']", "deny.agents: no account"},
           Row{"[deny]\nagents = ['spiffe://example.org/account/a/location//agent/n']", "deny.agents: no location"},
           Row{"[deny]\nagents = ['spiffe://example.org/account/a/agent/n/']", "deny.agents: no agent name at its end"},
           Row{"[deny]\nagents = ['spiffe://example.org/account/a']", "deny.agents: no agent name at its end"},
           Row{"[log]\nlevel = 'verbose'",
               "config.toml:7: log.level: is \"verbose\", must be one of \"error\", \"warn\", \"info\", \"debug\""},
           Row{"[log]\nformat = 'xml'", "config.toml:7: log.format: is \"xml\", must be one of \"text\", \"json\""},
           Row{"[metrics]\nlisten = '10.0.0.1:9494'",
               "config.toml:7: metrics.listen: 10.0.0.1:9494 can be reached from other machines"},
           Row{"[limits]\nmemory_budget = '1MiB'",
               "config.toml:7: limits.memory_budget: is \"1MiB\", must be a size from \"8MiB\" to \"1TiB\""},
           Row{"[limits]\nworkers = 1025", "config.toml:7: limits.workers: is 1025"},
           Row{"[limits]\nstreams_per_link_max = 0", "config.toml:7: limits.streams_per_link_max: is 0"},
           Row{"[limits]\ndials_max = 65537", "config.toml:7: limits.dials_max: is 65537"},
           Row{"[metric]", "config.toml:6: metric: unknown key; did you mean \"metrics\"?"},
       }) {
    SCOPED_TRACE(row.added);
    const std::string faults = files.faults_of(std::string(smallest) + std::string(row.added), load_config);
    EXPECT_NE(faults.find(row.fault), std::string::npos) << faults;
    EXPECT_EQ(faults.find('\n'), std::string::npos) << faults;
  }
}

TEST(ServerConfig, looks_at_the_files_that_it_names) {
  const ConfigFiles files;
  const auto with = [&](std::string_view certificate, std::string_view key) {
    return files.faults_of("[tunnel]\ncertificate = '" + std::string(certificate) + "'\nprivate_key = '" +
                               std::string(key) + "'\nclient_ca = 'ca.pem'\ntrust_domain = 'example.org'\n",
                           load_config);
  };
  EXPECT_EQ(with("cert.pem", "key.pem"), "");
  EXPECT_EQ(with("none.pem", "key.pem"),
            "config.toml:2: tunnel.certificate: cannot read none.pem: No such file or directory");
  EXPECT_EQ(with("open.pem", "none.pem"),
            "config.toml:3: tunnel.private_key: cannot read none.pem: No such file or directory");
  EXPECT_EQ(with("/", "key.pem"), "config.toml:2: tunnel.certificate: / is not a regular file");
  EXPECT_EQ(
      with("cert.pem", "open.pem"),
      "config.toml:3: tunnel.private_key: open.pem is open to every user of this machine (mode 0644); chmod o-rwx it");
}

TEST(ServerConfig, reports_all_faults_at_once) {
  const ConfigFiles files;
  EXPECT_EQ(files.faults_of("[tunnel]\ntrust_domain = 'Example.org'\n[log]\nlevel = 1\n", load_config),
            "config.toml:1: tunnel.certificate: is missing; this table needs it\n"
            "config.toml:1: tunnel.client_ca: is missing; this table needs it\n"
            "config.toml:1: tunnel.private_key: is missing; this table needs it\n"
            "config.toml:2: tunnel.trust_domain: \"Example.org\": a trust domain is written in lower case\n"
            "config.toml:4: log.level: must be text in quotes, is a whole number");
}

TEST(ServerConfig, adds_the_lists_of_drop_ins_and_checks_them_together) {
  const ConfigFiles files;
  const auto file = files.write(full);
  files.write_drop_in(
      "a.toml",
      "[log]\nlevel = 'warn'\n[[service_mapping]]\naccount = 'b'\nservice_id = 's'\ninternal_address = 'x:1'\n");
  const auto config = load_config(file);
  ASSERT_TRUE(config) << config.error().text;
  EXPECT_EQ(config->service_mappings.size(), 3u);
  EXPECT_EQ(config->log, (LogSettings{LogSettings::Level::warn, LogSettings::Format::json}));
  files.write_drop_in("b.toml", "\n[[virtual_listener]]\nlisten = ':5443'\naccount = 'a'\nvirtual_host = 'h:1'\n");
  EXPECT_NE(files.faults_of(full, load_config)
                .find("config.toml.d/b.toml:3: virtual_listener.listen: 127.0.0.1:5443 is already taken"),
            std::string::npos);
}

TEST(ServerConfig, loads_or_reports_a_line_for_every_mutation_of_the_file) {
  const ConfigFiles files;
  const std::regex fault_line("config\\.toml:[0-9]+: .+");
  const int count = testing::for_each_mutation(full, [&](const std::string& mutation) {
    const std::string faults = files.faults_of(mutation, load_config);
    EXPECT_TRUE(faults.empty() || std::regex_match(faults.substr(0, faults.find('\n')), fault_line)) << faults << "\n"
                                                                                                     << mutation;
  });
  EXPECT_GT(count, 200);
}

TEST(ServerConfig, has_an_example_of_every_key_that_is_right) {
  const std::string example = testing::example_configuration("server");
  EXPECT_EQ(testing::written_keys(example), config_keys());
  const testing::TemporaryDirectory directory;
  for (const char* name :
       {"server.crt", "server.key", "ca.crt", "ca.key", "token", "parameters.json", "shop.secret", "proxy.password"})
    directory.write(std::filesystem::path("tls") / name, "x");
  const auto config = load_config(directory.write("server.toml", example));
  EXPECT_TRUE(config) << config.error().text;
}

TEST(ServerConfig, is_documented_key_by_key) {
  EXPECT_EQ(testing::documented_keys("server"), config_keys());
}

}  // namespace
}  // namespace culvert::server
