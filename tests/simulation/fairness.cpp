// SPDX-License-Identifier: Apache-2.0
#include "tests/simulation/fairness.hpp"

#include <algorithm>
#include <map>
#include <variant>

#include "protocol/limits.hpp"
#include "tests/simulation/peer.hpp"

namespace culvert::simulation {
namespace {

/// Accepts and takes everything at once.
void serve(Session& session, std::span<const std::byte> bytes) {
  session.feed(bytes, Time(1));
  while (const auto event = session.next_event()) {
    if (std::holds_alternative<protocol::Greeted>(*event)) session.welcome({});
    if (const auto* opened = std::get_if<protocol::Opened>(&*event)) {
      session.accept(opened->stream, protocol::window_bytes_near_max);
    }
    if (const auto* data = std::get_if<protocol::Data>(&*event)) session.take(data->stream, data->bytes.size());
  }
}

}  // namespace

void check_fairness(std::uint64_t seed) {
  Random random(seed);
  Session agent({.role = Role::agent}, Time(0));
  Session server({.role = Role::server}, Time(0));
  std::map<StreamId, std::uint64_t> sent;
  std::map<StreamId, std::uint64_t> piece;
  const auto carry = [&](Session& from, Session& to) {
    Bytes room(random.between(8'192, 131'072));
    for (;;) {
      const auto outgoing = from.next_outgoing(room);
      if (outgoing.kind == protocol::Outgoing::Kind::nothing) return;
      std::size_t used = outgoing.bytes;
      if (outgoing.kind == protocol::Outgoing::Kind::slot) {
        const StreamId id = outgoing.slot.stream;
        used = from.commit(std::min<std::size_t>(outgoing.slot.payload.size(), piece[id]), protocol::Source::more);
        sent[id] += used;
      }
      serve(to, std::span(room).first(used));
      if (outgoing.kind == protocol::Outgoing::Kind::slot && server.streams() == piece.size()) return;
    }
  };
  carry(agent, server);
  carry(server, agent);
  const std::uint64_t streams = random.between(2, 5);
  for (std::uint64_t i = 0; i < streams; ++i) {
    const StreamId id = agent.open({.name = "bulk"}, nullptr).value_or(0);
    piece[id] = random.one_of({700, 5'000, 16'384, 65'524});
    agent.set_readable(id);
  }
  // Until now some had only their optimistic credit.
  for (int i = 0; i < 200; ++i) {
    carry(agent, server);
    carry(server, agent);
  }
  sent.clear();
  for (int i = 0; i < 600; ++i) {
    carry(agent, server);
    carry(server, agent);
    std::uint64_t least = UINT64_MAX;
    std::uint64_t most = 0;
    for (const auto& [id, size] : piece) {
      least = std::min(least, sent[id]);
      most = std::max(most, sent[id]);
    }
    if (most - least > 3ull * protocol::Scheduler::quantum_bytes) {
      throw Failure{"unfair: one stream sent " + std::to_string(most) + " bytes, another " + std::to_string(least)};
    }
  }
}

}  // namespace culvert::simulation
