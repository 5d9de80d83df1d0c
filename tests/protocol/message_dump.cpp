// SPDX-License-Identifier: Apache-2.0
// What the decoder reads, for comparison with other decoders. Each line of standard input has the name of a message and
// a payload in hexadecimal. The answer is one line of JSON: the message under the keys of SPEC 5, with binary values in
// hexadecimal, or {"refused": true}.
#include <algorithm>
#include <charconv>
#include <concepts>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/enrolment.hpp"
#include "protocol/messages.hpp"

namespace culvert::protocol {
namespace {

std::string hex_of(std::span<const std::byte> bytes) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (const std::byte byte : bytes) {
    text += digits[std::to_integer<std::size_t>(byte >> 4)];
    text += digits[std::to_integer<std::size_t>(byte & std::byte{15})];
  }
  return text;
}

/// nullopt: `text` is not hexadecimal.
std::optional<std::vector<std::byte>> bytes_of(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  std::vector<std::byte> bytes(text.size() / 2);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const char* digits = text.data() + 2 * i;
    std::uint8_t value = 0;
    if (std::from_chars(digits, digits + 2, value, 16).ptr != digits + 2) return std::nullopt;
    bytes[i] = std::byte{value};
  }
  return bytes;
}

class JsonObject {
 public:
  JsonObject& put(std::string_view key, std::unsigned_integral auto value) {
    return member(key, std::to_string(value));
  }
  JsonObject& put(std::string_view key, bool value) { return member(key, value ? "true" : "false"); }
  JsonObject& put(std::string_view key, std::string_view value) { return member(key, quoted(value)); }
  JsonObject& put(std::string_view key, std::span<const std::byte> value) { return member(key, quoted(hex_of(value))); }
  JsonObject& put(std::string_view key, const std::vector<std::string>& values) {
    std::string list;
    for (const auto& value : values) list += (list.empty() ? "" : ",") + quoted(value);
    return member(key, "[" + list + "]");
  }
  std::string text() const { return "{" + members_ + "}"; }

 private:
  JsonObject& member(std::string_view key, const std::string& value) {
    members_ += (members_.empty() ? "" : ",") + quoted(key) + ":" + value;
    return *this;
  }
  static std::string quoted(std::string_view text) {
    std::string result = "\"";
    for (const char c : text) {
      if (c >= 0 && c < ' ') {
        result += "\\u00" + hex_of(std::as_bytes(std::span(&c, 1)));
      } else {
        if (c == '"' || c == '\\') result += '\\';
        result += c;
      }
    }
    return result + '"';
  }

  std::string members_;
};

std::string json_of(const Hello& message) {
  return JsonObject()
      .put("v_min", message.version_min)
      .put("v_max", message.version_max)
      .put("caps", message.capabilities)
      .put("instance", message.instance)
      .put("epoch", message.epoch)
      .put("slot", message.slot)
      .put("replica", message.wanted_replica)
      .put("software", message.software)
      .text();
}

std::string json_of(const Welcome& message) {
  return JsonObject()
      .put("v", message.version)
      .put("caps", message.capabilities)
      .put("instance", message.instance)
      .put("replica", message.replica)
      .put("replicas", message.replicas)
      .put("software", message.software)
      .text();
}

std::string json_of(const Open& message) {
  return JsonObject()
      .put("kind", std::to_underlying(message.kind))
      .put("name", message.name)
      .put("port", message.port)
      .put("credit", message.credit)
      .put("dial_ms", static_cast<std::uint64_t>(message.dial_time_max.count()))
      .put("bond", message.bond)
      .text();
}

std::string json_of(const Reject& message) {
  return JsonObject()
      .put("reason", std::to_underlying(message.reason))
      .put("retry", message.retryable)
      .put("text", message.text)
      .text();
}

std::string json_of(const Goaway& message) {
  return JsonObject()
      .put("kind", std::to_underlying(message.kind))
      .put("reason", std::to_underlying(message.reason))
      .put("last", message.last_stream)
      .put("delay_ms", static_cast<std::uint64_t>(message.delay.count()))
      .put("text", message.text)
      .text();
}

std::string json_of(const Replicas& message) {
  return JsonObject().put("replicas", message.names).text();
}

std::string json_of(const Head& message) {
  return JsonObject()
      .put("kind", std::to_underlying(message.kind))
      .put("method", message.method)
      .put("host", message.host)
      .put("port", message.port)
      .put("path", message.path)
      .put("query", message.query)
      .put("query_bytes", message.query_bytes)
      .put("expect", message.expects_continue)
      .put("te", message.accepts_trailers)
      .put("status", message.status)
      .put("reason", message.reason)
      .put("framing", std::to_underlying(message.framing))
      .put("length", message.length)
      .put("upgrade", message.upgrade)
      .put("fields", message.fields)
      .text();
}

std::string json_of(const Join& message) {
  return JsonObject()
      .put("token", message.token)
      .put("secret", message.secret)
      .put("software", message.software)
      .put("request", message.request)
      .text();
}

std::string json_of(const Renew& message) {
  return JsonObject()
      .put("request", message.request)
      .put("certificate", message.certificate)
      .put("signature", message.signature)
      .text();
}

std::string json_of(const Issued& message) {
  return JsonObject()
      .put("chain", message.chain)
      .put("authorities", message.authorities)
      .put("lifetime_s", static_cast<std::uint64_t>(message.lifetime.count()))
      .text();
}

std::string json_of(const Denied& message) {
  return JsonObject()
      .put("reason", std::to_underlying(message.reason))
      .put("retry", message.retryable)
      .put("text", message.text)
      .text();
}

template <typename Message>
std::string json_of(const std::expected<Message, Reason>& message) {
  return message ? json_of(*message) : R"({"refused": true})";
}

/// nullopt: there is no message of this name.
std::optional<std::string> dump(std::string_view name, std::span<const std::byte> payload) {
  if (name == "hello") return json_of(decode_hello(payload));
  if (name == "welcome") return json_of(decode_welcome(payload));
  if (name == "open") return json_of(decode_open(payload));
  if (name == "reject") return json_of(decode_reject(payload));
  if (name == "goaway") return json_of(decode_goaway(payload));
  if (name == "replicas") return json_of(decode_replicas(payload));
  if (name == "head") return json_of(decode_head(payload));
  if (name == "join") return json_of(decode_join(payload));
  if (name == "renew") return json_of(decode_renew(payload));
  if (name == "issued") return json_of(decode_issued(payload));
  if (name == "denied") return json_of(decode_denied(payload));
  return std::nullopt;
}

}  // namespace
}  // namespace culvert::protocol

int main() {
  std::ios::sync_with_stdio(false);
  for (std::string line; std::getline(std::cin, line);) {
    const std::string_view name = std::string_view(line).substr(0, line.find(' '));
    const auto payload =
        culvert::protocol::bytes_of(std::string_view(line).substr(std::min(name.size() + 1, line.size())));
    const auto answer = payload ? culvert::protocol::dump(name, *payload) : std::nullopt;
    if (!answer) {
      std::cerr << "message_dump: expected the name of a message, a space and a payload in hexadecimal: " << line
                << '\n';
      return EXIT_FAILURE;
    }
    std::cout << *answer << '\n';
  }
  return EXIT_SUCCESS;
}
