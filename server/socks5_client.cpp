// SPDX-License-Identifier: Apache-2.0
#include "server/socks5_client.hpp"

#include <algorithm>
#include <array>
#include <cstring>  // explicit_bzero
#include <utility>

#include <sys/epoll.h>

#include "common/config/settings_reader.hpp"
#include "common/tunnel/relay.hpp"
#include "server/location_key.hpp"

// The way of a connection: on_ready -> read -> take, step by step; begin_request -> place -> open; on_accepted.

namespace culvert::server {

using protocol::Reason;
using SocketState = RelaySocket::State;

namespace {

constexpr std::chrono::seconds negotiation_time_max{10};  // Threats C1.
/// The agent's dial has its own deadline; this much later nobody believes in an answer (threats D7).
constexpr std::chrono::seconds answer_grace{5};
constexpr std::chrono::seconds linger_time_max{2};
constexpr std::size_t linger_bytes_max = 64 << 10;
constexpr std::size_t attempts_max = 3;

}  // namespace

void Socks5Client::start(DataPlane& plane, Setup setup) {
  auto client = std::make_unique<Socks5Client>(plane, std::move(setup));
  Socks5Client& started = *client;
  started.id_ = plane.add(std::move(client));
  if (!plane.worker().poller().add(started.socket_.fd(), EPOLLIN | EPOLLRDHUP, started)) return started.die();
  if (started.wanted_tunnel_) return started.begin_request();
  started.read();
}

Socks5Client::Socks5Client(DataPlane& plane, Setup setup)
    : plane_(plane),
      around_(std::move(setup.around)),
      peer_(std::move(setup.peer)),
      place_(std::move(setup.place)),
      socket_(std::move(setup.socket)),
      since_(DataPlane::now()),
      talk_(std::move(setup.talk)),
      route_(std::move(setup.route)),
      tried_(std::move(setup.tried)),
      wanted_tunnel_(setup.tunnel) {
  if (talk_) return;
  const auto settings = around_->settings.get();
  talk_ = std::make_unique<Socks5>(Socks5::Methods{.none = !settings->unauthenticated_account.empty(),
                                                   .password = !settings->consumers.empty(),
                                                   .token = static_cast<bool>(*around_->check_token.get())});
}

Socks5Client::~Socks5Client() {
  if (socket_) plane_.worker().poller().forget(*this);
}

// ---- the negotiation

void Socks5Client::on_ready(std::uint32_t events) {
  if (state_ == State::gone) return;
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) socket_.note_hangup();
  // Nobody is there to be answered.
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) return die();
  if (state_ == State::negotiating) read();
  if (state_ == State::leaving) linger();
}

void Socks5Client::read() {
  std::array<std::byte, 1024> room;  // NOLINT(cppcoreguidelines-pro-type-member-init): zeroing would cost.
  while (state_ == State::negotiating) {
    const auto came = socket_.read(std::span(room).first(std::min(room.size(), talk_->wanted())));
    if (came.bytes > 0) take(talk_->feed(std::span(room).first(came.bytes)));
    ::explicit_bzero(room.data(), came.bytes);
    if (came.state == SocketState::blocked) return;
    if (came.state != SocketState::ready) return die();
  }
}

void Socks5Client::take(Socks5::Step step) {
  if (!say()) return;
  switch (step) {
    case Socks5::Step::need_more: return;
    case Socks5::Step::check_password: return ask_desk();
    case Socks5::Step::check_token: return check_token();
    case Socks5::Step::connect: return begin_request();
    case Socks5::Step::refused: note_refusal(talk_->why()); return leave();
  }
}

/// False: the client is gone. It never has so much unread that these few bytes would find no room.
bool Socks5Client::say() {
  const std::string text = talk_->take_output();
  if (socket_.write(std::as_bytes(std::span(text))).bytes == text.size()) return true;
  die();
  return false;
}

