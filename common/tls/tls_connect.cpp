// SPDX-License-Identifier: Apache-2.0
#include "common/tls/tls_connect.hpp"

#include <array>
#include <utility>
#include <vector>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <fmt/core.h>

#include "common/net/deadline.hpp"
#include "common/tls/peer_identity.hpp"

namespace culvert {

namespace asio = boost::asio;

asio::awaitable<Result<TlsConnected>> tls_connect(UniqueFd fd, UniqueSsl ssl, std::string server_name,
                                                  std::chrono::steady_clock::time_point deadline) {
  if (auto expected = set_expected_server_name(ssl.get(), server_name); !expected)
    co_return std::unexpected(expected.error());
  auto engine = std::make_unique<TlsEngine>(std::move(ssl));
  const auto executor = co_await asio::this_coro::executor;
  asio::posix::stream_descriptor socket(executor);
  boost::system::error_code unwatchable;
  socket.assign(fd.get(), unwatchable);
  if (unwatchable)
    co_return fail("dial.no_descriptors",
                   fmt::format("the kernel cannot watch another socket: {}", unwatchable.message()));
  fd.release();
  asio::steady_timer timer(executor);
  SendBuffer output(4 << 10);
  std::vector<std::byte> input(16 << 10);
  engine->set_output(output);
  for (;;) {
    const TlsEngine::Step step = engine->handshake();
    while (!output.empty()) {
      const auto bytes = output.bytes();
      auto sending = asio::async_write(socket, asio::buffer(bytes.data(), bytes.size()), asio::deferred);
      const auto sent = co_await with_deadline(std::move(sending), timer, deadline);
      if (sent.error == asio::error::timed_out) co_return fail("tls.timed_out", "the TLS handshake took too long");
      if (sent.error)
        co_return fail("tls.closed",
                       fmt::format("the connection broke in the TLS handshake: {}", sent.error.message()));
      output.drop(sent.size);
    }
    if (step == TlsEngine::Step::done) break;
    if (step != TlsEngine::Step::wants_input) co_return std::unexpected(engine->error());
    auto receiving = socket.async_read_some(asio::buffer(input), asio::deferred);
    const auto received = co_await with_deadline(std::move(receiving), timer, deadline);
    if (received.error == asio::error::timed_out) co_return fail("tls.timed_out", "the TLS handshake took too long");
    if (received.error)
      co_return fail("tls.closed",
                     fmt::format("the connection broke in the TLS handshake: {}", received.error.message()));
    engine->feed(std::span(input).first(received.size));
  }
  std::vector<std::byte> rest(engine->unread().begin(), engine->unread().end());
  UniqueFd plain(socket.release());
  TlsConnected connected{std::move(plain), std::move(engine), std::move(rest)};
  co_return connected;
}

}  // namespace culvert
