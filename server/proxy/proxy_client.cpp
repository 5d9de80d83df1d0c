// SPDX-License-Identifier: Apache-2.0
#include "server/proxy/proxy_client.hpp"

#include <utility>

#include <sys/epoll.h>

#include "common/http/characters.hpp"
#include "common/http/head_writer.hpp"
#include "common/net/monotonic_time.hpp"
#include "server/proxy/client_exchange.hpp"
#include "server/proxy/http_proxy.hpp"
#include "server/proxy/response_fields.hpp"

namespace culvert::server {

using http::Parsed;
using protocol::Reason;
using SocketState = DataSocket::State;

namespace {

constexpr std::chrono::seconds linger_time_max{2};
constexpr std::size_t linger_bytes_at_once = 256 << 10;

}  // namespace

void ProxyClient::start(DataPlane& plane, Setup setup) {
  ProxyClient& started = plane.clients().add(std::make_unique<ProxyClient>(plane, std::move(setup)));
  if (!plane.worker().poller().add(started.socket_.fd(), EPOLLIN | EPOLLOUT | EPOLLRDHUP, started))
    return started.close();
  started.readable_ = true;
  if (!started.exchange_) return started.read_requests();
  started.state_ = State::exchanging;
  started.exchange_->resume(started);
}

ProxyClient::ProxyClient(DataPlane& plane, Setup setup)
    : plane_(plane),
      context_(std::move(setup.context)),
      source_(setup.source),
      source_text_(source_.to_string()),
      connection_(std::move(setup.connection)),
      waits_(std::move(setup.clients), plane, *this),
      has_sent_(setup.has_sent || setup.exchange),
      socket_(DataSocket(std::move(setup.socket)), std::move(setup.read_ahead)),
      since_(monotonic_now()),
      parser_(setup.inside ? http::Role::origin : context_->role, *context_->head_limits.get()),
      inside_(std::move(setup.inside)),
      subject_(std::move(setup.subject)),
      bonds_(std::move(setup.bonds)),
      exchange_(std::move(setup.exchange)) {}

ProxyClient::~ProxyClient() {
  plane_.worker().forget(*this);
  plane_.worker().poller().forget(*this);
}

void ProxyClient::touch() {
  if (std::exchange(touched_, true)) return;
  plane_.worker().at_end_of_turn(*this);
}

void ProxyClient::on_turn_end() {
  touched_ = false;
  if (state_ == State::closed) return;
  flush();
  if (state_ == State::exchanging && exchange_->broke_off()) exchange_->settle_break();
  if (state_ == State::reading) read_requests();
}

// ---- requests

/// Begins the next request once its head is complete. Bytes after the head stay unread until then (threats B21).
void ProxyClient::read_requests() {
  forget_exchange();
  for (;;) {
    if (!socket_.input().empty()) {
      const Parsed parsed = parser_.parse(socket_.input());
      if (parsed == Parsed::complete) return begin_request();
      if (parsed == Parsed::refused) {
        ProxyError error = error_of(parser_.refusal());
        error.detail = parser_.refused_byte();
        return answer(error);
      }
    }
    if (!readable_ && plane_.is_draining() && socket_.input().empty()) return end_idle();
    if (!readable_) return waits_.begin();
    const bool was_idle = socket_.input().empty();
    switch (socket_.read_ahead()) {
      case SocketState::ready: break;
      case SocketState::blocked: readable_ = false; break;
      case SocketState::ended:
      case SocketState::cut: return end_idle();
      case SocketState::failed: return close();
    }
    if (!was_idle || socket_.input().empty()) continue;
    since_ = monotonic_now();
    has_sent_ = true;
    waits_.end();  // It waits anew, for the rest of the head.
  }
}

void ProxyClient::forget_exchange() {
  if (!exchange_) return;
  exchange_.reset();
  parser_.reset();
}

void ProxyClient::begin_request() {
  exchange_ = std::make_unique<ClientExchange>(*this, parser_);
  socket_.use(parser_.used());
  waits_.end();
  state_ = State::exchanging;
  if (!inside_) return ask_for_caller();
  // RFC 9112 3.2.2: the host of an absolute target must be the one that is here.
  const Endpoint& asked = exchange_->head().authority;
  if (parser_.is_target_absolute() && asked != inside_->authority && asked != parser_.host())
    return answer(error_of(http::refusals::misdirected));
  // Requests inside CONNECT go to its authority; their Host field is for the back end only.
  exchange_->set_authority(inside_->authority);
  if (exchange_->ends_here()) return answer_itself();
  send_to_agent(*this, *exchange_, inside_->route);
}

void ProxyClient::ask_for_caller() {
  const auto rules = context_->rules.get();
  const http::RequestHead& head = exchange_->head();
  std::string_view credentials = parser_.proxy_authorization();
  if (is_for_server(head)) credentials = head.fields.find("Authorization").value_or("");
  const auto question = question_of(head.fields, credentials, rules->callers, source_);
  if (!question) return refuse_caller(question.error());
  rules->ask(plane_.worker(), *question,
             [&plane = plane_, handle = plane_.clients().handle_of(*this)](std::expected<Caller, CallerFlaw> verdict) {
               ProxyClient* client = plane.clients().find(handle);
               // The client may have closed meanwhile, or got an answer because it was too slow.
               if (client != nullptr && client->state_ == State::exchanging) client->on_caller(std::move(verdict));
             });
}

bool ProxyClient::is_for_server(const http::RequestHead& head) const {
  return context_->is_for_server && context_->is_for_server(head);
}

void ProxyClient::refuse_caller(ProxyError error) {
  if (error.status == 407 && is_for_server(exchange_->head())) error.status = 401;
  answer(error);
}

void ProxyClient::on_caller(std::expected<Caller, CallerFlaw> verdict) {
  if (!verdict) return refuse_caller(error_of_caller(verdict.error()));
  subject_ = verdict->subject;
  if (exchange_->ends_here()) return answer_itself();
  context_->open(*this, *exchange_, std::move(*verdict));
}

void ProxyClient::begin_inside(FixedHost host) {
  inside_ = std::move(host);
  parser_ = http::RequestParser(http::Role::origin, *context_->head_limits.get());
  socket_.write("HTTP/1.1 200 Connection established\r\n\r\n");
  state_ = State::reading;
  since_ = monotonic_now();
  touch();
}

void ProxyClient::move_to(DataPlane& there) {
  plane_.worker().poller().remove(socket_.fd(), *this);
  auto [socket, read_ahead] = socket_.release();
  auto setup = std::make_shared<Setup>(Setup{.context = context_,
                                             .socket = socket.release(),
                                             .read_ahead = std::move(read_ahead),
                                             .source = source_,
                                             .connection = std::move(connection_),
                                             .clients = waits_.clients(),
                                             .has_sent = true,
                                             .inside = std::move(inside_),
                                             .subject = std::move(subject_),
                                             .exchange = std::move(exchange_),
                                             .bonds = std::move(bonds_)});
  there.worker().post([&there, setup] { start(there, std::move(*setup)); });
  close();
}

// ---- the socket

void ProxyClient::on_ready(std::uint32_t events) {
  if (state_ == State::closed) return;
  if ((events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) socket_.note_hangup();
  if ((events & EPOLLRDHUP) != 0 && !std::exchange(has_hung_up_, true)) silent_since_ = monotonic_now();
  // The client has closed: no answer can be sent.
  if ((events & (EPOLLHUP | EPOLLERR)) != 0) return close();
  if ((events & EPOLLOUT) != 0 && socket_.has_output()) flush();
  if ((events & (EPOLLIN | EPOLLRDHUP)) == 0 || state_ == State::closed) return;
  readable_ = true;
  if (state_ == State::reading) return read_requests();
  if (state_ == State::exchanging) return exchange_->set_readable();
  if (state_ == State::lingering) linger();
}

void ProxyClient::flush() {
  const std::size_t waited = socket_.waiting();
  if (!socket_.flush()) return close();
  const bool in_exchange = state_ == State::exchanging;
  if (in_exchange) exchange_->settle_taken(waited);
  if (socket_.has_output()) return;
  if (state_ == State::breaking) return reset_when_sent();
  const bool raw_end = in_exchange && exchange_->is_raw() && exchange_->course().response_is_complete;
  if (state_ != State::leaving && !raw_end) return;
  if (!socket_.finish()) return;
  if (raw_end && !exchange_->course().request_is_complete) return;  // A half-close: the other direction continues.
  state_ = State::lingering;
  since_ = monotonic_now();
  readable_ = true;
  linger();
}

/// Reads and discards input until the client closes or the time is over. A close with unread bytes would send a reset,
/// which might destroy our last bytes.
void ProxyClient::linger() {
  for (std::size_t dropped = 0; readable_ && dropped < linger_bytes_at_once;) {
    const SocketState state = socket_.read_ahead();
    dropped += socket_.input().size();
    socket_.use(socket_.input().size());
    if (state == SocketState::blocked) readable_ = false;
    if (state != SocketState::ready && state != SocketState::blocked) return close();
  }
  if (!readable_) return;
  // The client still sends: let others run first.
  plane_.worker().post([&plane = plane_, handle = plane_.clients().handle_of(*this)] {
    ProxyClient* client = plane.clients().find(handle);
    if (client != nullptr && client->state_ == State::lingering) client->linger();
  });
}

// ---- the ends

/// The client's own, where its port takes that over.
std::string ProxyClient::request_id() {
  constexpr std::size_t bytes_max = 128;
  const bool takes_over = context_->errors == ErrorFormat::gateway && state_ == State::exchanging;
  const auto own = takes_over ? exchange_->head().fields.find("X-Request-Id") : std::nullopt;
  return own && own->size() <= bytes_max && http::is_token(*own) ? std::string(*own) : next_request_id();
}

void ProxyClient::answer(const ProxyError& error) {
  const bool understood = state_ == State::exchanging;
  const std::string id = request_id();
  const bool keeps = understood && exchange_->course().request_is_complete && !exchange_->course().request.close &&
                     !exchange_->is_connect();
  context_->log.limited(Log::Level::info, "request.failed",
                        {{"status", error.status}, {"code", error.code}, {"request_id", id}});
  plane_.counters().http_errors(error.status).add();
  const bool is_head = understood ? exchange_->is_head() : parser_.head().method == "HEAD";
  socket_.write(write_error(error, context_->errors, id, !is_head, keeps));
  if (understood) exchange_->drop(Reason::cancelled);
  end_answer(error.status, keeps);
}

/// The last recipient of OPTIONS says what it can do, and that of TRACE what it received (RFC 9110 9.3.7, 9.3.8).
void ProxyClient::answer_itself() {
  http::RequestHead head = exchange_->head();
  http::Fields fields;
  std::string body;
  if (head.method == "TRACE") {
    for (const char* secret : {"Authorization", "Cookie", "Proxy-Authorization"}) head.fields.erase(secret);
    if (head.path.empty()) head.path = "/";
    http::write_request(body, head, http::AfterThis::keep);
    fields.add("Content-Type", "message/http");
  } else {
    fields.add("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE, CONNECT");
  }
  answer_with(200, std::move(fields), body);
}

void ProxyClient::answer_with(int status, http::Fields fields, std::string_view body) {
  http::ResponseHead answer;
  answer.status = status;
  answer.fields = std::move(fields);
  answer.framing = {http::Framing::Kind::length, body.size()};
  set_own_fields(answer);
  const bool keeps = exchange_->course().request_is_complete && !exchange_->course().request.close;
  std::string text;
  http::write_response(text, answer, http::Transfer::length, keeps ? http::AfterThis::keep : http::AfterThis::close);
  socket_.write(text);
  if (!exchange_->is_head()) socket_.write(body);
  end_answer(answer.status, keeps);
}

void ProxyClient::end_answer(int status, bool keeps) {
  touch();
  if (!keeps) return leave();
  exchange_->note_answered(status);
  end_exchange();
}

void ProxyClient::break_off() {
  state_ = State::breaking;
  since_ = monotonic_now();
  flush();
}

/// A reset makes the kernel discard what it has not sent yet.
void ProxyClient::reset_when_sent() {
  if (!socket_.is_all_sent()) return;
  socket_.reset();
  close();
}

void ProxyClient::note_cut(std::string_view why) {
  context_->log.limited(Log::Level::info, "response.cut",
                        {{"virtual_host", to_string(exchange_->head().authority)}, {"reason", why}});
}

void ProxyClient::begin_bonds() {
  if (!bonds_) bonds_ = std::make_unique<ProxyBonds>();
}

void ProxyClient::end_exchange() {
  if (exchange_->is_raw() || !http::may_reuse_client(exchange_->course()) || plane_.is_draining()) return leave();
  state_ = State::reading;
  since_ = monotonic_now();
  touch();  // The next request is read in the next turn, even if the client pipelined several.
}

void ProxyClient::leave() {
  waits_.end();
  state_ = State::leaving;
  since_ = monotonic_now();
  flush();
}

/// The client sends nothing more, or must not: the end of the last response may still wait for it.
void ProxyClient::end_idle() {
  socket_.has_output() ? leave() : close();
}

void ProxyClient::on_drain() {
  if (is_idle()) end_idle();
}

void ProxyClient::on_tick(protocol::Time now) {
  if (state_ == State::closed) return;
  if (state_ == State::exchanging) exchange_->on_tick(now);
  if (state_ == State::breaking) flush();
  if (state_ != State::closed && is_too_slow(now)) return end_slow_client();
  if (!has_abandoned(now)) return;
  context_->log.limited(Log::Level::info, "client.gone", {{"source", source_text_}});
  close();
}

/// A client that has only closed its direction still waits for the end of its response. If that stands still, the back
/// end would not learn that the client is gone.
bool ProxyClient::has_abandoned(protocol::Time now) {
  if (state_ != State::exchanging || !has_hung_up_ || exchange_->is_raw()) return false;
  const std::uint64_t bytes = exchange_->response_bytes();
  if (std::exchange(response_bytes_seen_, bytes) != bytes || socket_.has_output()) silent_since_ = now;
  return now - silent_since_ >= context_->rules.get()->abandoned_after;
}

bool ProxyClient::is_too_slow(protocol::Time now) {
  const bool is_raw = state_ == State::exchanging && exchange_->is_raw();
  const bool something_waits = state_ == State::breaking || (socket_.has_output() && !is_raw);
  if (reading_pace_.is_stalled(something_waits, something_waits ? socket_.acknowledged() : 0, now)) return true;
  switch (state_) {
    case State::reading:
      if (!socket_.input().empty()) return now - since_ >= head_time_max;
      return now - since_ >= (has_sent_ ? idle_time_max : first_byte_time_max);
    case State::exchanging: return exchange_->is_too_slow(!readable_ && socket_.input().empty(), now);
    case State::leaving:
    case State::breaking: return false;
    case State::lingering: return now - since_ >= linger_time_max;
    case State::closed: return false;
  }
  return false;
}

void ProxyClient::end_slow_client() {
  const bool awaits_answer = state_ == State::exchanging || (state_ == State::reading && !socket_.input().empty());
  if (awaits_answer && !socket_.has_output()) {
    return answer({408,
                   "request.too_slow",
                   "http_request_error",
                   "the request was sent too slowly",
                   "send a head within 10 s, and 256 bytes of a body per second",
                   {},
                   false});
  }
  context_->log.limited(
      Log::Level::info, "client.stalled",
      {{"source", source_text_}, {"owed", socket_.has_output() ? "to read the response" : "a request"}});
  if (exchange_) exchange_->drop(Reason::stalled);
  // Bytes are missing at the client: the close must not look like the end of the response.
  if (socket_.has_output()) socket_.reset();
  close();
}

void ProxyClient::close() {
  if (std::exchange(state_, State::closed) == State::closed) return;
  waits_.end();
  if (exchange_) exchange_->drop(Reason::cancelled);
  plane_.worker().poller().forget(*this);
  if (socket_) socket_.close();
  connection_.reset();
  plane_.clients().retire(*this);
}

}  // namespace culvert::server
