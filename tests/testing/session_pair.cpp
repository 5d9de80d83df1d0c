// SPDX-License-Identifier: Apache-2.0
#include "tests/testing/session_pair.hpp"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "protocol/bytes.hpp"

namespace culvert::protocol {
namespace {

template <typename... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};

template <std::unsigned_integral T>
Bytes number(T value) {
  Bytes bytes(sizeof value);
  store<T>(bytes, value);
  return bytes;
}

std::string word(Reason reason) {
  return std::string(to_string(reason));
}

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += " " + name;
  return text;
}

SessionOptions with_role(SessionOptions options, Role role) {
  options.role = role;
  return options;
}

}  // namespace

Bytes bytes_of(std::string_view text) {
  const auto view = std::as_bytes(std::span(text));
  return {view.begin(), view.end()};
}

Bytes joined(std::initializer_list<Bytes> parts) {
  Bytes all;
  for (const Bytes& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

Bytes frame(FrameType type, StreamId stream, const Bytes& payload, std::uint8_t flags) {
  Bytes bytes(frame_header_bytes);
  encode_header({type, flags, stream, static_cast<std::uint32_t>(payload.size())},
                std::span(bytes).first<frame_header_bytes>());
  return joined({bytes, payload});
}

Bytes number_frame(FrameType type, StreamId stream, std::uint64_t value, std::uint8_t flags) {
  return frame(type, stream, number(value), flags);
}

Bytes reason_frame(FrameType type, StreamId stream, Reason reason) {
  return frame(type, stream, number(std::to_underlying(reason)));
}

Bytes open_frame(StreamId stream, std::string_view name, std::uint64_t credit) {
  Open open;
  open.name = name;
  open.credit = credit;
  return frame(FrameType::open, stream, encode(open));
}

Bytes hello_frame() {
  return frame(FrameType::hello, 0, encode(Hello{}));
}

Bytes welcome_frame(std::uint32_t version) {
  Welcome welcome;
  welcome.version = version;
  return frame(FrameType::welcome, 0, encode(welcome));
}

StreamId Side::open(std::string_view name, std::uint64_t credit) {
  Open message;
  message.name = name;
  message.credit = credit;
  const StreamId id = session.open(message, nullptr).value_or(0);
  collect();
  return id;
}

void Side::write(StreamId id, std::string_view text) {
  streams_[id].to_send += text;
  session.set_readable(id);
}

void Side::finish(StreamId id, Source how) {
  streams_[id].then = how;
  session.set_readable(id);
}

void Side::finish_by_reset(StreamId id, Reason reason) {
  streams_[id].reset = reason;
  session.set_readable(id);
}

void Side::receive(const Bytes& bytes) {
  session.feed(bytes, *now_);
  collect();
}

std::size_t Side::fill(const Slot& slot) {
  Stream& stream = streams_[slot.stream];
  const std::size_t size = std::min({stream.to_send.size(), slot.payload.size(), slot_bytes_max});
  if (stream.to_send.empty() && stream.reset != Reason::none) return session.commit_reset(stream.reset);
  std::ranges::copy(std::as_bytes(std::span(stream.to_send)).first(size), slot.payload.begin());
  stream.to_send.erase(0, size);
  const bool drained = stream.to_send.empty() && stream.reset == Reason::none;
  return session.commit(size, drained ? stream.then : Source::more);
}

Bytes Side::send(std::size_t room_bytes) {
  Bytes sent;
  Bytes room(room_bytes);
  for (;;) {
    const Outgoing outgoing = session.next_outgoing(room);
    if (outgoing.kind == Outgoing::Kind::nothing || outgoing.kind == Outgoing::Kind::full) break;
    const std::size_t used = outgoing.kind == Outgoing::Kind::slot ? fill(outgoing.slot) : outgoing.bytes;
    sent.insert(sent.end(), room.begin(), room.begin() + static_cast<std::ptrdiff_t>(used));
  }
  collect();
  return sent;
}

void Side::collect() {
  while (const auto event = session.next_event()) note(*event);
}

bool Side::saw(std::string_view line) const {
  return std::ranges::find(events_, line) != events_.end();
}

void Side::note(const Event& event) {
  const StreamId data_before = std::exchange(last_data_, 0);
  const auto line = [this](const std::string& what, StreamId id, const std::string& more = "") {
    events_.push_back(what + " " + std::to_string(id) + (more.empty() ? "" : " " + more));
  };
  std::visit(
      Overloaded{
          [&](const Greeted&) {
            events_.emplace_back("greeted");
            if (welcomes) session.welcome(Welcome{});
          },
          [&](const Welcomed& welcomed) { events_.push_back("welcomed" + listed(welcomed.welcome.replicas)); },
          [&](const Opened& opened) {
            line("opened", opened.stream, opened.open.name);
            if (accepts) session.accept(opened.stream, window_bytes_start);
          },
          [&](const Accepted& accepted) { line("accepted", accepted.stream); },
          [&](const Rejected& rejected) {
            line("rejected", rejected.stream,
                 word(rejected.reject.reason) + (rejected.reject.retryable ? " retryable" : ""));
          },
          [&](const Data& data) {
            const std::string text(reinterpret_cast<const char*>(data.bytes.data()), data.bytes.size());
            if (data_before == data.stream) {
              events_.back() += text;
            } else {
              line("data", data.stream, text);
            }
            last_data_ = data.stream;
            streams_[data.stream].received += text;
            if (takes) session.take(data.stream, data.bytes.size());
          },
          [&](const HeadCame& head) {
            line("head", head.stream, std::to_string(head.message.size()));
            if (takes) session.take(head.stream, head.message.size());
          },
          [&](const Finished& finished) { line("finished", finished.stream, finished.aborted ? "aborted" : ""); },
          [&](const WasReset& reset) { line("reset", reset.stream, word(reset.reason)); },
          [&](const Pending& pending) { line("pending", pending.stream, std::to_string(pending.time.count())); },
          [&](const Stopped& stopped) { line("stopped", stopped.stream, word(stopped.reason)); },
          [&](const Forgotten& forgotten) { line("forgotten", forgotten.stream); },
          [&](const WindowWanted& wanted) {
            // Does not interrupt a run of Data: when it comes depends on how the bytes were cut.
            last_data_ = data_before;
            growth_bytes_max -= session.grow_window(wanted.stream, std::min(wanted.more_bytes, growth_bytes_max));
          },
          [&](const WidenWanted&) { events_.push_back("widen wanted"); },
          [&](const ReplicasChanged& changed) { events_.push_back("replicas" + listed(changed.names)); },
          [&](const JoinAsked& asked) {
            events_.push_back("join asked " + asked.join.token);
            if (answer) session.answer(*answer);
          },
          [&](const RenewAsked& asked) {
            events_.push_back("renew asked " + std::to_string(asked.renew.request.size()));
            if (answer) session.answer(*answer);
          },
          [&](const RenewAnswered& answered) {
            const auto* denied = std::get_if<Denied>(&answered.answer);
            events_.push_back(denied != nullptr ? "denied " + word(denied->reason) : "issued");
          },
          [&](const PeerDraining& draining) { events_.push_back("draining " + word(draining.reason)); },
          [&](const Ended& ended) {
            events_.push_back("ended " + word(ended.reason) + (ended.by_peer ? " by peer" : ""));
            end_reason_ = ended.reason;
          },
      },
      event);
}

SessionPair::SessionPair(SessionOptions agent_options, SessionOptions server_options)
    : agent(with_role(std::move(agent_options), Role::agent), now),
      server(with_role(std::move(server_options), Role::server), now) {
  pump();
}

void SessionPair::pump() {
  for (;;) {
    const Bytes there = agent.send();
    to_server_.insert(to_server_.end(), there.begin(), there.end());
    server.receive(there);
    const Bytes back = server.send();
    to_agent_.insert(to_agent_.end(), back.begin(), back.end());
    agent.receive(back);
    if (there.empty() && back.empty()) return;
  }
}

void SessionPair::pass(Time duration) {
  const Time until = now + duration;
  while (now < until) {
    now = std::min(
        {until, std::max(now + Time(1), agent.session.deadline()), std::max(now + Time(1), server.session.deadline())});
    agent.session.on_time(now);
    server.session.on_time(now);
    agent.collect();
    server.collect();
    pump();
  }
}

LoneSide::LoneSide(Role role, SessionOptions options) : Side(with_role(std::move(options), role), now) {
  receive(role == Role::server ? hello_frame() : welcome_frame());
  (void)send();
  clear_events();
}

}  // namespace culvert::protocol
