// SPDX-License-Identifier: Apache-2.0
#include "server/proxy/socks5_client.hpp"

#include <algorithm>
#include <array>
#include <cstring>  // explicit_bzero
#include <utility>

#include <sys/epoll.h>

#include "common/config/settings_reader.hpp"
#include "common/net/monotonic_time.hpp"
#include "common/tunnel/relay.hpp"
#include "server/proxy/client_exchange.hpp"
#include "server/proxy/proxy_client.hpp"

// A connection: on_ready -> read -> perform, step by step; begin_request -> the opener; on_accepted.

namespace culvert::server {

using protocol::Reason;
using SocketState = DataSocket::State;

namespace {

constexpr std::chrono::seconds negotiation_time_max{10};  // docs/threat-model.md C1.
constexpr std::chrono::seconds linger_time_max{2};
constexpr std::size_t linger_bytes_max = 64 << 10;

}  // namespace

std::shared_ptr<const Socks5Rules> socks5_rules(const Socks5ProxySettings& settings,
                                                const std::shared_ptr<TokenCheck>& tokens, PasswordChecker& passwords) {
  CallerRules rules = rules_of(settings, tokens);
  const Socks5::Methods methods{
      .none = rules.accept_none(), .password = rules.accept_passwords(), .token = rules.accept_signed_tokens()};
  return std::make_shared<const Socks5Rules>(Socks5Rules{methods, ask_by(std::move(rules), passwords)});
}

ClientPort::Serve serve_socks5(std::shared_ptr<const Socks5Context> context) {
  return [context = std::move(context)](DataPlane& plane, Client client) {
    Socks5Client::start(plane, {.context = context,
                                .socket = std::move(client.socket),
                                .peer = client.peer,
                                .connection = std::move(client.connection),
                                .clients = std::move(client.clients),
                                .negotiation = {},
                                .route = {},
                                .opener = {}});
  };
}

void Socks5Client::start(DataPlane& plane, Setup setup) {
  Socks5Client& started = plane.clients().add(std::make_unique<Socks5Client>(plane, std::move(setup)));
  if (!plane.worker().poller().add(started.socket_.fd(), EPOLLIN | EPOLLRDHUP, started)) return started.close();
  if (!started.opener_) return started.read();
  started.state_ = State::opening;
  started.opener_->start(plane, started, started, started.stream_);
}

Socks5Client::Socks5Client(DataPlane& plane, Setup setup)
    : plane_(plane),
      context_(std::move(setup.context)),
      peer_(std::move(setup.peer)),
      connection_(std::move(setup.connection)),
      waits_(std::move(setup.clients), plane, *this),
      socket_(std::move(setup.socket)),
      since_(monotonic_now()),
      negotiation_(std::move(setup.negotiation)),
      caller_{std::move(setup.route), nullptr},
      opener_(std::move(setup.opener)) {
  if (!negotiation_) negotiation_ = std::make_unique<Socks5>(context_->rules.get()->methods);
}

Socks5Client::~Socks5Client() {
  plane_.worker().poller().forget(*this);
}

// ---- the negotiation

void Socks5Client::on_ready(std::uint32_t events) {
  if (state_ == State::closed) return;
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) socket_.note_hangup();
  // The client has closed: no answer can be sent.
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) return close();
  if (state_ == State::negotiating) read();
  if (state_ == State::leaving) linger();
}

void Socks5Client::read() {
  std::array<std::byte, 1024> room;  // NOLINT(cppcoreguidelines-pro-type-member-init): zeroing would cost.
  while (state_ == State::negotiating) {
    const auto came = socket_.read(std::span(room).first(std::min(room.size(), negotiation_->wanted())));
    if (came.bytes > 0) waits_.end();
    if (came.bytes > 0) perform(negotiation_->feed(std::span(room).first(came.bytes)));
    ::explicit_bzero(room.data(), came.bytes);
    if (came.state == SocketState::blocked) break;
    if (came.state != SocketState::ready && state_ == State::negotiating) return close();
  }
  if (state_ == State::negotiating) waits_.begin();
}

void Socks5Client::perform(Socks5::Step step) {
  if (!send_output()) return;
  switch (step) {
    case Socks5::Step::need_more: return;
    case Socks5::Step::check_password: return ask(Password{negotiation_->user(), negotiation_->secret()}, "");
    case Socks5::Step::check_token: return ask(SignedToken{negotiation_->secret()}, negotiation_->location());
    case Socks5::Step::connect: return begin_request();
    case Socks5::Step::refused: log_refusal(negotiation_->why()); return leave();
  }
}

/// Returns false if the client has closed. The socket always has room for these few bytes.
bool Socks5Client::send_output() {
  const std::string text = negotiation_->next_output();
  if (socket_.write(std::as_bytes(std::span(text))).bytes == text.size()) return true;
  close();
  return false;
}

void Socks5Client::ask(CallerCredentials credentials, std::string_view location) {
  state_ = State::checking;
  auto named = parse_location(location);
  if (!named) return on_caller(std::unexpected(nullptr));
  const auto rules = context_->rules.get();
  rules->ask(plane_.worker(), {credentials, std::move(*named), peer_.address()},
             [&plane = plane_, handle = plane_.clients().handle_of(*this)](std::expected<Caller, CallerFlaw> verdict) {
               Socks5Client* client = plane.clients().find(handle);
               if (client != nullptr && client->state_ == State::checking) client->on_caller(std::move(verdict));
             });
}

