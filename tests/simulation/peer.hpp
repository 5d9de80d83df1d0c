// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>

#include "protocol/limits.hpp"
#include "protocol/session.hpp"
#include "tests/simulation/pipe.hpp"
#include "tests/simulation/random.hpp"

// The driver of one side of the simulated tunnel. It opens, answers, fills, takes, stalls and gives up at random, and
// compares each event with what really happened, which both sides record in one Truth.

namespace culvert::simulation {

using protocol::Role;
using protocol::Session;
using protocol::StreamId;

/// One direction of one stream, as it really is.
struct Direction {
  std::uint64_t sent = 0;      ///< Bytes given to the sender's session.
  std::uint64_t received = 0;  ///< Bytes that the receiver's session returned.
  std::uint64_t taken = 0;     ///< Bytes that the receiver's sink accepted.
  std::uint64_t window = 0;    ///< The receiver's window now.
  bool ended = false;          ///< The source ended cleanly.
  bool aborted = false;        ///< The sender failed, gave up, or was told to stop.
  bool stopped = false;        ///< The receiver called stop().
  bool finished = false;       ///< The receiver got Finished.
  /// A HEAD in flight: the number of bytes before it, and its size.
  struct Head {
    std::uint64_t at;
    std::size_t size;
  };
  std::deque<Head> heads;
  std::uint32_t heads_sent = 0;
};
struct Flow {
  Direction from[2];    ///< Indexed by Role.
  bool opened[2] = {};  ///< The side has, or had, the stream.
  bool forgotten[2] = {};
  bool reset[2] = {};     ///< The side called reset().
  bool rejected = false;  ///< The acceptor, or its session, rejected it.
};
using Truth = std::map<StreamId, Flow>;

struct Failure {
  std::string text;
};

class Peer {
 public:
  Peer(Role role, protocol::SessionOptions options, Random& random, Truth& truth, const Time& now, bool verbose);

  /// Each of these does one small thing at random, or nothing.
  void act();
  void write_to(Pipe& pipe);
  void read_from(Pipe& pipe);
  void keep_time();
  /// From now on it does no harm, and ends all streams.
  void heal() { healed_ = true; }
  void close(protocol::Reason reason);

  bool is_ended() const { return ended_; }
  bool is_flushed() const { return flushed_; }
  protocol::Reason end_reason() const { return end_reason_; }
  bool ended_by_peer() const { return by_peer_; }
  /// Nothing is left of any stream.
  bool is_idle() const { return conversations_.empty() && session_.streams() == 0; }
  /// Checks what must hold between any two steps.
  void check_balance() const;
  std::string describe() const;

 private:
  enum class Plan : std::uint8_t { end, abort, reset, hold };
  struct Conversation {
    StreamId id;
    bool ours;
    bool answered = false;  ///< Accepted, by either side.
    // The source:
    std::uint64_t to_send;
    Plan plan;
    bool source_over = false;
    Time wakes{0};  ///< When the source has more; 0: it has some now, or has ended.
    // The sink:
    std::uint64_t waiting = 0;
    std::uint64_t heads_waiting = 0;  ///< Bytes of HEADs that wait.
    Time reader_back{0};
  };

  void drain_events();
  void handle(const protocol::Event& event);
  void handle_opened(const protocol::Opened& opened);
  void handle_data(const protocol::Data& data);
  void handle_head(const protocol::HeadCame& head);
  void handle_finished(const protocol::Finished& finished);
  void handle_forgotten(const protocol::Forgotten& forgotten);
  void fill(const protocol::Slot& slot);
  Conversation& add(StreamId id, bool ours, std::uint64_t window);
  Conversation& known(StreamId id, const void* user);
  void open();
  void answer(Conversation& it);
  void enrol();
  void tend(Conversation& it);
  void send_head(Conversation& it);
  void harm(Conversation& it);
  void take(Conversation& it, std::uint64_t bytes);
  Direction& outbound(StreamId id) { return truth_[id].from[me()]; }
  Direction& inbound(StreamId id) { return truth_[id].from[1 - me()]; }
  std::size_t me() const { return role_ == Role::agent ? 0 : 1; }
  void require(bool holds, const std::string& law) const;
  void log(const std::string& what, StreamId id = 0) const;

  const Role role_;
  Session session_;
  Random& random_;
  Truth& truth_;
  const Time& now_;
  const bool verbose_;
  std::map<StreamId, Conversation> conversations_;
  std::uint64_t budget_;
  std::size_t replicas_ = 0;   ///< Names in the latest list.
  Bytes asked_;                ///< The request of the RENEW that has no answer yet.
  Time renews_{0};             ///< When the agent may renew again.
  std::uint64_t granted_ = 0;  ///< Sum of the windows by our own count.
  unsigned mischief_;          ///< Percent of acts that may do harm.
  Bytes room_ = Bytes(protocol::head_payload_bytes_max + 100);
  std::size_t last_commit_ = 0;  ///< How much of the room the last fill() used.
  bool healed_ = false;
  bool ended_ = false;
  bool flushed_ = false;
  bool by_peer_ = false;
  protocol::Reason end_reason_ = protocol::Reason::none;
};

}  // namespace culvert::simulation
