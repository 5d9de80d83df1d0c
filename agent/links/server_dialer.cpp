// SPDX-License-Identifier: Apache-2.0
#include "agent/links/server_dialer.hpp"

#include <chrono>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/core.h>

#include "common/config/secret_file.hpp"
#include "common/upstream/connect_proxy.hpp"

namespace culvert::agent {

namespace {

constexpr std::chrono::seconds dial_time_max{10};

/// Blocks: the file may be on a network's file system.
Result<std::vector<char>> read_credentials(const ProxySettings& settings) {
  const auto password = read_secret_file(settings.password_file);
  if (!password) return std::unexpected(password.error());
  const std::string_view secret = password->reveal();
  std::vector<char> credentials;
  credentials.reserve(settings.user.size() + 1 + secret.size());
  credentials.assign(settings.user.begin(), settings.user.end());
  credentials.push_back(':');
  credentials.insert(credentials.end(), secret.begin(), secret.end());
  return credentials;
}

/// Reads the password at each dial, so that a changed file counts, and off the loop.
boost::asio::awaitable<Result<std::vector<char>>> credentials_of(Offload& offload, ProxySettings settings,
                                                                 Deadline deadline) {
  const std::function read = [settings] { return read_credentials(settings); };
  auto credentials = co_await offload.run(read, deadline);
  if (!credentials) {
    co_return fail("secret.unreadable", fmt::format("{} was not read in time: does its file system answer?",
                                                    settings.password_file.string()));
  }
  co_return std::move(*credentials);
}

}  // namespace

ServerDialer::ServerDialer(const boost::asio::any_io_executor& executor, const Server& server, Offload& offload)
    : address_(server.address), offload_(offload), dialer_(executor) {
  if (server.proxy && !bypasses_proxy(server.address.host, server.proxy->no_proxy)) proxy_ = server.proxy;
}

boost::asio::awaitable<Result<DialedSocket>> ServerDialer::dial() {
  const auto deadline = std::chrono::steady_clock::now() + dial_time_max;
  if (!proxy_) {
    DialTarget target{address_, {}};
    co_return co_await dialer_.dial(std::move(target), deadline);
  }
  ConnectProxy proxy;
  proxy.endpoint = proxy_->address;
  if (!proxy_->user.empty())
    proxy.credentials = [this](Deadline until) { return credentials_of(offload_, *proxy_, until); };
  co_return co_await dial_through_proxy(dialer_, proxy, address_, deadline);
}

}  // namespace culvert::agent
