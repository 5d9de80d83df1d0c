// SPDX-License-Identifier: Apache-2.0
#include "common/config/settings_reader.hpp"

#include <algorithm>
#include <cerrno>
#include <system_error>

#include <boost/asio/ip/address.hpp>
#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>

#include "common/config/secret_file.hpp"
#include "common/config/toml_reader.hpp"
#include "common/net/unique_fd.hpp"
#include "protocol/check.hpp"

namespace culvert {

namespace {

constexpr std::uint64_t connections_max = 1'000'000;
constexpr std::size_t name_length_max = 255;         // SPIFFE ID 2.1 allows 255 for the longest part.
constexpr std::size_t socket_path_length_max = 107;  // sockaddr_un::sun_path, without its final zero.

bool is_name_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
}

}  // namespace

ClientCertificate read_client_certificate(const TomlTable& table) {
  ClientCertificate files{read_file_path(table, "client_certificate"), read_secret_path(table, "client_key")};
  if (table.has("client_certificate") != table.has("client_key")) {
    table.fault(table.has("client_key") ? "client_key" : "client_certificate",
                "client_certificate and client_key are needed together; add the other one");
  }
  return files;
}

AllowList read_networks(const TomlTable& table, std::string_view key) {
  AllowList allowed;
  // The list keeps the valid networks; the texts themselves are not needed further.
  table.parsed_list(key, [&](std::string_view cidr) -> Result<bool> {
    auto added = allowed.add(cidr);
    if (!added) return std::unexpected(added.error());
    return true;
  });
  return allowed;
}

void require_allow_from(const TomlTable& table, const Endpoint& listen, const AllowList& allowed) {
  if (is_loopback(listen.host) || !allowed.empty()) return;
  table.fault("listen", fmt::format("{} can be reached from other machines; add allow_from = [\"…\"] with the networks "
                                    "that may connect, or listen at 127.0.0.1",
                                    to_string(listen)));
}

LogSettings read_log(const TomlTable& root) {
  using enum LogSettings::Level;
  using enum LogSettings::Format;
  const TomlTable table = root.table("log");
  LogSettings log;
  log.level =
      table.word<LogSettings::Level>("level", {{"error", error}, {"warn", warn}, {"info", info}, {"debug", debug}})
          .value_or(log.level);
  log.format = table.word<LogSettings::Format>("format", {{"text", text}, {"json", json}}).value_or(log.format);
  return log;
}

AdminSettings read_admin(const TomlTable& root) {
  const TomlTable table = root.table("admin");
  AdminSettings admin;
  admin.socket = table.path("socket").value_or("");
  if (admin.socket.native().size() > socket_path_length_max) {
    table.fault("socket", fmt::format("is a path of {} bytes; a socket's name has at most {}",
                                      admin.socket.native().size(), socket_path_length_max));
  }
  return admin;
}

Result<AdminSettings> load_admin_settings(const ConfigSource& source) {
  auto reader = TomlReader::open(source);
  if (!reader) return std::unexpected(std::move(reader.error()));
  return read_admin(reader->root());
}

MetricsSettings read_metrics(const TomlTable& root, std::optional<Endpoint> usual) {
  const TomlTable table = root.table("metrics");
  MetricsSettings metrics;
  metrics.listen = std::move(usual);
  const auto listen = table.parsed("listen", [](std::string_view text) -> Result<std::optional<Endpoint>> {
    if (text == "off") return std::optional<Endpoint>();
    return parse_listen(text, "127.0.0.1");
  });
  if (listen) metrics.listen = *listen;
  metrics.allow_from = read_networks(table, "allow_from");
  if (metrics.listen) require_allow_from(table, *metrics.listen, metrics.allow_from);
  return metrics;
}

