// SPDX-License-Identifier: Apache-2.0
#include "common/tunnel/stream_opener.hpp"

#include <algorithm>
#include <utility>

#include "common/net/monotonic_time.hpp"
#include "common/tunnel/tunnel.hpp"

namespace culvert {

using protocol::Reason;

namespace {

constexpr std::chrono::milliseconds first_tunnel_poll{20};
/// The acceptor's dial has its own deadline; the opener waits this much longer for the answer (SPEC 5.3, threats D7).
constexpr std::chrono::seconds answer_grace{5};

}  // namespace

StreamOpener::StreamOpener(const TunnelDirectory& directory, Request request)
    : directory_(directory), request_(std::move(request)) {}

StreamOpener::~StreamOpener() = default;

void StreamOpener::start(DataPlane& here, Client& client, StreamEnd& end, Stream& stream) {
  plane_ = &here;
  client_ = &client;
  end_ = &end;
  stream_ = &stream;
  place();
}

void StreamOpener::place() {
  const std::size_t worker = plane_->worker().index();
  for (;;) {
    std::optional<TunnelId> id = std::exchange(chosen_, std::nullopt);
    const auto preferred = std::exchange(request_.preferred, std::nullopt);
    if (!id && preferred) {
      if (moves_to(preferred->tunnel, preferred->plane)) return;
      if (preferred->plane == worker) id = preferred->tunnel;
    }
    if (!id) {
      const auto entry = directory_.pick(request_.key, worker, tried_, request_.moves);
      if (!entry && !last_reject_ && std::chrono::steady_clock::now() < request_.wait_for_tunnel_until)
        return place_later();
      if (!entry) return refuse();
      if (moves_to(entry->id, entry->plane)) return;
      id = entry->id;
      if (entry->plane != worker) {
        tried_.push_back(*id);
        continue;
      }
    }
    tried_.push_back(*id);
    // The tunnel may not be welcomed yet, or may have ended or begun to drain since it was picked.
    Tunnel* tunnel = plane_->find_tunnel(*id);
    if (tunnel != nullptr && open_on(*tunnel)) return;
  }
}

/// Returns false if the client is on that worker already, or cannot move.
bool StreamOpener::moves_to(TunnelId tunnel, std::size_t plane) {
  if (plane == plane_->worker().index() || !client_->may_move()) return false;
  chosen_ = tunnel;
  client_->move_to(directory_.planes().plane(plane));
  return true;
}

bool StreamOpener::open_on(Tunnel& tunnel) {
  request_.open.bond = client_->bond_on(tunnel);
  if (!tunnel.open(request_.open, *stream_, *end_)) {
    if (tunnel.is_out_of_memory()) last_reject_ = {Reason::overloaded, true, "memory for streams is used up"};
    return false;
  }
  stream_->opener_ = this;
  answer_due_ = monotonic_now() + request_.open.dial_time_max + answer_grace;
  replayed_ = 0;
  if (!replay_.empty()) stream_->set_readable();
  client_->on_placed();
  return true;
}

void StreamOpener::place_later() {
  tried_.clear();
  if (!alive_) alive_ = std::make_shared<char>();
  wait_ = std::make_unique<boost::asio::steady_timer>(plane_->worker().context(), first_tunnel_poll);
  wait_->async_wait([this, alive = std::weak_ptr<char>(alive_)](const boost::system::error_code&) {
    if (alive.expired()) return;
    wait_.reset();
    place();
  });
}

void StreamOpener::keep(std::span<const std::byte> bytes) {
  replay_.insert(replay_.end(), bytes.begin(), bytes.end());
  replayed_ = replay_.size();
}

std::size_t StreamOpener::replay(std::span<std::byte> room) {
  const auto rest = std::span(replay_).subspan(replayed_);
  const std::size_t bytes = std::min(rest.size(), room.size());
  std::ranges::copy(rest.first(bytes), room.begin());
  replayed_ += bytes;
  return bytes;
}

void StreamOpener::on_accepted() {
  is_accepted_ = true;
  client_->on_accepted();
}

void StreamOpener::on_rejected(const protocol::Reject& reject) {
  last_reject_ = reject;
  if (reject.retryable && tried_.size() < tunnels_tried_max) return place();
  refuse();
}

void StreamOpener::refuse() {
  if (last_reject_) return client_->on_refused({last_reject_->reason, last_reject_->text});
  client_->on_refused({std::nullopt, "no tunnel is up"});
}

/// The peer's own configuration allows its target more time than we would have waited.
void StreamOpener::on_pending(std::chrono::milliseconds time) {
  answer_due_ = std::max(answer_due_, monotonic_now() + time + answer_grace);
}

void StreamOpener::on_reset(Reason reason) {
  client_->on_refused({reason, "the stream ended before the answer"});
}

void StreamOpener::on_tick(protocol::Time now) {
  if (is_accepted_ || !stream_->is_open() || now < answer_due_) return;
  stream_->drop(Reason::target_timed_out);
  client_->on_refused({Reason::target_timed_out, "the agent or server did not answer in time"});
}

}  // namespace culvert
