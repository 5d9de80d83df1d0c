// SPDX-License-Identifier: Apache-2.0
#include "protocol/messages.hpp"

#include <algorithm>
#include <string_view>
#include <utility>

#include <msgpack/pack.hpp>

#include "protocol/message_reader.hpp"

namespace culvert::protocol {
namespace {

/// msgpack's packer over a growing vector.
class MessageWriter {
 public:
  explicit MessageWriter(std::uint32_t pairs) : packer_(sink_) { packer_.pack_map(pairs); }

  MessageWriter& put(std::string_view key, std::uint64_t value) {
    put_string(key);
    packer_.pack_uint64(value);
    return *this;
  }
  MessageWriter& put(std::string_view key, bool value) {
    put_string(key);
    value ? packer_.pack_true() : packer_.pack_false();
    return *this;
  }
  MessageWriter& put(std::string_view key, std::string_view value) {
    put_string(key);
    put_string(value);
    return *this;
  }
  MessageWriter& put(std::string_view key, const InstanceId& value) {
    put_string(key);
    packer_.pack_bin(static_cast<std::uint32_t>(value.size()));
    packer_.pack_bin_body(reinterpret_cast<const char*>(value.data()), static_cast<std::uint32_t>(value.size()));
    return *this;
  }
  MessageWriter& put(std::string_view key, const std::vector<std::string>& values) {
    put_string(key);
    packer_.pack_array(static_cast<std::uint32_t>(values.size()));
    for (const auto& value : values) put_string(value);
    return *this;
  }
  std::vector<std::byte> take() { return std::move(sink_.bytes); }

 private:
  struct Sink {
    std::vector<std::byte> bytes;
    void write(const char* data, std::size_t size) {
      const auto more = std::as_bytes(std::span(data, size));
      bytes.insert(bytes.end(), more.begin(), more.end());
    }
  };
  void put_string(std::string_view text) {
    packer_.pack_str(static_cast<std::uint32_t>(text.size()));
    packer_.pack_str_body(text.data(), static_cast<std::uint32_t>(text.size()));
  }

  Sink sink_;
  msgpack::packer<Sink> packer_;
};

/// A text as the peer will take it: well-formed UTF-8, cut between two characters. Texts carry what systems and peers
/// said, and a REJECT that is malformed would cost the tunnel.
std::string sendable(std::string text) {
  const bool well_formed = is_utf8(text);
  const auto is_continuation = [](char c) { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; };
  std::size_t end = std::min(text.size(), text_bytes_max);
  while (well_formed && end < text.size() && is_continuation(text[end])) --end;
  text.resize(end);
  if (!well_formed) std::ranges::replace_if(text, [](char c) { return static_cast<unsigned char>(c) >= 0x80; }, '?');
  return text;
}

InstanceId instance_of(MessageReader::Binary bytes) {
  InstanceId instance{};
  if (bytes.size() == instance.size()) std::ranges::copy(bytes, instance.begin());
  return instance;
}

std::vector<std::string> owned(const MessageReader::Strings& views) {
  return {views.begin(), views.end()};
}

/// Names go into logs and look-ups: visible ASCII only.
bool is_name(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) { return c > ' ' && c <= '~'; });
}

constexpr std::uint64_t any_number = UINT64_MAX;
constexpr std::uint64_t hour_ms = 3'600'000;

}  // namespace

std::vector<std::byte> encode(const Hello& message) {
  return MessageWriter(8)
      .put("v_min", std::uint64_t{message.version_min})
      .put("v_max", std::uint64_t{message.version_max})
      .put("caps", message.capabilities)
      .put("instance", message.instance)
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
  return MessageWriter(5)
      .put("v", std::uint64_t{message.version})
      .put("caps", message.capabilities)
      .put("instance", message.instance)
      .put("replica", std::string_view(message.replica))
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
      .software = std::string(reader->string("software", name_bytes_max, "")),
  };
  if (reader->bad()) return std::unexpected(Reason::protocol);
  return message;
}

std::vector<std::byte> encode(const Open& message) {
  const bool to_host = message.kind == Open::Kind::host;
  MessageWriter writer(to_host ? 5 : 4);
  writer.put("kind", std::uint64_t{std::to_underlying(message.kind)})
      .put("name", std::string_view(message.name))
      .put("credit", message.credit)
      .put("dial_ms", static_cast<std::uint64_t>(message.dial_time_max.count()));
  if (to_host) writer.put("port", std::uint64_t{message.port});
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
  };
  if (reader->bad() || !is_name(message.name)) return std::unexpected(Reason::protocol);
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

}  // namespace culvert::protocol
