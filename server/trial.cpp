// SPDX-License-Identifier: Apache-2.0
#include "server/trial.hpp"

namespace culvert::server {

namespace {

constexpr const char* listen_usual = "127.0.0.1:8042";  // For one machine; the default of a file is all addresses.

Result<std::string> toml(const Trial::Values& values) {
  const auto listen = values.find("--listen");
  // A server that runs as a service may use the default port of the metrics.
  std::string text = "[metrics]\n" + toml_line("listen", "off") + "[tunnel]\n" +
                     toml_line("listen", listen == values.end() ? listen_usual : listen->second.front());
  for (const auto& [option, key] : {std::pair{"--certificate", "certificate"},
                                    {"--key", "private_key"},
                                    {"--ca", "client_ca"},
                                    {"--trust-domain", "trust_domain"}})
    text += toml_line(key, values.at(option).front());
  const auto services = values.find("--service");
  if (services == values.end()) return text;
  for (const std::string& service : services->second) {
    auto pair = split_first(service, '=', "--service SERVICE=HOST:PORT");
    if (!pair) return std::unexpected(pair.error());
    text += "[[service_mapping]]\n" + toml_line("account", values.at("--account").front()) +
            toml_line("service_id", pair->left) + toml_line("internal_address", pair->right);
  }
  return text;
}

}  // namespace

Trial trial() {
  using enum Trial::Count;
  return {.options = {{"--listen", "ADDRESS:PORT", "The address that agents dial; default 127.0.0.1:8042", optional},
                      {"--service", "SERVICE=HOST:PORT", "A service of the account's agents, and its address", many},
                      {"--account", "NAME", "The account that the services are for", once},
                      {"--trust-domain", "NAME", "The domain in the names of the agents", once},
                      {"--certificate", "FILE", "The server's certificate, PEM", once},
                      {"--key", "FILE", "Its private key, PEM", once},
                      {"--ca", "FILE", "The authorities that sign agents, PEM", once}},
          .toml = toml};
}

}  // namespace culvert::server
