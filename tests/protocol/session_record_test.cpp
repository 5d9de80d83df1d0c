// SPDX-License-Identifier: Apache-2.0
// A recorded conversation, fed again: cut in other places (threats A3), and damaged (threats A16).
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/testing/session_pair.hpp"

namespace culvert::protocol {
namespace {

using Lines = std::vector<std::string>;

struct Recording {
  Bytes to_server;
  Bytes to_agent;
};

/// About 10 KB in each direction, with every kind of frame that a pair sends.
Recording record() {
  SessionPair pair;
  const StreamId web = pair.agent.open("web");
  pair.agent.write(web, "GET /");
  pair.agent.finish(web);
  pair.pump();
  pair.server.write(web, std::string(8'000, 'w'));
  const StreamId erp = pair.server.open("erp");
  pair.server.write(erp, std::string(1'500, 'e'));
  pair.pump();
  pair.agent.write(erp, std::string(6'000, 'a'));
  pair.pump();
  pair.server.session.stop(erp, Reason::cancelled);
  pair.server.finish(web);
  pair.pump();
  pair.server.finish_by_reset(erp, Reason::target_reset);
  pair.server.accepts = false;
  const StreamId refused = pair.agent.open("refused");
  pair.pump();
  pair.server.session.reject(refused, {Reason::not_exposed, false, "no"});
  pair.pass(std::chrono::seconds(9));
  const StreamId left = pair.agent.open("left");
  pair.agent.write(left, "unanswered");
  pair.agent.session.drain(Reason::shutdown, std::chrono::seconds(1));
  pair.pump();
  pair.agent.session.close(Reason::shutdown, "bye");
  pair.pump();
  return {pair.to_server(), pair.to_agent()};
}

/// A server that receives the recording. It opens its own streams as soon as it may, so that their ids exist.
class Listener {
 public:
  Listener() : server_({.role = Role::server}, now_) {}
  void hear(std::span<const std::byte> bytes) {
    server_.receive(Bytes(bytes.begin(), bytes.end()));
    if (!opened_ && server_.session.may_open()) {
      opened_ = true;
      (void)server_.open("erp");
    }
    (void)server_.send();
  }
  Side& side() { return server_; }

 private:
  Time now_{1'000'000};
  bool opened_ = false;
  Side server_;
};

Lines heard_in_slices(const Bytes& input, std::size_t slice) {
  Listener listener;
  // The greeting is one piece, so that the server's own stream is opened at the same point.
  const std::size_t greeting = hello_frame().size();
  listener.hear(std::span(input).first(greeting));
  for (std::size_t at = greeting; at < input.size(); at += slice) {
    listener.hear(std::span(input).subspan(at, std::min(slice, input.size() - at)));
  }
  return listener.side().events();
}

TEST(Recording, gives_the_same_events_however_it_is_cut) {  // threats A3
  const Bytes input = record().to_server;
  const Lines whole = heard_in_slices(input, input.size());
  ASSERT_GT(whole.size(), 10U);
  EXPECT_EQ(whole.back(), "ended shutdown by peer");
  for (std::size_t slice = 1; slice <= 64; ++slice) EXPECT_EQ(heard_in_slices(input, slice), whole) << slice;
}

TEST(Recording, gives_the_same_events_cut_in_two_at_every_byte) {  // threats A3
  const Bytes input = record().to_server;
  const Lines whole = heard_in_slices(input, input.size());
  const std::size_t greeting = hello_frame().size();
  for (std::size_t cut = greeting; cut < input.size(); ++cut) {
    Listener listener;
    listener.hear(std::span(input).first(greeting));
    listener.hear(std::span(input).subspan(greeting, cut - greeting));
    listener.hear(std::span(input).subspan(cut));
    ASSERT_EQ(listener.side().events(), whole) << cut;
  }
}

TEST(Recording, with_any_byte_flipped_neither_crashes_nor_uses_much_memory) {  // threats A16
  const Recording recording = record();
  for (std::size_t at = 0; at < recording.to_server.size(); ++at) {
    for (const auto mask : {std::byte{0x01}, std::byte{0x80}, std::byte{0xff}}) {
      Bytes damaged = recording.to_server;
      damaged[at] ^= mask;
      Listener listener;
      listener.hear(std::span(damaged).first(damaged.size() / 2));
      listener.hear(std::span(damaged).subspan(damaged.size() / 2));
      ASSERT_LE(listener.side().session.window_bytes(), 4 * window_bytes_max);
      ASSERT_LE(listener.side().session.streams(), 5U);
    }
  }
}

TEST(Recording, cut_off_at_any_byte_never_shows_a_stream_as_complete_that_was_not) {
  const Bytes input = record().to_server;
  const Lines whole = heard_in_slices(input, input.size());
  for (std::size_t size = hello_frame().size(); size < input.size(); ++size) {
    const Lines part = heard_in_slices(Bytes(input.begin(), input.begin() + static_cast<std::ptrdiff_t>(size)), size);
    for (std::size_t i = 0; i + 1 < part.size(); ++i) ASSERT_EQ(part[i], whole[i]) << size;
    if (!part.empty() && part.back().starts_with("finished")) ASSERT_EQ(part.back(), whole[part.size() - 1]);
  }
}

}  // namespace
}  // namespace culvert::protocol
