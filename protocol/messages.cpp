// SPDX-License-Identifier: Apache-2.0
#include "protocol/messages.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include "protocol/message_reader.hpp"
#include "protocol/message_writer.hpp"

namespace culvert::protocol {
namespace {

InstanceId instance_of(MessageReader::Binary bytes) {
  InstanceId instance{};
  if (bytes.size() == instance.size()) std::ranges::copy(bytes, instance.begin());
  return instance;
}

std::vector<std::string> owned(const MessageReader::Strings& views) {
  return {views.begin(), views.end()};
}

/// An empty name means "any" in HELLO.
bool are_replicas(const std::vector<std::string>& names) {
  return std::ranges::none_of(names, &std::string::empty);
}

/// Names go into logs and look-ups: visible ASCII only.
bool is_name(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) { return c > ' ' && c <= '~'; });
}

constexpr std::uint64_t any_number = UINT64_MAX;
constexpr std::uint64_t hour_ms = 3'600'000;

}  // namespace

bool has_capability(const std::vector<std::string>& capabilities, std::string_view name) {
  return std::ranges::find(capabilities, name) != capabilities.end();
}

std::vector<std::byte> encode(const Hello& message) {
  return MessageWriter(8)
      .put("v_min", std::uint64_t{message.version_min})
      .put("v_max", std::uint64_t{message.version_max})
      .put("caps", message.capabilities)
      .put("instance", std::span<const std::byte>(message.instance))
      .put("epoch", message.epoch)
      .put("slot", std::uint64_t{message.slot})
      .put("replica", std::string_view(message.wanted_replica))
      .put("software", std::string_view(message.software))
      .take();
}

std::expected<Hello, Reason> decode_hello(std::span<const std::byte> payload) {
  auto reader = MessageReader::read(payload);
  if (!reader) return std::unexpected(reader.error());
  Hello message{
      .version_min = static_cast<std::uint32_t>(reader->number("v_min", UINT32_MAX)),
      .version_max = static_cast<std::uint32_t>(reader->number("v_max", UINT32_MAX)),
      .capabilities = owned(reader->strings("caps", capabilities_max, capability_bytes_max)),
      .instance = instance_of(reader->binary("instance", instance_bytes)),
      .epoch = reader->number("epoch", any_number),
      .slot = static_cast<std::uint32_t>(reader->number("slot", 255)),
      .wanted_replica = std::string(reader->string("replica", name_bytes_max, "")),
      .software = std::string(reader->string("software", name_bytes_max, "")),
  };
  if (reader->bad() || message.version_min > message.version_max) return std::unexpected(Reason::protocol);
  return message;
}

std::vector<std::byte> encode(const Welcome& message) {
  return MessageWriter(6)
      .put("v", std::uint64_t{message.version})
      .put("caps", message.capabilities)
      .put("instance", std::span<const std::byte>(message.instance))
      .put("replica", std::string_view(message.replica))
      .put("replicas", message.replicas)
      .put("software", std::string_view(message.software))
      .take();
}

std::expected<Welcome, Reason> decode_welcome(std::span<const std::byte> payload) {
  auto reader = MessageReader::read(payload);
  if (!reader) return std::unexpected(reader.error());
  Welcome message{
      .version = static_cast<std::uint32_t>(reader->number("v", UINT32_MAX)),
      .capabilities = owned(reader->strings("caps", capabilities_max, capability_bytes_max)),
      .instance = instance_of(reader->binary("instance", instance_bytes)),
      .replica = std::string(reader->string("replica", name_bytes_max, "")),
      .replicas = owned(reader->strings("replicas", replicas_max, name_bytes_max)),
      .software = std::string(reader->string("software", name_bytes_max, "")),
  };
  if (reader->bad() || !are_replicas(message.replicas)) return std::unexpected(Reason::protocol);
  return message;
}

std::vector<std::byte> encode(const Open& message) {
  const bool to_host = message.kind == Open::Kind::host || message.kind == Open::Kind::http;
  MessageWriter writer(4 + to_host + (message.bond != 0));
  writer.put("kind", std::uint64_t{std::to_underlying(message.kind)})
      .put("name", std::string_view(message.name))
      .put("credit", message.credit)
      .put("dial_ms", static_cast<std::uint64_t>(message.dial_time_max.count()));
  if (to_host) writer.put("port", std::uint64_t{message.port});
  if (message.bond != 0) writer.put("bond", std::uint64_t{message.bond});
  return writer.take();
}