LimitSettings read_limits(const TomlTable& root) {
  const TomlTable table = root.table("limits");
  LimitSettings limits;
  const auto number = [&](std::string_view key, TomlTable::NumberRange range, std::uint32_t& setting) {
    if (const auto written = table.number(key, range)) setting = static_cast<std::uint32_t>(*written);
  };
  limits.memory_budget_bytes =
      table.size("memory_budget", {8ull << 20, 1ull << 40}).value_or(limits.memory_budget_bytes);
  number("streams_per_link_max", {1, 1'000'000}, limits.streams_per_link_max);
  number("dials_max", {1, 65'536}, limits.dials_max);
  number("workers", {0, 1024}, limits.workers);
  limits.drain_time =
      table.duration("drain_time", std::chrono::milliseconds(0), std::chrono::hours(24)).value_or(limits.drain_time);
  if (const auto time = table.duration("tcp_keep_alive", std::chrono::seconds(0), std::chrono::hours(2)))
    limits.tcp_keep_alive = *time;
  // SPEC 5.7: a head in the tunnel has at most 64 KiB.
  constexpr TomlTable::NumberRange head_range{1ull << 10, 64ull << 10};
  limits.head_bytes_max = table.size("head_max", head_range).value_or(limits.head_bytes_max);
  limits.head_line_bytes_max = table.size("head_line_max", head_range).value_or(limits.head_line_bytes_max);
  return limits;
}

void read_connection_limits(const TomlTable& table, ListenSettings& settings) {
  if (const auto count = table.number("connections_max", {1, connections_max}))
    settings.connections_max = static_cast<std::uint32_t>(*count);
  if (const auto count = table.number("connections_per_source_max", {0, connections_max}))
    settings.connections_per_source_max = static_cast<std::uint32_t>(*count);
}

ListenSettings read_listen_settings(const TomlTable& table, const ListenRules& rules) {
  ListenSettings settings = rules.usual.value_or(ListenSettings{});
  if (!rules.usual) table.require({"listen"});
  const auto listen = table.parsed("listen", [](std::string_view text) { return parse_listen(text, "127.0.0.1"); });
  settings.allow_from = read_networks(table, "allow_from");
  if (listen) settings.listen = *listen;
  if (rules.is_guarded && settings.allow_from.empty() && !is_loopback(settings.listen.host)) {
    for (const char* any_address : {"0.0.0.0/0", "::/0"})
      check(settings.allow_from.add(any_address).has_value(), "all addresses are a network");
  }
  if (listen) require_allow_from(table, settings.listen, settings.allow_from);
  read_connection_limits(table, settings);
  return settings;
}

Result<Endpoint> parse_listen(std::string_view text, std::string_view usual_host) {
  const std::string_view port = text.starts_with(':') ? text.substr(1) : text;
  const bool only_port = !port.empty() && std::ranges::all_of(port, [](char c) { return c >= '0' && c <= '9'; });
  auto listen = parse_endpoint(only_port ? fmt::format("{}:{}", usual_host, port) : std::string(text), true);
  if (!listen) return listen;
  if (listen->host == "localhost") listen->host = "127.0.0.1";
  boost::system::error_code error;
  boost::asio::ip::make_address(listen->host, error);
  if (error) {
    return fail("config.malformed",
                fmt::format("\"{}\": a listener needs one of this machine's IP addresses, not a name", text));
  }
  return listen;
}

void check_listeners(const std::vector<PlacedListener>& listeners) {
  const auto is_wildcard = [](const Endpoint& listen) { return listen.host == "0.0.0.0" || listen.host == "::"; };
  const auto is_v6 = [](const Endpoint& listen) { return listen.host.find(':') != std::string::npos; };
  const auto collide = [&](const Endpoint& left, const Endpoint& right) {
    if (left.port != right.port || left.port == 0 || is_v6(left) != is_v6(right)) return false;
    return left.host == right.host || is_wildcard(left) || is_wildcard(right);
  };
  for (auto later = listeners.begin(); later != listeners.end(); ++later) {
    const auto earlier = std::find_if(
        listeners.begin(), later, [&](const PlacedListener& other) { return collide(other.listen, later->listen); });
    if (earlier == later) continue;
    later->table.fault("listen",
                       fmt::format("{} is already taken by {} ({}); choose another port", to_string(later->listen),
                                   to_string(earlier->listen), earlier->table.where("listen")));
  }
}

std::filesystem::path read_file_path(const TomlTable& table, std::string_view key) {
  const auto path = table.path(key);
  if (!path) return {};
  const UniqueFd file(::open(path->c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat status{};
  if (!file || ::fstat(file.get(), &status) != 0) {
    table.fault(key, fmt::format("cannot read {}: {}", path->string(), std::generic_category().message(errno)));
  } else if (!S_ISREG(status.st_mode)) {
    table.fault(key, fmt::format("{} is not a regular file", path->string()));
  }
  return *path;
}

std::filesystem::path read_secret_path(const TomlTable& table, std::string_view key) {
  const auto path = table.path(key);
  if (!path) return {};
  if (const auto secret = read_secret_file(*path); !secret) table.fault(key, secret.error().text);
  return *path;
}

CredentialFiles read_credentials(const TomlTable& table, std::string_view ca_key, CaKey ca) {
  table.require({"certificate", "private_key"});
  if (ca == CaKey::required) table.require({ca_key});
  return {.certificate = read_file_path(table, "certificate"),
          .private_key = read_secret_path(table, "private_key"),
          .ca = read_file_path(table, ca_key)};
}

std::string read_congestion_control(const TomlTable& table) {
  constexpr std::size_t name_bytes_max = 15;  // TCP_CA_NAME_MAX, without its final zero.
  const auto name = table.parsed("congestion_control", [](std::string_view text) -> Result<std::string> {
    if (text.empty() || text.size() > name_bytes_max || !std::ranges::all_of(text, is_name_character))
      return fail("config.malformed",
                  "must be \"system\", or a name as in /proc/sys/net/ipv4/tcp_available_congestion_control");
    return std::string(text);
  });
  if (!name) return "bbr";
  return *name == "system" ? "" : *name;
}

Result<std::string> parse_name(std::string_view text) {
  if (!text.empty() && text.size() <= name_length_max && text != "." && text != ".." &&
      std::ranges::all_of(text, is_name_character))
    return std::string(text);
  return fail("config.malformed", "must be 1 to 255 letters, digits, '.', '_' or '-', and neither \".\" nor \"..\"");
}

Result<std::string> parse_location(std::string_view text) {
  if (text.empty()) return std::string();
  return parse_name(text);
}

}  // namespace culvert