void Socks5Client::ask_desk() {
  state_ = State::checking;
  around_->desk.check(around_->settings.get(), std::string(talk_->user()), talk_->secret(), peer_.address(),
                      [&plane = plane_, id = id_](std::optional<ConsumerLogin> login) {
                        plane.worker().post([&plane, id, login = std::move(login)] {
                          auto* client = static_cast<Socks5Client*>(plane.find_end(id));
                          if (client == nullptr || client->state_ != State::checking) return;
                          client->state_ = State::negotiating;
                          if (login) {
                            client->consumer_ = login->consumer;
                            client->route_ = {login->consumer->account, login->location};
                          }
                          client->judged(login.has_value());
                        });
                      });
}

void Socks5Client::check_token() {
  const auto location = parse_location(talk_->location());
  if (!location) return judged(false);
  const auto check = around_->check_token.get();
  // A reload may have taken the method away meanwhile.
  if (!*check) return judged(false);
  auto route = (*check)(talk_->secret(), *location, plane_.worker().index());
  if (route) {
    route_ = std::move(*route);
  } else {
    note_refusal(route.error());
  }
  judged(route.has_value());
}

void Socks5Client::judged(bool is_welcome) {
  take(talk_->verdict(is_welcome));
  // What came meanwhile makes no event any more.
  read();
}

// ---- the request

void Socks5Client::begin_request() {
  state_ = State::opening;
  since_ = DataPlane::now();
  if (route_.account.empty()) route_.account = around_->settings.get()->unauthenticated_account;
  if (consumer_ && std::ranges::find(consumer_->virtual_hosts, talk_->target()) == consumer_->virtual_hosts.end())
    return answer(Socks5Reply::not_allowed, "not_of_this_consumer");
  if (!place()) answer(Socks5Reply::no_agent, "no_tunnel");
}

/// Opens a stream, here or on another worker. False: no tunnel is left to try.
bool Socks5Client::place() {
  for (;;) {
    std::optional<TunnelId> id = std::exchange(wanted_tunnel_, std::nullopt);
    if (!id) {
      const auto entry =
          around_->directory.pick(location_key(route_.account, route_.location), plane_.worker().index(), tried_);
      if (!entry) return false;
      if (entry->plane != plane_.worker().index()) {
        move_to(*entry);
        return true;
      }
      id = entry->id;
    }
    tried_.push_back(*id);
    Tunnel* tunnel = plane_.find_tunnel(*id);
    if (tunnel != nullptr && open(*tunnel)) return true;
  }
}

bool Socks5Client::open(Tunnel& tunnel) {
  protocol::Open message;
  message.kind = protocol::Open::Kind::host;
  message.name = talk_->target().host;
  message.port = talk_->target().port;
  const auto stream = tunnel.open(message, *this);
  if (!stream) return false;
  ++streams_;
  tunnel_ = &tunnel;
  stream_ = *stream;
  return true;
}

void Socks5Client::move_to(const TunnelDirectory::Entry& entry) {
  auto setup = std::make_shared<Setup>(Setup{around_, release_socket(), peer_, std::move(place_), std::move(talk_),
                                             std::move(route_), entry.id, std::move(tried_)});
  DataPlane& there = around_->planes.plane(entry.plane);
  there.worker().post([&there, setup] { start(there, std::move(*setup)); });
  die();
}

UniqueFd Socks5Client::release_socket() {
  plane_.worker().poller().remove(socket_.fd(), *this);
  return socket_.release();
}

// ---- the agent's answer

void Socks5Client::on_accepted() {
  if (state_ != State::opening) return;
  // Before a byte of the target's: none is delivered until this returns.
  reply(Socks5Reply::succeeded);
  if (!say()) return;
  --streams_;
  Relay::take_over(*std::exchange(tunnel_, nullptr), stream_, release_socket(), {.mapping_place = std::move(place_)});
  die();
}

void Socks5Client::on_rejected(const protocol::Reject& reject) {
  tunnel_ = nullptr;  // on_forgotten() follows, for the window's sake.
  if (state_ != State::opening) return;
  if (reject.reason == Reason::speaks_http) return speak_http();
  if (reject.retryable && tried_.size() < attempts_max && place()) return;
  answer(socks5_reply_of(reject.reason), protocol::to_string(reject.reason));
}