void Socks5Client::on_caller(std::expected<Caller, CallerFlaw> verdict) {
  const bool is_accepted = verdict.has_value();
  if (is_accepted) caller_ = std::move(*verdict);
  if (asked_without_credentials_) return is_accepted ? open() : answer(Socks5Reply::not_allowed, "no_login");
  if (!is_accepted && verdict.error() != nullptr) log_refusal(verdict.error()->code);
  is_known_ = is_accepted;
  state_ = State::negotiating;
  perform(negotiation_->verdict(is_accepted));
  // Bytes that arrived meanwhile make no new event.
  read();
}

// ---- the request

void Socks5Client::begin_request() {
  if (is_known_) return open();
  asked_without_credentials_ = true;
  ask(NoCredentials{}, "");
}

void Socks5Client::open() {
  state_ = State::opening;
  if (!caller_.may_reach(negotiation_->target())) return answer(Socks5Reply::not_allowed, "not_of_this_consumer");
  StreamOpener::Request request;
  request.key = caller_.route.key();
  request.open.kind = protocol::Open::Kind::host;
  request.open.name = negotiation_->target().host;
  request.open.port = negotiation_->target().port;
  opener_ = std::make_unique<StreamOpener>(context_->directory, std::move(request));
  opener_->start(plane_, *this, *this, stream_);
}

void Socks5Client::move_to(DataPlane& there) {
  auto setup = std::make_shared<Setup>(Setup{.context = context_,
                                             .socket = release_socket(),
                                             .peer = peer_,
                                             .connection = std::move(connection_),
                                             .clients = waits_.clients(),
                                             .negotiation = std::move(negotiation_),
                                             .route = std::move(caller_.route),
                                             .opener = std::move(opener_)});
  there.worker().post([&there, setup] { start(there, std::move(*setup)); });
  close();
}

UniqueFd Socks5Client::release_socket() {
  plane_.worker().poller().remove(socket_.fd(), *this);
  return socket_.release();
}

// ---- the agent's answer

void Socks5Client::on_accepted() {
  // The reply precedes the target's bytes: none is delivered until this returns.
  reply(Socks5Reply::succeeded);
  if (!send_output()) return;
  Relay::join(plane_, std::move(stream_), release_socket(), std::move(connection_));
  close();
}

void Socks5Client::on_refused(const OpenRefusal& refusal) {
  if (refusal.reason == Reason::speaks_http) return speak_http();
  answer(refusal.reason ? socks5_reply_of(*refusal.reason) : Socks5Reply::no_agent, refusal.name());
}

/// The target is an HTTP mapping, where the agent must see each request: a ProxyClient parses them.
void Socks5Client::speak_http() {
  reply(Socks5Reply::succeeded);
  if (!send_output()) return;
  ProxyClient::start(plane_, {.context = context_->http,
                              .socket = release_socket(),
                              .read_ahead = {},
                              .source = peer_.address(),
                              .connection = std::move(connection_),
                              .clients = waits_.clients(),
                              .has_sent = true,
                              .inside = FixedHost{negotiation_->target(), std::move(caller_.route)},
                              .exchange = {}});
  close();
}

void Socks5Client::push(std::span<const Bytes> pieces) {
  for (const Bytes piece : pieces) stream_.take(piece.size());
}

// ---- the ends

void Socks5Client::answer(Socks5Reply code, std::string_view why) {
  log_refusal(why);
  reply(code);
  if (send_output()) leave();
}

void Socks5Client::reply(Socks5Reply code) {
  plane_.counters().socks5_replies[std::to_underlying(code)].add();
  negotiation_->reply(code);
}

void Socks5Client::log_refusal(std::string_view why) {
  const Endpoint peer{peer_.address().to_string(), peer_.port()};
  context_->log.limited(Log::Level::info, "socks.refused", {{"reason", why}, {"peer", to_string(peer)}});
}

/// Reads and discards input for a while. A close with unread bytes would send a reset, which might destroy our last
/// bytes.
void Socks5Client::leave() {
  state_ = State::leaving;
  since_ = monotonic_now();
  (void)socket_.finish();
  linger();
}

void Socks5Client::linger() {
  std::array<std::byte, 8192> room;  // NOLINT(cppcoreguidelines-pro-type-member-init): zeroing would cost.
  for (;;) {
    const auto came = socket_.read(room);
    dropped_bytes_ += came.bytes;
    if (came.state == SocketState::blocked) return;
    if (came.state != SocketState::ready || dropped_bytes_ > linger_bytes_max) return close();
  }
}

void Socks5Client::on_tick(protocol::Time now) {
  switch (state_) {
    case State::closed: return;
    case State::opening: return opener_->on_tick(now);
    case State::leaving:
      if (now - since_ >= linger_time_max) close();
      return;
    case State::negotiating:
    case State::checking:
      if (now - since_ >= negotiation_time_max) close();
      return;
  }
}

/// Closes a client that has not sent its request yet.
void Socks5Client::on_drain() {
  if (state_ == State::negotiating) close();
}

void Socks5Client::close() {
  if (std::exchange(state_, State::closed) == State::closed) return;
  waits_.end();
  stream_.drop(Reason::cancelled);
  plane_.worker().poller().forget(*this);
  if (socket_) socket_.close();
  connection_.reset();
  plane_.clients().retire(*this);
}

}  // namespace culvert::server
