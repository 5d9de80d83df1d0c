// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/peer.hpp"

#include <algorithm>
#include <cstdio>
#include <type_traits>
#include <variant>

#include "protocol/limits.hpp"
#include "tests/simulation/pattern.hpp"

namespace culvert::simulation {
namespace {

using protocol::Reason;
using protocol::Source;

template <typename... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};

constexpr std::uint32_t heads_max = 11;  ///< In one direction of a stream.

}  // namespace

Peer::Peer(Role role, protocol::SessionOptions options, Random& random, Truth& truth, const Time& now, bool verbose)
    : role_(role),
      session_(std::move(options), now),
      random_(random),
      truth_(truth),
      now_(now),
      verbose_(verbose),
      budget_(random.one_of({0, 1ull << 20, 64ull << 20})),
      mischief_(static_cast<unsigned>(random.one_of({0, 5, 30}))) {}

void Peer::require(bool holds, const std::string& law) const {
  if (!holds) throw Failure{std::string(role_ == Role::agent ? "agent: " : "server: ") + law};
}

void Peer::log(const std::string& what, StreamId id) const {
  if (!verbose_) return;
  std::printf("%10.3f ms  %-6s %s", static_cast<double>(now_.count()) / 1000, role_ == Role::agent ? "agent" : "server",
              what.c_str());
  if (id != 0) std::printf(" %u", id);
  std::printf("\n");
}

std::string Peer::describe() const {
  std::string text = std::to_string(session_.streams()) + " streams in the session;";
  for (const auto& [id, it] : conversations_) {
    const Flow& flow = truth_.at(id);
    text += " [" + std::to_string(id) + (it.answered ? "" : " unanswered") + " to_send " + std::to_string(it.to_send) +
            (it.source_over ? " over" : "") + " sent " + std::to_string(flow.from[me()].sent) + " received " +
            std::to_string(flow.from[1 - me()].received) + "]";
  }
  return text;
}

void Peer::check_balance() const {
  if (ended_) return;
  require(session_.window_bytes() == granted_, "window_bytes() is not the sum of the windows");
  require(session_.streams() >= conversations_.size(), "the session knows fewer streams than it reported");
}

