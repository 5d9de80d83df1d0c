// SPDX-License-Identifier: Apache-2.0
#include "protocol/session.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <utility>
#include <variant>

#include "protocol/check.hpp"
#include "protocol/limits.hpp"
#include "tests/fuzz/targets.hpp"

namespace culvert::fuzz {
namespace {

using namespace protocol;

std::size_t most_streams = 0;  // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)

std::vector<std::byte> greeting_for(Role role) {
  const auto payload = role == Role::server ? encode(Hello{}) : encode(Welcome{});
  std::vector<std::byte> frame(frame_header_bytes + payload.size());
  encode_header(
      {role == Role::server ? FrameType::hello : FrameType::welcome, 0, 0, static_cast<std::uint32_t>(payload.size())},
      std::span(frame).first<frame_header_bytes>());
  std::ranges::copy(payload, frame.begin() + frame_header_bytes);
  return frame;
}

/// A driver that makes any call at any time, and keeps its own records, which the session must agree with.
class Driver {
 public:
  Driver(Role role, std::uint32_t seed) : role_(role), session_({.role = role, .streams_max = 50}, now_), seed_(seed) {}

  void feed(std::span<const std::byte> bytes) {
    session_.feed(bytes, now_);
    drain();
  }
  /// Makes the call that `chosen` selects, also with ids that never existed.
  void call(std::uint32_t chosen) {
    const StreamId id = pick();
    switch (chosen % 13) {
      case 0:
        if (const auto opened = session_.open({.name = "fuzz", .credit = window_bytes_start}, nullptr)) {
          streams_[*opened] = {.window = window_bytes_start, .answered = true};
        }
        break;
      case 1: answer(id, true); break;
      case 2: answer(id, false); break;
      case 3: session_.set_readable(id); break;
      case 4: session_.abort(id); break;
      case 5: session_.stop(id, Reason::cancelled); break;
      case 6: session_.reset(id, Reason::cancelled); break;
      case 7: take(id); break;
      case 8:
        now_ += Time(random() % 3'000'000);
        session_.on_time(now_);
        break;
      case 9: session_.drain(Reason::shutdown, std::chrono::seconds(1)); break;
      case 10:
        if (random() % 64 == 0) session_.close(Reason::shutdown, "fuzz");
        break;
      case 12:
        if (role_ == Role::server) {
          session_.tell_replicas({"q", "r"});
          enrol();
        } else if (session_.is_greeted() && !std::exchange(asks_, true)) {
          session_.renew({.request = {std::byte{1}}});
        }
        break;
      default: send(); break;
    }
    drain();
  }
  void expect_join() {
    session_.expect_join();
    joins_ = true;
  }
  std::uint32_t random() { return (seed_ = seed_ * 1'664'525 + 1'013'904'223) >> 8; }
  bool is_ended() const { return ended_; }

 private:
  struct Known {
    std::uint64_t window = 0;
    std::uint64_t waiting = 0;
    bool answered = false;
    bool stopped = false;
    bool finished = false;
  };
  StreamId pick() {
    if (streams_.empty() || random() % 8 == 0) return random() % 64;
    return std::next(streams_.begin(), random() % std::min<std::size_t>(streams_.size(), 8))->first;
  }
  void answer(StreamId id, bool yes) {
    const auto found = streams_.find(id);
    if (found == streams_.end() || found->second.answered) return;
    found->second.answered = true;
    if (!yes) return session_.reject(id, {});
    session_.accept(id, window_bytes_start);
    if (session_.knows(id)) found->second.window = window_bytes_start;
  }
  /// Server: answers what was asked, if anything.
  void enrol() {
    if (!std::exchange(asked_, false)) return;
    if (random() % 2 == 0) return session_.answer(Denied{});
    session_.answer(Issued{{std::byte{1}}, {std::byte{2}}, std::chrono::seconds(60)});
  }
  void take(StreamId id) {
    const auto found = streams_.find(id);
    if (found == streams_.end()) return;
    session_.take(id, std::exchange(found->second.waiting, 0));
  }
  void send() {
    static std::array<std::byte, 70'000> room;
    const std::size_t size = random() % 4 == 0 ? random() % 5'000 : room.size();
    const auto outgoing = session_.next_outgoing(std::span(room).first(size));
    if (outgoing.kind != Outgoing::Kind::slot) return;
    const std::size_t filled = random() % (outgoing.slot.payload.size() + 1);
    const std::uint32_t how = random() % 5;
    const std::size_t used =
        how == 4 ? session_.commit_reset(Reason::target_reset) : session_.commit(filled, static_cast<Source>(how));
    check(used <= size, "commit() stays within the room");
  }

  Known& known(StreamId id) {
    const auto found = streams_.find(id);
    check(found != streams_.end(), "an event names a stream that is known");
    return found->second;
  }
  void drain() {
    while (const auto event = session_.next_event()) {
      check(!ended_, "nothing follows Ended");
      note(*event);
    }
    most_streams = std::max(most_streams, session_.streams());
    if (ended_) return;
    std::uint64_t sum = 0;
    for (const auto& [id, known] : streams_) sum += known.window;
    check(!joins_ || (streams_.empty() && !session_.may_open()), "a join connection has no streams");
    check(session_.window_bytes() == sum, "window_bytes() is the sum of the windows");
    check(session_.deadline() > Time(0), "there is a deadline");
  }
  void note(const Event& event) {
    if (std::holds_alternative<Greeted>(event)) session_.welcome({});
    if (const auto* it = std::get_if<Opened>(&event)) {
      check(!streams_.contains(it->stream), "no id is used twice");
      streams_[it->stream].window = optimistic_bytes_max;
    }
    if (const auto* it = std::get_if<Data>(&event)) {
      Known& stream = known(it->stream);
      check(!it->bytes.empty() && !stream.stopped && !stream.finished, "Data comes before the end only");
      stream.waiting += it->bytes.size();
      check(stream.waiting <= stream.window, "no more waits than the window allows");
    }
    if (const auto* it = std::get_if<Finished>(&event)) {
      check(!std::exchange(known(it->stream).finished, true), "a direction ends once");
    }
    if (const auto* it = std::get_if<WindowWanted>(&event)) {
      const std::uint64_t used = session_.grow_window(it->stream, it->more_bytes);
      if (used > 0) known(it->stream).window += used;
    }
    if (const auto* it = std::get_if<Forgotten>(&event)) {
      check(known(it->stream).window == it->window_bytes, "Forgotten gives back what was granted");
      streams_.erase(it->stream);
    }
    if (const auto* it = std::get_if<JoinAsked>(&event)) {
      check(joins_ && !std::exchange(asked_, true), "one JOIN, on a join connection");
      check(!it->join.token.empty() && !it->join.request.empty(), "JOIN is complete");
    }
    if (const auto* it = std::get_if<RenewAsked>(&event)) {
      check(!std::exchange(asked_, true), "one RENEW at a time");
      check(it->renew.certificate.empty() != joins_, "a certificate comes on a join connection only");
    }
    if (std::holds_alternative<RenewAnswered>(event)) check(std::exchange(asks_, false), "an answer was asked for");
    if (asked_ && random() % 2 == 0) enrol();
    if (std::holds_alternative<Ended>(event)) ended_ = true;
  }

  Time now_{1};
  Role role_;
  Session session_;
  std::uint32_t seed_;
  std::map<StreamId, Known> streams_;
  bool joins_ = false;  ///< Server: a join connection.
  bool asked_ = false;  ///< Server: JOIN or RENEW has no answer yet.
  bool asks_ = false;   ///< Agent: RENEW has no answer yet.
  bool ended_ = false;
};

}  // namespace

std::size_t session_streams_max() {
  return most_streams;
}

void session(std::span<const std::byte> input) {
  most_streams = 0;
  if (input.size() < 2) return;
  const auto flags = static_cast<unsigned>(input[0]);
  const auto seed = static_cast<unsigned>(input[1]);
  input = input.subspan(2);
  const Role role = (flags & 1) != 0 ? Role::server : Role::agent;
  Driver driver(role, seed);
  const bool joins = role == Role::server && flags >> 4 == 4;
  if (joins) driver.expect_join();
  if ((flags & 2) != 0 && !joins) {
    const auto greeting = greeting_for(role);
    driver.feed(greeting);
  }
  if ((flags & 4) != 0) driver.call(0);
  if ((flags & 8) != 0) driver.call(11);
  while (!input.empty() && !driver.is_ended()) {
    const std::size_t size = seed == 0 ? input.size() : 1 + driver.random() % 64;
    const auto piece = input.first(std::min(size, input.size()));
    input = input.subspan(piece.size());
    driver.feed(piece);
    if (seed == 0) break;
    for (unsigned calls = driver.random() % 4; calls > 0; --calls) driver.call(driver.random());
  }
  for (int i = 0; i < 20; ++i) driver.call(driver.random());
}

}  // namespace culvert::fuzz
