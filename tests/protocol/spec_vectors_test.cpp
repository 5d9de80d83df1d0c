// SPDX-License-Identifier: Apache-2.0
// The vectors and reactions of protocol/SPEC.md 12, read out of the document itself, against the code.
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

/// Takes each field out as it is used: what stays behind is a meaning that the bytes do not have.
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
  InstanceId instance() {
    InstanceId id{};
    std::ranges::copy(from_hex(text("instance")), id.begin());
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
  bool empty() const { return fields_.empty(); }

 private:
  Fields fields_;
};

/// The payload that `message` becomes; and `payload` must become the message again.
template <typename Message>
Bytes checked(const Message& message, std::expected<Message, Reason> (*decode)(std::span<const std::byte>),
              std::span<const std::byte> payload) {
  const auto decoded = decode(payload);
  EXPECT_TRUE(decoded.has_value());
  if (decoded) EXPECT_TRUE(*decoded == message);
  return encode(message);
}

const std::map<std::string, FrameType> frame_types{
    {"HELLO", FrameType::hello},   {"WELCOME", FrameType::welcome}, {"GOAWAY", FrameType::goaway},
    {"PING", FrameType::ping},     {"OPEN", FrameType::open},       {"ACCEPT", FrameType::accept},
    {"REJECT", FrameType::reject}, {"DATA", FrameType::data},       {"CREDIT", FrameType::credit},
    {"WIDEN", FrameType::widen},   {"HEAD", FrameType::head},       {"FIN", FrameType::fin},
    {"RESET", FrameType::reset},   {"STOP", FrameType::stop},       {"REPLICAS", FrameType::replicas}};

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
      if (open.kind != Open::Kind::service) open.port = block.value<std::uint16_t>("port");
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
  const std::set<std::string> expected{"HELLO0", "WELCOME0", "GOAWAY01", "GOAWAY02", "PING0",   "PING1",    "OPEN01",
                                       "OPEN02", "ACCEPT0",  "REJECT0",  "DATA0",    "CREDIT0", "FIN0",     "FIN1",
                                       "RESET0", "STOP0",    "WIDEN0",   "OPEN03",   "HEAD03",  "REPLICAS0"};
  EXPECT_EQ(seen, expected);
}

// ---- The vectors as one conversation of two sessions

class Conversation {
 public:
  static Hello hello() {
    Hello hello{.capabilities = {}, .epoch = 1, .slot = 0, .wanted_replica = "", .software = "culvert-agent 0.1.0"};
    for (std::size_t i = 0; i < hello.instance.size(); ++i) hello.instance[i] = static_cast<std::byte>(i);
    return hello;
  }
  static Welcome welcome() {
    Welcome welcome{.capabilities = {},
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

  /// What `from` has to say, heard by the other. The first frame of it is kept by this name, unless the name is empty.
  void say(const std::string& name, Session& from) {
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
    if (!name.empty()) said.emplace_back(name, first_frame(bytes));
    Session& to = &from == &agent ? server : agent;
    to.feed(bytes, now);
    while (to.next_event()) {
    }
  }

  Time now = 0ms;
  Session agent{{.role = Role::agent, .hello = hello()}, 0ms};
  Session server{{.role = Role::server, .hello = {}}, 0ms};
  std::string source;  ///< What the next slots are filled with, and how it ends.
  Source source_end = Source::blocked;
  std::vector<std::pair<std::string, Bytes>> said;
};

void converse(Conversation& talk) {
  Session& agent = talk.agent;
  Session& server = talk.server;
  talk.say("hello", agent);
  server.welcome(Conversation::welcome());
  talk.say("welcome", server);
  talk.say("", agent);   // Each side has pinged the other by now,
  talk.say("", server);  // and has an answer.
  talk.now = 1ms;
  (void)agent.open({.name = "echo", .credit = 262'144}, nullptr);
  talk.say("open_service", agent);
  talk.source = "hello";
  agent.set_readable(1);
  talk.say("data", agent);
  server.accept(1, 262'144);
  talk.say("accept", server);
  talk.source.assign(65'531, 'x');
  agent.set_readable(1);
  talk.say("", agent);
  server.take(1, 65'536);
  talk.say("credit", server);
  talk.now = 1s;
  agent.on_time(talk.now);
  talk.say("ping", agent);
  talk.say("pong", server);
  server.stop(1, Reason::cancelled);
  talk.say("stop", server);
  talk.say("fin_aborted", agent);
  talk.source_end = Source::ended;
  server.set_readable(1);
  talk.say("fin", server);
  (void)server.open(
      {.kind = Open::Kind::host, .name = "db.internal", .port = 5432, .credit = 262'144, .dial_time_max = 5s}, nullptr);
  talk.say("open_host", server);
  agent.reject(2, {Reason::not_exposed, false, "db.internal:5432 is not exposed"});
  talk.say("reject", agent);
  (void)agent.open({.name = "echo", .credit = 262'144}, nullptr);
  talk.say("", agent);
  server.accept(3, 262'144);
  talk.say("", server);
  server.ask_to_widen();
  talk.say("widen", server);
  server.tell_replicas({"culvert-server-0", "culvert-server-1"});
  talk.say("replicas", server);
  (void)server.open({.kind = Open::Kind::http, .name = "erp", .port = 80, .credit = 262'144, .dial_time_max = 5s},
                    nullptr);
  talk.say("open_http", server);
  agent.accept(4, 262'144);
  talk.say("", agent);
  const std::string fields("server\0x\0", 9);
  agent.send_head(4, encode(Head{.kind = Head::Kind::response,
                                 .status = 200,
                                 .framing = Head::Framing::length,
                                 .length = 5,
                                 .fields = std::as_bytes(std::span(fields))}));
  talk.say("head", agent);
  agent.reset(3, Reason::target_reset);
  talk.say("reset", agent);
  server.drain(Reason::shutdown, 5s);
  talk.say("goaway_draining", server);
  server.close(Reason::shutdown, "the server stops");
  talk.say("goaway_final", server);
}

TEST(Spec, two_sessions_that_talk_send_the_vectors) {
  Conversation talk;
  converse(talk);
  const auto vectors = blocks("vector");
  ASSERT_EQ(vectors.size(), talk.said.size());
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    EXPECT_EQ(vectors[i].at("vector"), talk.said[i].first);
    EXPECT_EQ(to_hex(from_hex(vectors[i].at("bytes"))), to_hex(talk.said[i].second)) << talk.said[i].first;
  }
  EXPECT_TRUE(talk.agent.is_ended() && talk.server.is_ended());
}

TEST(Spec, a_greeted_server_reacts_to_hostile_bytes_as_the_document_says) {
  const auto reactions = table_below("### 12.2");
  ASSERT_GE(reactions.size(), 20U);
  for (std::size_t i = 1; i < reactions.size(); ++i) {
    SCOPED_TRACE(reactions[i][0]);
    Conversation talk;
    talk.say("", talk.agent);
    talk.server.welcome(Conversation::welcome());
    talk.say("", talk.server);
    const Bytes bytes = from_hex(reactions[i][2]);
    talk.server.feed(bytes, talk.now);
    Reason reason = Reason::none;
    while (const auto event = talk.server.next_event()) {
      if (const auto* ended = std::get_if<Ended>(&*event)) reason = ended->reason;
    }
    EXPECT_EQ(to_string(reason), reactions[i][1]);
  }
}

}  // namespace
}  // namespace culvert::protocol