Peer::Conversation& Peer::add(StreamId id, bool ours, std::uint64_t window) {
  const std::uint64_t edge = random_.one_of({0, 1, 16'384, 65'536, 262'144}) + random_.below(3);
  const std::uint64_t length = random_.chance(40) ? edge : random_.below(random_.one_of({100, 20'000, 150'000}));
  const auto plan = random_.chance(60) ? Plan::end : static_cast<Plan>(random_.below(4));
  Conversation it{.id = id, .ours = ours, .to_send = length, .plan = plan};
  Flow& flow = truth_[id];
  require(!flow.opened[me()], "an id was used twice");
  flow.opened[me()] = true;
  inbound(id).window = window;
  granted_ += window;
  return conversations_.emplace(id, it).first->second;
}

Peer::Conversation& Peer::known(StreamId id, const void* user) {
  const auto found = conversations_.find(id);
  require(found != conversations_.end(), "an event for a stream that is not known: " + std::to_string(id));
  require(user == &found->second, "an event with the wrong user pointer");
  return found->second;
}

// ---- Acts

void Peer::open() {
  if (!session_.may_open() || conversations_.size() > 12) return;
  protocol::Open message;
  message.name = "s" + std::to_string(random_.below(1'000));
  message.credit = random_.one_of({protocol::window_bytes_min, 100'003, protocol::window_bytes_start});
  const auto id = session_.open(message, nullptr);
  require(id.has_value(), "open() failed though may_open()");
  Conversation& it = add(*id, true, message.credit);
  session_.attach(*id, &it);
  session_.set_readable(*id);
  log("open", *id);
}

void Peer::answer(Conversation& it) {
  if (random_.chance(healed_ ? 0 : 15)) {
    log("reject", it.id);
    truth_[it.id].rejected = true;
    return session_.reject(it.id, {Reason::target_refused, random_.chance(50), "no"});
  }
  const std::uint64_t window = random_.one_of({0, protocol::window_bytes_min, 70'001, protocol::window_bytes_start});
  const std::uint64_t real = std::max<std::uint64_t>(window, protocol::optimistic_bytes_max);
  log("accept", it.id);
  it.answered = true;
  granted_ += real - inbound(it.id).window;
  inbound(it.id).window = real;
  session_.accept(it.id, window);
}

void Peer::take(Conversation& it, std::uint64_t bytes) {
  it.waiting -= bytes;
  inbound(it.id).taken += bytes;
  session_.take(it.id, bytes);
}

/// What a well-behaved driver does for a stream from time to time.
void Peer::tend(Conversation& it) {
  if (!it.ours && !it.answered && (healed_ || random_.chance(30))) return answer(it);
  if (healed_ && it.plan == Plan::hold) it.plan = Plan::end;
  if (!it.source_over && (healed_ || now_ >= it.wakes)) session_.set_readable(it.id);
  if (healed_ || now_ >= it.reader_back) {
    const std::uint64_t bytes = healed_ || random_.chance(60) ? it.waiting : random_.below(it.waiting + 1);
    if (bytes > 0) take(it, bytes);
    if (it.heads_waiting > 0) session_.take(it.id, std::exchange(it.heads_waiting, 0));
  }
  if (!healed_ && !it.source_over && (it.ours || it.answered) && random_.chance(10)) send_head(it);
}

/// Between two bytes of the stream, where the peer must receive it.
void Peer::send_head(Conversation& it) {
  Direction& out = outbound(it.id);
  if (out.heads_sent == heads_max) return;
  ++out.heads_sent;
  const std::size_t size = random_.one_of({1, 300, 5'000, 70'000, protocol::head_payload_bytes_max});
  std::vector<std::byte> message(size);
  fill_pattern(message, it.id, me(), out.sent);
  out.heads.push_back({out.sent, size});
  log("head", it.id);
  session_.send_head(it.id, std::move(message));
}

void Peer::harm(Conversation& it) {
  Flow& flow = truth_[it.id];
  switch (random_.below(5)) {
    case 0:
      log("reset", it.id);
      (!it.ours && !it.answered ? flow.rejected : flow.reset[me()]) = true;
      return session_.reset(it.id, Reason::cancelled);
    case 1:
      if (!it.ours && !it.answered) return;
      log("abort", it.id);
      outbound(it.id).aborted = it.source_over = true;
      return session_.abort(it.id);
    case 2:
      if (!it.answered) return;
      log("stop", it.id);
      inbound(it.id).stopped = true;
      return session_.stop(it.id, Reason::cancelled);
    case 3: it.reader_back = now_ + Time(static_cast<Time::rep>(random_.below(5'000'000))); return;
    default: session_.set_readable(it.id); return;
  }
}

void Peer::act() {
  if (ended_) return;
  if (!healed_ && random_.chance(15)) open();
  if (!healed_ && random_.below(2'000) == 0) {
    log("drain");
    session_.drain(Reason::shutdown, std::chrono::seconds(1));
  }
  if (role_ == Role::server && session_.is_greeted() && replicas_ < protocol::replicas_max && random_.below(200) == 0)
    session_.tell_replicas(std::vector<std::string>(++replicas_, std::string(random_.below(255) + 1, 'r')));
  if (session_.is_greeted() && random_.below(100) == 0) enrol();
  // By id: an act on one stream may end another.
  std::vector<StreamId> ids;
  for (const auto& [id, it] : conversations_) ids.push_back(id);
  for (const StreamId id : ids) {
    const auto found = conversations_.find(id);
    if (found == conversations_.end()) continue;
    if (!healed_ && random_.chance(mischief_) && random_.chance(10)) {
      harm(found->second);
    } else {
      tend(found->second);
    }
    drain_events();
    if (ended_) return;
  }
}

/// The server answers with a chain that equals the request, so that the agent can tell whose answer it is.
void Peer::enrol() {
  if (role_ == Role::server && !asked_.empty()) {
    const Bytes authorities(random_.between(1, protocol::certificates_bytes_max), std::byte{'a'});
    session_.answer(protocol::Issued{std::exchange(asked_, {}), authorities, std::chrono::seconds(60)});
  }
  if (role_ == Role::agent && asked_.empty() && now_ >= renews_) {
    for (std::uint64_t size = random_.between(1, protocol::certificate_request_bytes_max); size > 0; --size)
      asked_.push_back(static_cast<std::byte>(random_.below(256)));
    session_.renew({.request = asked_});
  }
}

void Peer::close(Reason reason) {
  log("close");
  session_.close(reason, "the simulation says so");
  drain_events();
}

// ---- Bytes out

void Peer::fill(const protocol::Slot& slot) {
  require(!slot.payload.empty(), "a slot without room");
  Conversation& it = known(slot.stream, slot.user);
  require(!it.source_over, "a source that has ended was asked for more");
  require(it.ours || it.answered, "a slot before the stream was accepted");
  Direction& out = outbound(slot.stream);
  const bool asleep = !healed_ && now_ < it.wakes;
  std::uint64_t size = std::min<std::uint64_t>({slot.payload.size(), it.to_send, random_.one_of({1, 1'000, 1 << 20})});
  if (asleep) size = 0;
  fill_pattern(slot.payload.first(size), slot.stream, me(), out.sent);
  it.to_send -= size;
  out.sent += size;
  const Flow& flow = truth_[slot.stream];
  if (!flow.forgotten[1 - me()]) {
    const std::uint64_t window = std::max<std::uint64_t>(out.window, protocol::optimistic_bytes_max);
    require(out.sent <= out.taken + window, "more was sent than the receiver can have granted");
  }

  Source source = Source::more;
  if (asleep || (it.to_send > 0 && !healed_ && random_.chance(20))) {
    source = Source::blocked;
    if (!asleep) it.wakes = now_ + Time(static_cast<Time::rep>(random_.below(random_.one_of({1, 3'000, 900'000}))));
  } else if (it.to_send == 0 && it.plan == Plan::hold) {
    source = Source::blocked;
  } else if (it.to_send == 0 && it.plan == Plan::reset && size == 0) {
    log("source was reset", slot.stream);
    truth_[slot.stream].reset[me()] = it.source_over = true;
    last_commit_ = session_.commit_reset(Reason::target_reset);
    return;
  } else if (it.to_send == 0 && it.plan != Plan::reset) {
    source = it.plan == Plan::abort ? Source::aborted : Source::ended;
    it.source_over = true;
    (source == Source::ended ? out.ended : out.aborted) = true;
    log(source == Source::ended ? "source ended" : "source failed", slot.stream);
  }
  last_commit_ = session_.commit(size, source);
}

void Peer::write_to(Pipe& pipe) {
  const bool small = random_.chance(30);
  bool whole = false;
  for (int frames = 0; frames < 50 && pipe.room() > 0; ++frames) {
    const auto room = std::span(room_).first(whole   ? room_.size()
                                             : small ? random_.between(0, 5'000)
                                                     : random_.between(4'200, room_.size()));
    whole = false;
    const auto outgoing = session_.next_outgoing(room);
    using Kind = protocol::Outgoing::Kind;
    if (outgoing.kind == Kind::nothing) {
      flushed_ = ended_;
      break;
    }
    if (outgoing.kind == Kind::full) {
      require(room.size() < room_.size(), "room for the longest HEAD is not enough");
      whole = true;
      continue;
    }
    std::size_t used = outgoing.bytes;
    if (outgoing.kind == Kind::slot) {
      const auto& stream = outgoing.slot.stream;
      const std::uint64_t before = outbound(stream).sent;
      fill(outgoing.slot);
      // commit() returned the size of its frames: header, payload, and perhaps FIN.
      const Direction& out = outbound(stream);
      const std::uint64_t bytes = out.sent - before;
      used = last_commit_;
      require(used >= bytes && used <= bytes + 24 && used <= room.size(), "commit() returned a wrong size");
    }
    pipe.write(room.first(used), now_);
    drain_events();
  }
}

// ---- Bytes in

void Peer::read_from(Pipe& pipe) {
  const Bytes bytes = pipe.read(now_);
  session_.feed(bytes, now_);
  drain_events();
}

void Peer::keep_time() {
  if (now_ < session_.deadline()) return;
  session_.on_time(now_);
  require(ended_ || session_.is_ended() || session_.deadline() > now_, "a deadline that does not advance");
  drain_events();
}

void Peer::drain_events() {
  while (const auto event = session_.next_event()) {
    require(!ended_, "an event after Ended");
    handle(*event);
  }
}

void Peer::handle_opened(const protocol::Opened& opened) {
  require(truth_.contains(opened.stream) && truth_[opened.stream].opened[1 - me()],
          "Opened for a stream that was not opened");
  Conversation& it = add(opened.stream, false, protocol::optimistic_bytes_max);
  session_.attach(opened.stream, &it);
  if (random_.chance(30)) session_.set_readable(opened.stream);
}

void Peer::handle_data(const protocol::Data& data) {
  Conversation& it = known(data.stream, data.user);
  Direction& in = inbound(data.stream);
  require(!in.finished && !in.stopped, "Data after Finished or stop()");
  require(matches_pattern(data.bytes, data.stream, 1 - me(), in.received), "wrong bytes");
  in.received += data.bytes.size();
  it.waiting += data.bytes.size();
  require(in.received <= in.sent, "more was received than sent");
  require(it.waiting <= in.window, "more waits than the window allows");
  if (random_.chance(50) && now_ >= it.reader_back) take(it, it.waiting);
}

void Peer::handle_head(const protocol::HeadCame& head) {
  Conversation& it = known(head.stream, head.user);
  Direction& in = inbound(head.stream);
  require(!in.finished && !in.stopped, "HeadCame after Finished or stop()");
  require(!in.heads.empty(), "a HEAD that was not sent");
  const Direction::Head sent = in.heads.front();
  in.heads.pop_front();
  require(head.message.size() == sent.size && matches_pattern(head.message, head.stream, 1 - me(), sent.at),
          "a HEAD that differs from the one sent");
  require(in.received == sent.at, "a HEAD at another position than it was sent");
  it.heads_waiting += sent.size;
}

void Peer::handle_finished(const protocol::Finished& finished) {
  (void)known(finished.stream, finished.user);
  Direction& in = inbound(finished.stream);
  require(!in.finished, "Finished twice");
  in.finished = true;
  if (finished.aborted) {
    require(in.aborted, "an aborted end without a cause");
  } else {
    require(in.ended, "a clean end of a stream that did not end");
    require(in.received == in.sent, "a clean end with bytes missing");
    require(in.heads.empty(), "a clean end with a HEAD missing");
  }
}

void Peer::handle_forgotten(const protocol::Forgotten& forgotten) {
  (void)known(forgotten.stream, forgotten.user);
  Flow& flow = truth_[forgotten.stream];
  const Direction& in = inbound(forgotten.stream);
  require(!flow.forgotten[me()], "Forgotten twice");
  flow.forgotten[me()] = true;
  const bool both_ended = outbound(forgotten.stream).ended || outbound(forgotten.stream).aborted;
  const bool is_over = (in.finished || in.stopped) && both_ended;
  require(flow.reset[0] || flow.reset[1] || flow.rejected || is_over, "Forgotten without a reason");
  require(forgotten.window_bytes == in.window, "Forgotten with a wrong window");
  granted_ -= forgotten.window_bytes;
  conversations_.erase(forgotten.stream);
  log("forgotten", forgotten.stream);
}

void Peer::handle(const protocol::Event& event) {
  std::visit(Overloaded{
                 [&](const protocol::Greeted&) { session_.welcome({}); },
                 [&](const protocol::Welcomed&) { log("welcomed"); },
                 [&](const protocol::Opened& opened) { handle_opened(opened); },
                 [&](const protocol::Accepted& accepted) {
                   Conversation& it = known(accepted.stream, accepted.user);
                   require(it.ours && !it.answered, "Accepted for a stream that is answered or not ours");
                   it.answered = true;
                 },
                 [&](const protocol::Rejected& rejected) {
                   Conversation& it = known(rejected.stream, rejected.user);
                   require(it.ours && !it.answered, "Rejected for a stream that is answered or not ours");
                   Flow& flow = truth_[rejected.stream];
                   const bool by_session =
                       rejected.reject.reason == Reason::overloaded || rejected.reject.reason == Reason::draining;
                   require(flow.rejected || by_session, "Rejected, but the peer did not reject");
                   flow.rejected = true;
                 },
                 [&](const protocol::Data& data) { handle_data(data); },
                 [&](const protocol::Finished& finished) { handle_finished(finished); },
                 [&](const protocol::WasReset& reset) {
                   (void)known(reset.stream, reset.user);
                   require(truth_[reset.stream].reset[1 - me()], "WasReset, but the peer did not reset");
                 },
                 [&](const protocol::Pending& pending) { (void)known(pending.stream, pending.user); },
                 [&](const protocol::Stopped& stopped) {
                   Conversation& it = known(stopped.stream, stopped.user);
                   require(outbound(stopped.stream).stopped, "Stopped, but the peer did not stop");
                   outbound(stopped.stream).aborted = it.source_over = true;
                 },
                 [&](const protocol::Forgotten& forgotten) { handle_forgotten(forgotten); },
                 [&](const protocol::WindowWanted& wanted) {
                   const std::uint64_t offer = random_.chance(70) ? std::min(wanted.more_bytes, budget_) : 0;
                   const std::uint64_t used = session_.grow_window(wanted.stream, offer);
                   require(used <= offer, "a window grew by more than was offered");
                   budget_ -= used;
                   granted_ += used;
                   inbound(wanted.stream).window += used;
                 },
                 [&](const protocol::HeadCame& head) { handle_head(head); },
                 [&](const protocol::WidenWanted&) { log("peer wants more tunnels"); },
                 [&](const protocol::ReplicasChanged& changed) {
                   // The whole list, never older than the last: the server makes each list one name longer.
                   require(changed.names.size() > replicas_, "an old list of replicas");
                   replicas_ = changed.names.size();
                 },
                 [&](const protocol::JoinAsked&) { require(false, "JoinAsked on a tunnel"); },
                 [&](const protocol::RenewAsked& asked) {
                   require(asked_.empty(), "RenewAsked before the answer to the last one");
                   asked_ = asked.renew.request;
                 },
                 [&](const protocol::RenewAnswered& answered) {
                   const auto& issued = std::get<protocol::Issued>(answered.answer);
                   require(!asked_.empty() && issued.chain == asked_, "RenewAnswered with the answer to another RENEW");
                   asked_.clear();
                   renews_ = now_ + protocol::renew_interval_min;
                 },
                 [&](const protocol::PeerDraining&) { log("peer is draining"); },
                 [&](const protocol::Ended& ended) {
                   ended_ = true;
                   for (const auto& survivor : session_.survivors()) {
                     (void)known(survivor.id, survivor.user);
                     require(survivor.window_bytes == inbound(survivor.id).window, "a survivor with a wrong window");
                   }
                   require(session_.survivors().size() == conversations_.size(), "a stream without an end");
                   by_peer_ = ended.by_peer;
                   end_reason_ = ended.reason;
                   conversations_.clear();
                   log("ended: " + std::string(to_string(ended.reason)) + " " + ended.text);
                 },
             },
             event);
}

}  // namespace culvert::simulation
