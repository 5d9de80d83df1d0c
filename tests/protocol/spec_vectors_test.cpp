// SPDX-License-Identifier: Apache-2.0
// Compares the vectors and reactions of protocol/SPEC.md 12, read from the document itself, with the code.
#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "protocol/bytes.hpp"
#include "protocol/session.hpp"
#include "tests/protocol/spec_document.hpp"

namespace culvert::protocol {
namespace {

using namespace std::chrono_literals;
using Bytes = std::vector<std::byte>;

Bytes from_hex(const std::string& text) {
  std::string digits = text;
  std::erase(digits, ' ');
  EXPECT_EQ(digits.size() % 2, 0U);
  Bytes bytes;
  for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoul(digits.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

std::string to_hex(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    text += digits[std::to_integer<std::size_t>(byte >> 4)];
    text += digits[std::to_integer<std::size_t>(byte & std::byte{15})];
  }
  return text;
}

// ---- A vector's fields as a frame

Bytes raw(const std::string& text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

template <typename T>
Bytes big_endian(T value) {
  Bytes bytes(sizeof value);
  store<T>(bytes, value);
  return bytes;
}

/// Removes each field as it is used. A field that is left over says something that the bytes do not.
class VectorBlock {
 public:
  explicit VectorBlock(Fields fields) : fields_(std::move(fields)) {}

  std::string text(const std::string& key) {
    const auto field = fields_.find(key);
    if (field == fields_.end()) {
      ADD_FAILURE() << "no field " << key;
      return "";
    }
    return fields_.extract(field).mapped();
  }
  template <typename T = std::uint64_t>
  T value(const std::string& key) {
    return static_cast<T>(number(text(key)));
  }
  Bytes binary(const std::string& key) { return from_hex(text(key)); }
  InstanceId instance() {
    InstanceId id{};
    std::ranges::copy(binary("instance"), id.begin());
    return id;
  }
  std::vector<std::string> strings(const std::string& key) {
    std::vector<std::string> found;
    std::istringstream words(text(key));
    for (std::string word; words >> word;) found.push_back(word);
    return found;
  }
  std::chrono::milliseconds milliseconds(const std::string& key) {
    return std::chrono::milliseconds(value<std::int64_t>(key));
  }
  bool has(const std::string& key) const { return fields_.contains(key); }
  bool empty() const { return fields_.empty(); }

 private:
  Fields fields_;
};

/// Encodes `message`. `payload` must decode to the same message.
template <typename Message>
Bytes checked(const Message& message, std::expected<Message, Reason> (*decode)(std::span<const std::byte>),
              std::span<const std::byte> payload) {
  const auto decoded = decode(payload);
  EXPECT_TRUE(decoded.has_value());
  if (decoded) EXPECT_TRUE(*decoded == message);
  return encode(message);
}

const std::map<std::string, FrameType> frame_types{
    {"HELLO", FrameType::hello},     {"WELCOME", FrameType::welcome}, {"GOAWAY", FrameType::goaway},
    {"PING", FrameType::ping},       {"OPEN", FrameType::open},       {"ACCEPT", FrameType::accept},
    {"REJECT", FrameType::reject},   {"DATA", FrameType::data},       {"CREDIT", FrameType::credit},
    {"WIDEN", FrameType::widen},     {"HEAD", FrameType::head},       {"FIN", FrameType::fin},
    {"RESET", FrameType::reset},     {"STOP", FrameType::stop},       {"REPLICAS", FrameType::replicas},
    {"PENDING", FrameType::pending}, {"JOIN", FrameType::join},       {"RENEW", FrameType::renew},
    {"ISSUED", FrameType::issued},   {"DENIED", FrameType::denied}};

Bytes payload_of(FrameType type, VectorBlock& block, std::span<const std::byte> wire) {
  switch (type) {
    case FrameType::hello:
      return checked(Hello{.version_min = block.value<std::uint32_t>("v_min"),
                           .version_max = block.value<std::uint32_t>("v_max"),
                           .capabilities = block.strings("caps"),
                           .instance = block.instance(),
                           .epoch = block.value("epoch"),
                           .slot = block.value<std::uint32_t>("slot"),
                           .wanted_replica = block.text("replica"),
                           .software = block.text("software")},
                     &decode_hello, wire);
    case FrameType::welcome:
      return checked(Welcome{.version = block.value<std::uint32_t>("v"),
                             .capabilities = block.strings("caps"),
                             .instance = block.instance(),
                             .replica = block.text("replica"),
                             .replicas = block.strings("replicas"),
                             .software = block.text("software")},
                     &decode_welcome, wire);
    case FrameType::goaway:
      return checked(Goaway{.kind = static_cast<Goaway::Kind>(block.value("kind")),
                            .reason = static_cast<Reason>(block.value("reason")),
                            .last_stream = block.value<std::uint32_t>("last"),
                            .delay = block.milliseconds("delay_ms"),
                            .text = block.text("text")},
                     &decode_goaway, wire);
    case FrameType::open: {
      Open open{.kind = static_cast<Open::Kind>(block.value("kind")),
                .name = block.text("name"),
                .credit = block.value("credit"),
                .dial_time_max = block.milliseconds("dial_ms")};
      if (open.kind == Open::Kind::host || open.kind == Open::Kind::http)
        open.port = block.value<std::uint16_t>("port");
      if (block.has("bond")) open.bond = block.value<std::uint32_t>("bond");
      return checked(open, &decode_open, wire);
    }
    case FrameType::reject:
      return checked(Reject{.reason = static_cast<Reason>(block.value("reason")),
                            .retryable = block.text("retry") == "true",
                            .text = block.text("text")},
                     &decode_reject, wire);
    case FrameType::ping: return big_endian(block.value("stamp"));
    case FrameType::accept:
    case FrameType::credit: return big_endian(block.value("limit"));
    case FrameType::reset:
    case FrameType::stop: return big_endian(block.value<std::uint32_t>("reason"));
    case FrameType::pending: return big_endian(block.value<std::uint32_t>("time_ms"));
    case FrameType::data: return raw(block.text("text"));
    case FrameType::head: {
      const std::string fields = block.text("fields") + '\0' + block.text("value") + '\0';
      const Head head{.kind = static_cast<Head::Kind>(block.value("kind")),
                      .status = block.value<std::uint16_t>("status"),
                      .framing = static_cast<Head::Framing>(block.value("framing")),
                      .length = block.value("length"),
                      .fields = std::as_bytes(std::span(fields))};
      const auto decoded = decode_head(wire);
      EXPECT_TRUE(decoded && encode(*decoded) == Bytes(wire.begin(), wire.end()));
      return encode(head);
    }
    case FrameType::join: {
      Join join{.token = block.text("token"), .software = block.text("software"), .request = block.binary("request")};
      std::ranges::copy(block.binary("secret"), join.secret.begin());
      return checked(join, &decode_join, wire);
    }
    case FrameType::renew: {
      Renew renew{.request = block.binary("request")};
      if (block.has("certificate")) renew.certificate = block.binary("certificate");
      if (block.has("signature")) renew.signature = block.binary("signature");
      return checked(renew, &decode_renew, wire);
    }
    case FrameType::issued:
      return checked(Issued{.chain = block.binary("chain"),
                            .authorities = block.binary("authorities"),
                            .lifetime = std::chrono::seconds(block.value<std::int64_t>("lifetime_s"))},
                     &decode_issued, wire);
    case FrameType::denied:
      return checked(Denied{.reason = static_cast<Reason>(block.value("reason")),
                            .retryable = block.text("retry") == "true",
                            .text = block.text("text")},
                     &decode_denied, wire);
    case FrameType::replicas: return checked(Replicas{block.strings("replicas")}, &decode_replicas, wire);
    case FrameType::widen:
    case FrameType::fin: return {};
  }
  std::unreachable();
}

TEST(Spec, vectors_mean_what_the_document_says) {
  std::set<std::string> seen;
  for (const Fields& fields : blocks("vector")) {
    VectorBlock block(fields);
    SCOPED_TRACE(block.text("vector"));
    const std::string from = block.text("from");
    EXPECT_TRUE(from == "agent" || from == "server") << from;
    const std::string frame = block.text("frame");
    ASSERT_TRUE(frame_types.contains(frame)) << frame;
    const FrameType type = frame_types.at(frame);
    seen.insert(frame + fields.at("flags") + (fields.contains("kind") ? fields.at("kind") : ""));
    const Bytes bytes = from_hex(block.text("bytes"));
    ASSERT_GE(bytes.size(), frame_header_bytes);
    const auto flags = block.value<std::uint8_t>("flags");
    const auto stream = block.value<StreamId>("stream");

    FrameReader reader;
    reader.set_greeted();
    reader.feed(bytes);
    const auto part = reader.next();
    ASSERT_TRUE(part && *part);
    EXPECT_EQ((*part)->header.type, type);
    EXPECT_EQ((*part)->header.flags, flags);
    EXPECT_EQ((*part)->header.stream, stream);

    const Bytes payload = payload_of(type, block, (*part)->payload);
    Bytes written(frame_header_bytes);
    encode_header({type, flags, stream, static_cast<std::uint32_t>(payload.size())},
                  std::span(written).first<frame_header_bytes>());
    written.insert(written.end(), payload.begin(), payload.end());
    EXPECT_EQ(to_hex(written), to_hex(bytes));
    EXPECT_TRUE(block.empty()) << "a field that says nothing about the bytes";
  }
  const std::set<std::string> expected{"HELLO0",   "WELCOME0", "GOAWAY01", "GOAWAY02", "PING0",   "PING1",  "OPEN01",
                                       "OPEN02",   "ACCEPT0",  "REJECT0",  "DATA0",    "CREDIT0", "FIN0",   "FIN1",
                                       "RESET0",   "STOP0",    "WIDEN0",   "OPEN03",   "OPEN04",  "HEAD03", "REPLICAS0",
                                       "PENDING0", "JOIN0",    "RENEW0",   "ISSUED0",  "DENIED0"};
  EXPECT_EQ(seen, expected);
}

// ---- The vectors as one conversation of two sessions

class Conversation {
 public:
  static Hello hello() {
    Hello hello{.capabilities = {"renew", "heads"},
                .epoch = 1,
                .slot = 0,
                .wanted_replica = "",
                .software = "culvert-agent 0.1.0"};
    for (std::size_t i = 0; i < hello.instance.size(); ++i) hello.instance[i] = static_cast<std::byte>(i);
    return hello;
  }
  static Welcome welcome() {
    Welcome welcome{.capabilities = {"renew", "heads"},
                    .replica = "culvert-server-0",
                    .replicas = {"culvert-server-0"},
                    .software = "culvert-server 0.1.0"};
    for (std::size_t i = 0; i < welcome.instance.size(); ++i) welcome.instance[i] = static_cast<std::byte>(0x10 + i);
    return welcome;
  }

  static Bytes first_frame(const Bytes& bytes) {
    const auto header = decode_header(std::span(bytes).first<frame_header_bytes>(), true);
    return {bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(frame_header_bytes + header->payload_bytes)};
  }

  /// Sends what `from` has to the other side. Keeps its first frame under this name, unless the name is empty.
  void send(const std::string& name, Session& from) {
    Bytes bytes(256 * 1024);
    std::size_t used = 0;
    for (;;) {
      const Outgoing out = from.next_outgoing(std::span(bytes).subspan(used));
      if (out.kind == Outgoing::Kind::frames) {
        used += out.bytes;
      } else if (out.kind == Outgoing::Kind::slot) {
        const std::size_t size = std::min(out.slot.payload.size(), source.size());
        std::ranges::copy(raw(source.substr(0, size)), out.slot.payload.begin());
        source.erase(0, size);
        used += from.commit(size, source.empty() ? source_end : Source::more);
      } else {
        break;
      }
    }
    bytes.resize(used);
    if (!name.empty()) sent.emplace_back(name, first_frame(bytes));
    Session& to = &from == &agent ? server : agent;
    to.feed(bytes, now);
    while (to.next_event()) {
    }
  }

  Time now = 0ms;
  Session agent{{.role = Role::agent, .hello = hello()}, 0ms};
  Session server{{.role = Role::server, .hello = {}}, 0ms};
  std::string source;  ///< What fills the next slots, and then ends.
  Source source_end = Source::blocked;
  std::vector<std::pair<std::string, Bytes>> sent;
};

void converse(Conversation& conversation) {
  Session& agent = conversation.agent;
  Session& server = conversation.server;
  conversation.send("hello", agent);
  server.welcome(Conversation::welcome());
  conversation.send("welcome", server);
  conversation.send("", agent);   // Each side pings the other,
  conversation.send("", server);  // and answers.
  conversation.now = 1ms;
  (void)agent.open({.name = "echo", .credit = 262'144}, nullptr);
  conversation.send("open_service", agent);
  conversation.source = "hello";
  agent.set_readable(1);
  conversation.send("data", agent);
  server.accept(1, 262'144);
  conversation.send("accept", server);
  conversation.source.assign(65'531, 'x');
  agent.set_readable(1);
  conversation.send("", agent);
  server.take(1, 65'536);
  conversation.send("credit", server);
  conversation.now = 1s;
  agent.on_time(conversation.now);
  conversation.send("ping", agent);
  conversation.send("pong", server);
  server.stop(1, Reason::cancelled);
  conversation.send("stop", server);
  conversation.send("fin_aborted", agent);
  conversation.source_end = Source::ended;
  server.set_readable(1);
  conversation.send("fin", server);
  (void)server.open(
      {.kind = Open::Kind::host, .name = "db.internal", .port = 5432, .credit = 262'144, .dial_time_max = 5s}, nullptr);
  conversation.send("open_host", server);
  agent.announce_dial_time(2, 60s);
  conversation.send("pending", agent);
  agent.reject(2, {Reason::not_exposed, false, "db.internal:5432 is not exposed"});
  conversation.send("reject", agent);
  (void)agent.open({.name = "echo", .credit = 262'144}, nullptr);
  conversation.send("", agent);
  server.accept(3, 262'144);
  conversation.send("", server);
  server.ask_to_widen();
  conversation.send("widen", server);
  server.tell_replicas({"culvert-server-0", "culvert-server-1"});
  conversation.send("replicas", server);
  agent.renew({.request = from_hex("3003020103")});
  conversation.send("renew", agent);
  server.answer(Denied{Reason::agent_disabled, false, "the agent is disabled"});
  conversation.send("denied", server);
  (void)server.open({.kind = Open::Kind::http, .name = "erp", .port = 80, .credit = 262'144, .dial_time_max = 5s},
                    nullptr);
  conversation.send("open_http", server);
  agent.accept(4, 262'144);
  conversation.send("", agent);
  const std::string fields("server\0x\0", 9);
  agent.send_head(4, encode(Head{.kind = Head::Kind::response,
                                 .status = 200,
                                 .framing = Head::Framing::length,
                                 .length = 5,
                                 .fields = std::as_bytes(std::span(fields))}));
  conversation.send("head", agent);
  (void)server.open({.kind = Open::Kind::bond, .name = "bond", .credit = 262'144}, nullptr);
  conversation.send("open_bond", server);
  (void)server.open(
      {.kind = Open::Kind::http, .name = "erp", .port = 80, .credit = 262'144, .dial_time_max = 5s, .bond = 6},
      nullptr);
  conversation.send("open_bonded", server);
  agent.reset(3, Reason::target_reset);
  conversation.send("reset", agent);
  server.drain(Reason::shutdown, 5s);
  conversation.send("goaway_draining", server);
  server.close(Reason::shutdown, "the server stops");
  conversation.send("goaway_final", server);
}

/// The vectors of 12.3. The agent's side of a join connection needs no session.
void join(Conversation& conversation) {
  Join join{.token = "k7Jx-2", .software = "culvert-agent 0.1.0", .request = from_hex("3003020103")};
  for (std::size_t i = 0; i < join.secret.size(); ++i) join.secret[i] = static_cast<std::byte>(i);
  conversation.sent.emplace_back("join", join_frame(join));
  Session server{{.role = Role::server, .hello = {}}, conversation.now};
  server.expect_join();
  server.feed(conversation.sent.back().second, conversation.now);
  const auto asked = server.next_event();
  ASSERT_TRUE(asked && std::holds_alternative<JoinAsked>(*asked));
  server.answer(Issued{from_hex("3003020101"), from_hex("3003020102"), 2'592'000s});
  Bytes answer(outgoing_bytes_min);
  answer.resize(server.next_outgoing(answer).bytes);
  const Bytes issued = Conversation::first_frame(answer);
  conversation.sent.emplace_back("issued", issued);
  conversation.sent.emplace_back("goaway_answered",
                                 Bytes(answer.begin() + static_cast<std::ptrdiff_t>(issued.size()), answer.end()));
  conversation.sent.emplace_back(
      "renew_late", renew_frame({from_hex("3003020103"), from_hex("3003020101"), from_hex("3006020104020105")}));
}

TEST(Spec, a_conversation_of_two_sessions_sends_the_vectors) {
  Conversation conversation;
  converse(conversation);
  join(conversation);
  const auto vectors = blocks("vector");
  ASSERT_EQ(vectors.size(), conversation.sent.size());
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    EXPECT_EQ(vectors[i].at("vector"), conversation.sent[i].first);
    EXPECT_EQ(to_hex(from_hex(vectors[i].at("bytes"))), to_hex(conversation.sent[i].second))
        << conversation.sent[i].first;
  }
  EXPECT_TRUE(conversation.agent.is_ended() && conversation.server.is_ended());
}

/// Why the session ended, with the bytes that were fed; `none` if it did not.
Reason reason_of_end(Session& session) {
  Reason reason = Reason::none;
  while (const auto event = session.next_event()) {
    if (const auto* ended = std::get_if<Ended>(&*event)) reason = ended->reason;
  }
  return reason;
}

TEST(Spec, a_greeted_server_reacts_to_hostile_bytes_as_the_document_says) {
  const auto reactions = blocks("reaction");
  ASSERT_GE(reactions.size(), 20U);
  for (const Fields& reaction : reactions) {
    SCOPED_TRACE(reaction.at("reaction"));
    Conversation conversation;
    conversation.send("", conversation.agent);
    conversation.server.welcome(Conversation::welcome());
    conversation.send("", conversation.server);
    const Bytes bytes = from_hex(reaction.at("bytes"));
    conversation.server.feed(bytes, conversation.now);
    EXPECT_EQ(to_string(reason_of_end(conversation.server)), reaction.at("reason"));
  }
}

TEST(Spec, a_server_reacts_to_the_first_bytes_of_a_join_connection_as_the_document_says) {
  const auto reactions = blocks("join_reaction");
  ASSERT_GE(reactions.size(), 10U);
  for (const Fields& reaction : reactions) {
    SCOPED_TRACE(reaction.at("reaction"));
    Session server{{.role = Role::server, .hello = {}}, 0ms};
    server.expect_join();
    const Bytes bytes = from_hex(reaction.at("bytes"));
    server.feed(bytes, 0ms);
    EXPECT_EQ(to_string(reason_of_end(server)), reaction.at("reason"));
  }
}

}  // namespace
}  // namespace culvert::protocol
