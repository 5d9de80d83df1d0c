// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.hpp"
#include "common/config/config_source.hpp"
#include "common/config/settings.hpp"
#include "common/config/toml_table.hpp"

// Reads and checks the parts that the configurations of both programs share. Each function notes its faults in the
// table and returns defaults for what is wrong, so use the result only when TomlReader::finish() finds no fault.

namespace culvert {

LogSettings read_log(const TomlTable& root);
AdminSettings read_admin(const TomlTable& root);
/// Reads only [admin] of the file and its drop-ins, whatever else is wrong with them: for commands that ask a running
/// program. Blocks. Codes: "config.unreadable", "config.syntax".
Result<AdminSettings> load_admin_settings(const ConfigSource& source);
/// `listen` = "off", or an address; `usual` where it is not written.
MetricsSettings read_metrics(const TomlTable& root, std::optional<Endpoint> usual);
LimitSettings read_limits(const TomlTable& root);

/// Keys client_certificate and client_key, of which either both or none must be set.
struct ClientCertificate {
  std::filesystem::path certificate;
  std::filesystem::path key;
};
ClientCertificate read_client_certificate(const TomlTable& table);

/// A list of networks; empty when the key is missing.
AllowList read_networks(const TomlTable& table, std::string_view key);
/// Notes a fault at key `listen` when it is not loopback and `allowed` is empty.
void require_allow_from(const TomlTable& table, const Endpoint& listen, const AllowList& allowed);

struct ListenRules {
  std::optional<ListenSettings> usual =
      std::nullopt;  ///< Defaults for missing keys; without them `listen` is required.
  /// Clients must authenticate: without allow_from every client may connect, from other machines too.
  bool is_guarded = false;
};
/// Keys connections_max and connections_per_source_max.
void read_connection_limits(const TomlTable& table, ListenSettings& settings);
/// Keys listen, allow_from and those of read_connection_limits(), of a [[channel]], a [[virtual_listener]] or a proxy.
ListenSettings read_listen_settings(const TomlTable& table, const ListenRules& rules = {});
/// An address to listen on: an IP literal or "localhost", and a port (0: the system chooses). "port" or ":port" alone
/// means a port at `usual_host`.
Result<Endpoint> parse_listen(std::string_view text, std::string_view usual_host);

/// A listener and the table that configures it, in its key `listen`.
struct PlacedListener {
  Endpoint listen;
  TomlTable table;
};
/// Notes a fault at each listener that collides with an earlier one: the same port, at the same address or at all
/// addresses.
void check_listeners(const std::vector<PlacedListener>& listeners);

/// The file that `key` names must exist and be readable.
std::filesystem::path read_file_path(const TomlTable& table, std::string_view key);
/// The same for a file that read_secret_file() must accept.
std::filesystem::path read_secret_path(const TomlTable& table, std::string_view key);
/// Keys certificate, private_key and the one named `ca_key`; all are required, unless the caller requires the last.
enum class CaKey : std::uint8_t { required, optional };
CredentialFiles read_credentials(const TomlTable& table, std::string_view ca_key, CaKey ca = CaKey::required);

/// Key congestion_control: the kernel's name of an algorithm, "bbr" when it is missing; "" for "system".
std::string read_congestion_control(const TomlTable& table);

/// The name of an account, a location or a service: `[A-Za-z0-9._-]+`, since it is a segment of a path in a certificate
/// or an endpoint. Code "config.malformed".
Result<std::string> parse_name(std::string_view text);
/// Like parse_name(), or "" for the default location.
Result<std::string> parse_location(std::string_view text);

}  // namespace culvert
