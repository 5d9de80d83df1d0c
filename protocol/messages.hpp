// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/limits.hpp"
#include "protocol/reason.hpp"

// The messages of SPEC 5 as plain values. Decoding is strict: a payload is one map of string keys, with nothing after
// it. Unknown keys are ignored. Duplicate keys, ext types, long forms of short values, invalid UTF-8, and depths and
// sizes beyond limits.hpp are Reason::protocol.

namespace culvert::protocol {

using InstanceId = std::array<std::byte, instance_bytes>;

/// The capability of a side that reads every HEAD (SPEC 5.6).
inline constexpr std::string_view heads_capability = "heads";
/// The HEADs that the peer reads: all of SPEC 5.7, or only those of releases without `heads` ("older peers" there).
enum class HeadForm : std::uint8_t { current, older };

/// Whether this list of HELLO or WELCOME has the capability.
bool has_capability(const std::vector<std::string>& capabilities, std::string_view name);

/// SPEC 5.1: agent to server, the first frame.
struct Hello {
  std::uint32_t version_min = 1;
  std::uint32_t version_max = 1;
  std::vector<std::string> capabilities;
  InstanceId instance{};       ///< Random, one per agent process.
  std::uint64_t epoch = 0;     ///< Raised when the agent has lost every tunnel of the link.
  std::uint32_t slot = 0;      ///< Which of the link's tunnels this is.
  std::string wanted_replica;  ///< Empty: any.
  std::string software;        ///< For logs only: "culvert-agent 0.1.0".
  friend bool operator==(const Hello&, const Hello&) = default;
};

/// SPEC 5.2: the server's answer.
struct Welcome {
  std::uint32_t version = 1;
  std::vector<std::string> capabilities;
  InstanceId instance{};              ///< Random, one per server process.
  std::string replica;                ///< The name of this server process among its replicas.
  std::vector<std::string> replicas;  ///< All that are ready, as in Replicas.
  std::string software;
  friend bool operator==(const Welcome&, const Welcome&) = default;
};

/// SPEC 5.3: asks for a stream.
struct Open {
  enum class Kind : std::uint8_t {
    service = 1,  ///< To a virtual service name; agent to server.
    host = 2,     ///< To a virtual host and port; server to agent.
    http = 3,     ///< One HTTP exchange with a virtual host and port; server to agent. HEADs follow (SPEC 5.7).
    bond = 4,     ///< Ties a client to back-end connections of its own (SPEC 5.10); server to agent.
  };
  Kind kind = Kind::service;
  std::string name;
  std::uint16_t port = 0;                           ///< Kind::host and Kind::http.
  std::uint64_t credit = 0;                         ///< How much the acceptor may send, from offset 0.
  std::chrono::milliseconds dial_time_max{10'000};  ///< How long the opener waits for the dial.
  std::uint32_t bond = 0;                           ///< Kind::http: the stream of the client's bond; 0: none.
  friend bool operator==(const Open&, const Open&) = default;
};

/// SPEC 5.4: refuses a stream.
struct Reject {
  Reason reason = Reason::internal;
  bool retryable = false;  ///< The stream may be opened on another tunnel.
  std::string text;        ///< For the opener's log.
  friend bool operator==(const Reject&, const Reject&) = default;
};

/// SPEC 5.5: the sender drains, or has ended the tunnel.
struct Goaway {
  enum class Kind : std::uint8_t { draining = 1, final = 2 };
  Kind kind = Kind::draining;
  Reason reason = Reason::none;
  std::uint32_t last_stream = 0;       ///< final: the receiver's highest id that was handled; 0: none.
  std::chrono::milliseconds delay{0};  ///< draining: leave within this time, at a moment of your own choice.
  std::string text;
  friend bool operator==(const Goaway&, const Goaway&) = default;
};

/// SPEC 5.8: all server processes that are ready. Empty: the sender has no name, and there is no other process.
struct Replicas {
  std::vector<std::string> names;  ///< No name is empty.
  friend bool operator==(const Replicas&, const Replicas&) = default;
};

/// SPEC 5.7: one head of an HTTP exchange. A view, for encoding and decoding: what it points to must outlive it. Only
/// sizes are checked here; the HTTP layer checks the contents of each head that comes.
struct Head {
  enum class Kind : std::uint8_t { request = 1, interim = 2, response = 3, trailers = 4, failure = 5 };
  enum class Framing : std::uint8_t { none = 0, length = 1, unknown = 2 };
  Kind kind = Kind::request;
  // Requests.
  std::string_view method;
  std::string_view host;
  std::uint16_t port = 0;
  std::string_view path;
  std::string_view query;
  std::span<const std::byte> query_bytes;  ///< In place of `query`, if it is not UTF-8.
  bool expects_continue = false;
  bool accepts_trailers = false;
  // Responses and interim responses.
  std::uint16_t status = 0;
  std::string_view reason;  ///< Of a failure too: what happened.
  // All kinds but trailers and failure.
  Framing framing = Framing::none;
  std::uint64_t length = 0;
  std::string_view upgrade;
  // All kinds.
  std::span<const std::byte> fields;  ///< For each field: name, zero byte, value, zero byte.
};

std::vector<std::byte> encode(const Head& message);
std::expected<Head, Reason> decode_head(std::span<const std::byte> payload);

std::vector<std::byte> encode(const Hello& message);
std::vector<std::byte> encode(const Welcome& message);
std::vector<std::byte> encode(const Open& message);
std::vector<std::byte> encode(const Reject& message);
std::vector<std::byte> encode(const Goaway& message);
std::vector<std::byte> encode(const Replicas& message);

std::expected<Hello, Reason> decode_hello(std::span<const std::byte> payload);
std::expected<Welcome, Reason> decode_welcome(std::span<const std::byte> payload);
std::expected<Open, Reason> decode_open(std::span<const std::byte> payload);
std::expected<Reject, Reason> decode_reject(std::span<const std::byte> payload);
std::expected<Goaway, Reason> decode_goaway(std::span<const std::byte> payload);
std::expected<Replicas, Reason> decode_replicas(std::span<const std::byte> payload);

}  // namespace culvert::protocol
