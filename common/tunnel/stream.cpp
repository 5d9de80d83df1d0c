// SPDX-License-Identifier: Apache-2.0
#include "common/tunnel/stream.hpp"

#include <utility>

#include "common/tunnel/data_plane.hpp"
#include "common/tunnel/stream_end.hpp"
#include "common/tunnel/tunnel.hpp"

namespace culvert {

Stream::Stream(Tunnel& tunnel, protocol::StreamId id) : tunnel_(&tunnel), id_(id) {}

Stream::Stream(Stream&& other) noexcept {
  move_from(other);
}

Stream& Stream::operator=(Stream&& other) noexcept {
  if (this == &other) return *this;
  drop(protocol::Reason::cancelled);
  move_from(other);
  return *this;
}

void Stream::move_from(Stream& other) {
  tunnel_ = std::exchange(other.tunnel_, nullptr);
  id_ = other.id_;
  end_ = std::exchange(other.end_, nullptr);
  opener_ = std::exchange(other.opener_, nullptr);
  traffic_ = std::exchange(other.traffic_, {});
  if (other.plane_ != nullptr) other.plane_->leftovers_.erase(&other);
  plane_ = std::exchange(other.plane_, nullptr);
  if (plane_ != nullptr) plane_->leftovers_.insert(this);
  taken_bytes_ = other.taken_bytes_;
  taken_before_ = other.taken_before_;
  still_since_ = other.still_since_;
  memory_holder_ = std::move(other.memory_holder_);
  window_bytes_ = std::exchange(other.window_bytes_, 0);
  if (tunnel_ != nullptr && end_ != nullptr) tunnel_->attach(*this);
}

void Stream::join(StreamEnd& end) {
  end_ = &end;
  if (tunnel_ != nullptr) tunnel_->attach(*this);
}

void Stream::announce_dial_time(std::chrono::milliseconds time) {
  if (tunnel_ != nullptr) tunnel_->announce_dial_time(id_, time);
}

void Stream::accept() {
  if (tunnel_ != nullptr) tunnel_->accept(id_);
}

void Stream::reject(const protocol::Reject& reject) {
  if (tunnel_ != nullptr) tunnel_->reject(*this, reject);
}

void Stream::send_head(std::vector<std::byte> message) {
  if (tunnel_ != nullptr) tunnel_->send_head(id_, std::move(message));
}

protocol::HeadForm Stream::head_form() const {
  return tunnel_ != nullptr ? tunnel_->head_form() : protocol::HeadForm::current;
}

void Stream::set_readable() {
  if (tunnel_ != nullptr) tunnel_->set_readable(id_);
}

void Stream::take(std::size_t bytes) {
  taken_bytes_ += bytes;
  if (tunnel_ != nullptr && bytes > 0) tunnel_->take(id_, bytes);
}

void Stream::drop(protocol::Reason reason) {
  if (tunnel_ != nullptr) tunnel_->reset(*this, reason);
  end_ = nullptr;
  opener_ = nullptr;
  give_back();
}

void Stream::give_up(protocol::Reason reason) {
  if (end_ == nullptr) return;
  if (tunnel_ != nullptr) tunnel_->reset(*this, reason);
  end_->on_reset(reason);
}

void Stream::hold(DataPlane& plane, std::shared_ptr<MemoryHolder> holder, std::uint64_t window_bytes) {
  tunnel_ = nullptr;
  plane_ = &plane;
  plane_->leftovers_.insert(this);
  memory_holder_ = std::move(holder);
  window_bytes_ = window_bytes;
}

protocol::Time Stream::stands_still(protocol::Time now) {
  if (!still_since_ || std::exchange(taken_before_, taken_bytes_) != taken_bytes_) still_since_ = now;
  return now - *still_since_;
}

void Stream::give_back() {
  if (plane_ == nullptr) return;
  plane_->leftovers_.erase(this);
  const std::uint64_t bytes = std::exchange(window_bytes_, 0);
  std::exchange(plane_, nullptr)->memory().give(bytes);
  if (const auto holder = std::exchange(memory_holder_, nullptr)) holder->add(-static_cast<std::int64_t>(bytes));
}

}  // namespace culvert
