// SPDX-License-Identifier: Apache-2.0
#include "agent/trial.hpp"

namespace culvert::agent {

namespace {

Result<std::string> toml(const Trial::Values& values) {
  std::string text = "[[server]]\n" + toml_line("address", values.at("--server").front());
  for (const auto& [option, key] :
       {std::pair{"--certificate", "certificate"}, {"--key", "private_key"}, {"--ca", "ca"}})
    text += toml_line(key, values.at(option).front());
  const auto channels = values.find("--channel");
  if (channels == values.end()) return text;
  for (const std::string& channel : channels->second) {
    auto pair = split_last(channel, ':', "--channel PORT:SERVICE, or ADDRESS:PORT:SERVICE");
    if (!pair) return std::unexpected(pair.error());
    text += "[[channel]]\n" + toml_line("listen", pair->left) + toml_line("service_id", pair->right);
  }
  return text;
}

}  // namespace

Trial trial() {
  using enum Trial::Count;
  return {.options = {{"--server", "HOST:PORT", "The server to keep a link to", once},
                      {"--channel", "PORT:SERVICE", "A local port that leads to a service of the cloud side", many},
                      {"--certificate", "FILE", "The agent's certificate, PEM", once},
                      {"--key", "FILE", "Its private key, PEM", once},
                      {"--ca", "FILE", "The authorities that sign the server, PEM", once}},
          .toml = toml};
}

}  // namespace culvert::agent