/// The agent wants to see each request: they are parsed here, and go one by one.
void Socks5Client::speak_http() {
  reply(Socks5Reply::succeeded);
  if (!say()) return;
  ProxyClient::start(plane_, {.around = around_->http,
                              .socket = release_socket(),
                              .read_ahead = {},
                              .source = peer_.address(),
                              .place = std::move(place_),
                              .tunnel = {},
                              .tried = {},
                              .inside = ProxyClient::Inside{talk_->target(), std::move(route_)}});
  die();
}

void Socks5Client::on_reset(Reason reason) {
  tunnel_ = nullptr;
  if (state_ == State::opening) answer(socks5_reply_of(reason), protocol::to_string(reason));
}

void Socks5Client::on_forgotten(std::uint64_t window_bytes) {
  plane_.memory().give(window_bytes);
  --streams_;
  if (state_ == State::gone && streams_ == 0) plane_.bury_end(id_);
}

/// Nothing of a stream that was not accepted may come; what comes of one that is given up is dropped.
void Socks5Client::push(std::span<const Bytes> pieces) {
  for (const Bytes piece : pieces) {
    if (tunnel_ != nullptr) tunnel_->take(stream_, piece.size());
  }
}

void Socks5Client::on_head(Bytes message) {
  if (tunnel_ != nullptr) tunnel_->take(stream_, message.size());
}

// ---- the ends

void Socks5Client::answer(Socks5Reply code, std::string_view why) {
  note_refusal(why);
  reply(code);
  if (say()) leave();
}

void Socks5Client::reply(Socks5Reply code) {
  plane_.counters().socks5_replies[std::to_underlying(code)].add();
  talk_->reply(code);
}

void Socks5Client::note_refusal(std::string_view why) {
  const Endpoint peer{peer_.address().to_string(), peer_.port()};
  around_->log.limited(Log::Level::info, "socks.refused", {{"reason", why}, {"peer", to_string(peer)}});
}

/// To close with bytes unread would make a reset of it, which might overtake what we said last. So what still comes is
/// read and dropped, for a while.
void Socks5Client::leave() {
  state_ = State::leaving;
  since_ = DataPlane::now();
  (void)socket_.finish();
  linger();
}

void Socks5Client::linger() {
  std::array<std::byte, 8192> room;  // NOLINT(cppcoreguidelines-pro-type-member-init): zeroing would cost.
  for (;;) {
    const auto came = socket_.read(room);
    dropped_bytes_ += came.bytes;
    if (came.state == SocketState::blocked) return;
    if (came.state != SocketState::ready || dropped_bytes_ > linger_bytes_max) return die();
  }
}

void Socks5Client::on_tick(protocol::Time now) {
  if (state_ == State::gone) return;
  const auto limit = state_ == State::leaving   ? linger_time_max
                     : state_ == State::opening ? protocol::Open().dial_time_max + answer_grace
                                                : negotiation_time_max;
  if (now - since_ < limit) return;
  // Not inside the walk over all ends.
  plane_.worker().post([&plane = plane_, id = id_] {
    if (auto* client = static_cast<Socks5Client*>(plane.find_end(id))) client->time_out();
  });
}

void Socks5Client::time_out() {
  if (state_ != State::opening) return die();
  if (tunnel_ != nullptr) std::exchange(tunnel_, nullptr)->reset(stream_, Reason::target_timed_out);
  answer(socks5_reply_of(Reason::target_timed_out), protocol::to_string(Reason::target_timed_out));
}

void Socks5Client::die() {
  if (std::exchange(state_, State::gone) == State::gone) return;
  if (socket_) {
    plane_.worker().poller().forget(*this);
    socket_.close();
  }
  place_.reset();
  if (tunnel_ != nullptr) std::exchange(tunnel_, nullptr)->reset(stream_, Reason::cancelled);
  if (streams_ == 0) plane_.bury_end(id_);
}

}  // namespace culvert::server