std::expected<Open, Reason> decode_open(std::span<const std::byte> payload) {
  auto reader = MessageReader::read(payload);
  if (!reader) return std::unexpected(reader.error());
  const auto kind = reader->number("kind", 255);
  Open message{
      .kind = static_cast<Open::Kind>(kind),
      .name = std::string(reader->string("name", name_bytes_max)),
      .port = static_cast<std::uint16_t>(reader->number("port", UINT16_MAX, 0)),
      .credit = reader->number("credit", window_bytes_max),
      .dial_time_max = std::chrono::milliseconds(reader->number("dial_ms", hour_ms, 10'000)),
      .bond = static_cast<std::uint32_t>(reader->number("bond", stream_id_max, 0)),
  };
  if (reader->bad() || !is_name(message.name)) return std::unexpected(Reason::protocol);
  return message;
}

/// Keys without a meaning for this head are left out: most heads have few.
std::vector<std::byte> encode(const Head& message) {
  const bool is_request = message.kind == Head::Kind::request;
  const bool is_response = message.kind == Head::Kind::response || message.kind == Head::Kind::interim;
  const bool has_reason = (is_response || message.kind == Head::Kind::failure) && !message.reason.empty();
  const bool has_length = message.framing == Head::Framing::length;
  const auto pairs = 1 +
                     (is_request ? 4 + !message.query.empty() + !message.query_bytes.empty() +
                                       message.expects_continue + message.accepts_trailers
                                 : 0) +
                     is_response + has_reason + (message.framing != Head::Framing::none) + has_length +
                     !message.upgrade.empty() + !message.fields.empty();
  constexpr std::size_t keys_and_numbers = 128;
  MessageWriter writer(static_cast<std::uint32_t>(pairs), keys_and_numbers + message.host.size() + message.path.size() +
                                                              message.query.size() + message.query_bytes.size() +
                                                              message.upgrade.size() + message.fields.size());
  writer.put("kind", std::uint64_t{std::to_underlying(message.kind)});
  if (is_request) {
    writer.put("method", message.method)
        .put("host", message.host)
        .put("port", std::uint64_t{message.port})
        .put("path", message.path);
    if (!message.query.empty()) writer.put("query", message.query);
    if (!message.query_bytes.empty()) writer.put("query_bytes", message.query_bytes);
    if (message.expects_continue) writer.put("expect", true);
    if (message.accepts_trailers) writer.put("te", true);
  }
  if (is_response) writer.put("status", std::uint64_t{message.status});
  if (has_reason) writer.put("reason", message.reason);
  if (message.framing != Head::Framing::none) writer.put("framing", std::uint64_t{std::to_underlying(message.framing)});
  if (has_length) writer.put("length", message.length);
  if (!message.upgrade.empty()) writer.put("upgrade", message.upgrade);
  if (!message.fields.empty()) writer.put("fields", message.fields);
  return writer.take();
}

std::expected<Head, Reason> decode_head(std::span<const std::byte> payload) {
  auto reader = MessageReader::read(payload, head_string_bytes_max);
  if (!reader) return std::unexpected(reader.error());
  const auto text = [&reader](std::string_view key) { return reader->string(key, head_string_bytes_max, ""); };
  const auto kind = reader->number("kind", 5);
  Head message{
      .kind = static_cast<Head::Kind>(kind),
      .method = text("method"),
      .host = reader->string("host", name_bytes_max, ""),
      .port = static_cast<std::uint16_t>(reader->number("port", UINT16_MAX, 0)),
      .path = text("path"),
      .query = text("query"),
      .query_bytes = reader->binary_up_to("query_bytes", head_string_bytes_max),
      .expects_continue = reader->boolean("expect", false),
      .accepts_trailers = reader->boolean("te", false),
      .status = static_cast<std::uint16_t>(reader->number("status", 599, 0)),
      .reason = text("reason"),
      .framing = static_cast<Head::Framing>(reader->number("framing", 2, 0)),
      .length = reader->number("length", INT64_MAX, 0),
      .upgrade = text("upgrade"),
      .fields = reader->binary_up_to("fields", head_fields_bytes_max),
  };
  if (reader->bad() || kind == 0) return std::unexpected(Reason::protocol);
  return message;
}

std::vector<std::byte> encode(const Reject& message) {
  return MessageWriter(3)
      .put("reason", std::uint64_t{std::to_underlying(message.reason)})
      .put("retry", message.retryable)
      .put("text", std::string_view(sendable(message.text)))
      .take();
}

std::expected<Reject, Reason> decode_reject(std::span<const std::byte> payload) {
  auto reader = MessageReader::read(payload);
  if (!reader) return std::unexpected(reader.error());
  Reject message{
      .reason = reason_of(reader->number("reason", UINT32_MAX)).value_or(Reason::internal),
      .retryable = reader->boolean("retry", false),
      .text = std::string(reader->string("text", text_bytes_max, "")),
  };
  if (reader->bad()) return std::unexpected(Reason::protocol);
  return message;
}

std::vector<std::byte> encode(const Goaway& message) {
  return MessageWriter(5)
      .put("kind", std::uint64_t{std::to_underlying(message.kind)})
      .put("reason", std::uint64_t{std::to_underlying(message.reason)})
      .put("last", std::uint64_t{message.last_stream})
      .put("delay_ms", static_cast<std::uint64_t>(message.delay.count()))
      .put("text", std::string_view(sendable(message.text)))
      .take();
}

std::expected<Goaway, Reason> decode_goaway(std::span<const std::byte> payload) {
  auto reader = MessageReader::read(payload);
  if (!reader) return std::unexpected(reader.error());
  const auto kind = reader->number("kind", 2);
  Goaway message{
      .kind = static_cast<Goaway::Kind>(kind),
      .reason = reason_of(reader->number("reason", UINT32_MAX)).value_or(Reason::internal),
      .last_stream = static_cast<std::uint32_t>(reader->number("last", stream_id_max, 0)),
      .delay = std::chrono::milliseconds(reader->number("delay_ms", hour_ms, 0)),
      .text = std::string(reader->string("text", text_bytes_max, "")),
  };
  if (reader->bad() || kind == 0) return std::unexpected(Reason::protocol);
  return message;
}

std::vector<std::byte> encode(const Replicas& message) {
  return MessageWriter(1).put("replicas", message.names).take();
}

std::expected<Replicas, Reason> decode_replicas(std::span<const std::byte> payload) {
  auto reader = MessageReader::read(payload);
  if (!reader) return std::unexpected(reader.error());
  Replicas message{.names = owned(reader->strings("replicas", replicas_max, name_bytes_max))};
  if (reader->bad() || !are_replicas(message.names)) return std::unexpected(Reason::protocol);
  return message;
}

}  // namespace culvert::protocol
