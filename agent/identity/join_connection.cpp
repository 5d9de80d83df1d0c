// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/join_connection.hpp"

#include <array>
#include <utility>

#include <boost/asio/deferred.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <fmt/core.h>

#include "agent/links/server_dialer.hpp"
#include "common/net/deadline.hpp"
#include "common/tls/tls_connect.hpp"

namespace culvert::agent {
namespace {

namespace asio = boost::asio;

constexpr std::chrono::seconds handshake_time_max{10};
/// A little longer than the server may take.
constexpr std::chrono::seconds answer_time_max = protocol::enrolment_time_max + std::chrono::seconds(5);

/// The TLS connection after the handshake: sends one frame and reads one answer.
class JoinConnection {
 public:
  JoinConnection(const asio::any_io_executor& executor, TlsConnected connected)
      : socket_(executor, connected.fd.get()),
        timer_(executor),
        engine_(std::move(connected.engine)),
        unread_(std::move(connected.unread)) {
    connected.fd.release();
    engine_->set_output(output_);
  }

  asio::awaitable<Result<void>> send(std::vector<std::byte> frame, Deadline deadline) {
    if (!engine_->write(frame)) co_return std::unexpected(engine_->error());
    const auto bytes = output_.bytes();
    auto sending = asio::async_write(socket_, asio::buffer(bytes.data(), bytes.size()), asio::deferred);
    const auto sent = co_await with_deadline(std::move(sending), timer_, deadline);
    if (sent.error == asio::error::timed_out) co_return timed_out();
    if (sent.error) co_return fail("join.closed", fmt::format("the connection broke: {}", sent.error.message()));
    co_return Result<void>();
  }

  asio::awaitable<Result<protocol::Enrolled>> receive(Deadline deadline) {
    protocol::AnswerReader reader;
    std::array<std::byte, 4 << 10> plaintext{};
    std::vector<std::byte> input = std::move(unread_);
    for (;;) {
      engine_->feed(input);
      for (;;) {
        const TlsEngine::Read read = engine_->read(plaintext);
        if (read.step == TlsEngine::Step::wants_input) break;
        if (read.step == TlsEngine::Step::failed) co_return std::unexpected(engine_->error());
        if (read.step == TlsEngine::Step::closed)
          co_return fail("join.closed", "the server ended the connection without an answer; its log says why");
        auto answer = reader.feed(std::span(plaintext).first(read.bytes));
        if (!answer)
          co_return fail("join.protocol", fmt::format("the server's answer is not one of the protocol's ({})",
                                                      protocol::to_string(answer.error())));
        if (*answer) co_return std::move(**answer);
      }
      input.resize(16 << 10);
      auto receiving = socket_.async_read_some(asio::buffer(input), asio::deferred);
      const auto received = co_await with_deadline(std::move(receiving), timer_, deadline);
      if (received.error == asio::error::timed_out) co_return timed_out();
      if (received.error)
        co_return fail("join.closed", fmt::format("the connection broke: {}", received.error.message()));
      input.resize(received.size);
    }
  }

 private:
  static std::unexpected<Error> timed_out() { return fail("join.timed_out", "the server did not answer in time"); }

  asio::posix::stream_descriptor socket_;
  asio::steady_timer timer_;
  std::unique_ptr<TlsEngine> engine_;
  std::vector<std::byte> unread_;
  SendBuffer output_{4 << 10};
};

}  // namespace

asio::awaitable<Result<protocol::Enrolled>> ask_on_join_connection(Server server, Offload& offload, TlsContext tls,
                                                                   JoinRequest request) {
  const auto executor = co_await asio::this_coro::executor;
  ServerDialer dialer(executor, server, offload);
  auto dialed = co_await dialer.dial();
  if (!dialed) co_return std::unexpected(dialed.error());
  auto connected = co_await tls_connect(std::move(dialed->fd), tls.make_ssl(), server.server_name,
                                        std::chrono::steady_clock::now() + handshake_time_max);
  if (!connected && connected.error().code == "tls.no_application_protocol")
    co_return fail("tls.no_application_protocol",
                   "the server does not enrol agents: it has no [enrolment], or its version is too old");
  if (!connected) co_return std::unexpected(connected.error());
  const ssl_st* const ssl = connected->engine->native();
  if (auto speaks = check_join_protocol(ssl); !speaks) co_return std::unexpected(speaks.error());
  auto frame = request(ssl);
  if (!frame) co_return std::unexpected(frame.error());
  JoinConnection connection(executor, std::move(*connected));
  const auto deadline = std::chrono::steady_clock::now() + answer_time_max;
  if (auto sent = co_await connection.send(std::move(*frame), deadline); !sent) co_return std::unexpected(sent.error());
  co_return co_await connection.receive(deadline);
}

}  // namespace culvert::agent
