// SPDX-License-Identifier: Apache-2.0
//   many_agents dial PORT AUTHORITY AGENTS TUNNELS    that many agents, each with an identity of its own, in one
//   process many_agents shake PORT AUTHORITY CONNECTIONS      TLS and nothing else: the other end of `accept`
//   many_agents accept PORT AUTHORITY                 the yardstick: what OpenSSL needs with our settings and no
//   Culvert
//
// AUTHORITY is the folder of a test's authority (certificates.py), with its key. Speaks the real protocol, prints
// "READY N" when all N stand, keeps them alive until a signal ends it, and ends with 1 as soon as one of them is lost.
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <fmt/core.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "common/base/instance.hpp"
#include "common/net/send_buffer.hpp"
#include "common/tls/peer_identity.hpp"
#include "common/tls/tls_context.hpp"
#include "common/tls/tls_engine.hpp"
#include "protocol/session.hpp"
#include "tests/testing/certificates.hpp"
#include "tests/testing/sockets.hpp"

namespace culvert::testing {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::size_t under_way_max = 64;  // Fewer than a server's limit of connections that have proved nothing.
constexpr int tick_ms = 500;

protocol::Time now() {
  return std::chrono::duration_cast<protocol::Time>(Clock::now().time_since_epoch());
}

template <typename T>
T need(T value, const std::string& what) {
  if (!value) throw std::runtime_error(what);
  return value;
}

Credential authority_in(const fs::path& folder) {
  const auto open = [](const fs::path& path) {
    return std::shared_ptr<std::FILE>(need(std::fopen(path.c_str(), "re"), path.string()), &std::fclose);
  };
  const auto certificate = open(folder / "ca.pem");
  const auto key = open(folder / "ca.key");
  return {{need(PEM_read_X509(certificate.get(), nullptr, nullptr, nullptr), "ca.pem"), &X509_free},
          {need(PEM_read_PrivateKey(key.get(), nullptr, nullptr, nullptr), "ca.key"), &EVP_PKEY_free},
          {}};
}

TlsContext context_of(Result<TlsContext> made) {
  if (!made) throw std::runtime_error(made.error().text);
  return *made;
}

/// Its certificate stands for none: each agent uses its own. The files are gone before a signal ends the program.
TlsContext agent_context(const Credential& authority) {
  const CertificateDirectory files;
  return context_of(TlsContext::for_agent(files.write("any", issue(authority, agent_request()), authority)));
}

/// One TLS connection to the server; with a session, one tunnel.
class Connection {
 public:
  Connection(UniqueFd fd, UniqueSsl ssl, const std::optional<protocol::Hello>& hello)
      : fd_(std::move(fd)), engine_(std::move(ssl)) {
    ::fcntl(fd_.get(), F_SETFL, O_NONBLOCK);
    if (hello) session_.emplace(protocol::SessionOptions{.role = protocol::Role::agent, .hello = *hello}, now());
  }

  int fd() const { return fd_.get(); }
  bool stands() const { return stands_; }

  void step(bool may_read) {
    std::array<std::byte, 16'384> room{};
    const ssize_t size = may_read ? ::recv(fd_.get(), room.data(), room.size(), 0) : -1;
    if (size == 0 || (may_read && size < 0 && errno != EAGAIN))
      throw std::runtime_error("the server closed a connection");
    engine_.set_output(output_);
    if (size > 0) engine_.feed(std::span(room).first(static_cast<std::size_t>(size)));
    if (!shaken_) shaken_ = judge(engine_.handshake()) == TlsEngine::Step::done;
    if (shaken_) {
      if (session_) {
        talk(*session_);
      } else {
        stands_ = true;
      }
    }
    flush();
  }

 private:
  TlsEngine::Step judge(TlsEngine::Step step) {
    if (step == TlsEngine::Step::failed) throw std::runtime_error(engine_.error().text);
    if (step == TlsEngine::Step::closed) throw std::runtime_error("the server ended TLS");
    return step;
  }

  void talk(protocol::Session& session) {
    std::array<std::byte, 16'384> room{};
    for (;;) {
      const TlsEngine::Read read = engine_.read(room);
      if (judge(read.step) == TlsEngine::Step::wants_input) break;
      session.feed(std::span(room).first(read.bytes), now());
      hear(session);
    }
    if (now() >= session.deadline()) session.on_time(now());
    hear(session);
    const protocol::Outgoing out = session.next_outgoing(room);
    if (out.kind == protocol::Outgoing::Kind::frames && !engine_.write(std::span(room).first(out.bytes)))
      throw std::runtime_error(engine_.error().text);
  }

  void hear(protocol::Session& session) {
    while (auto event = session.next_event()) {
      if (std::holds_alternative<protocol::Welcomed>(*event)) stands_ = true;
      if (const auto* ended = std::get_if<protocol::Ended>(&*event)) throw std::runtime_error(ended->text);
    }
  }

  void flush() {
    const auto bytes = output_.bytes();
    const ssize_t sent = bytes.empty() ? 0 : ::send(fd_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent != static_cast<ssize_t>(bytes.size())) throw std::runtime_error("the socket takes no more");
    output_.drop(bytes.size());
  }

  UniqueFd fd_;
  TlsEngine engine_;
  SendBuffer output_{0};
  std::optional<protocol::Session> session_;
  bool shaken_ = false;
  bool stands_ = false;
};

/// All connections, over one epoll set.
class Crowd {
 public:
  Crowd(std::uint16_t port, const fs::path& authority, std::size_t agents, std::optional<std::size_t> tunnels)
      : server_(loopback(port)),
        authority_(authority_in(authority)),
        agents_(agents),
        tunnels_(tunnels),
        context_(agent_context(authority_)),
        epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}

  void run() {
    const std::size_t wanted = agents_ * tunnels_.value_or(1);
    std::vector<epoll_event> events(256);
    bool said = false;
    for (auto ticked = Clock::now();;) {
      while (all_.size() < wanted && all_.size() - standing_ < under_way_max) begin();
      const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), tick_ms);
      for (int i = 0; i < count; ++i)
        step(*static_cast<Connection*>(events[static_cast<std::size_t>(i)].data.ptr), true);
      if (Clock::now() - ticked >= std::chrono::milliseconds(tick_ms)) {
        ticked = Clock::now();
        for (const auto& connection : all_) step(*connection, false);
      }
      if (standing_ < wanted || said) continue;
      said = true;
      fmt::print("READY {}\n", standing_);
      (void)std::fflush(stdout);
    }
  }

 private:
  /// Slot by slot, agent by agent.
  void begin() {
    const std::size_t slot = all_.size() % tunnels_.value_or(1);
    if (slot == 0) {
      agent_ = issue(
          authority_,
          agent_request(fmt::format("URI:spiffe://test.culvert/account/acme/location/site-{}/agent/one", all_.size())));
      instance_ = random_instance();
    }
    std::optional<protocol::Hello> hello;
    if (tunnels_) hello = protocol::Hello{.instance = instance_, .slot = static_cast<std::uint32_t>(slot)};
    UniqueSsl ssl = context_.make_ssl();
    need(SSL_use_cert_and_key(ssl.get(), agent_.certificate.get(), agent_.key.get(), nullptr, 1), "the certificate");
    need(set_expected_server_name(ssl.get(), "localhost").has_value(), "the server's name");
    UniqueFd fd = connected_socket(server_);
    need(static_cast<bool>(fd), fmt::format("no connection number {}: {}", all_.size() + 1, std::strerror(errno)));
    all_.push_back(std::make_unique<Connection>(std::move(fd), std::move(ssl), hello));
    epoll_event event{.events = EPOLLIN, .data = {.ptr = all_.back().get()}};
    need(::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, all_.back()->fd(), &event) == 0, "epoll_ctl");
    step(*all_.back(), false);
  }

  void step(Connection& connection, bool may_read) {
    const bool before = connection.stands();
    connection.step(may_read);
    if (!before && connection.stands()) ++standing_;
  }

  const boost::asio::ip::tcp::endpoint server_;
  const Credential authority_;
  const std::size_t agents_;
  const std::optional<std::size_t> tunnels_;  ///< Of each agent; none: TLS only.
  const TlsContext context_;
  UniqueFd epoll_;
  Credential agent_;
  protocol::InstanceId instance_{};
  std::vector<std::unique_ptr<Connection>> all_;
  std::size_t standing_ = 0;
};

/// Accepts, shakes hands, and keeps what OpenSSL keeps then. Nothing of ours but the settings.
void accept_all(std::uint16_t port, const fs::path& authority) {
  const TlsContext context =
      context_of(TlsContext::for_server({authority / "server.pem", authority / "server.key", authority / "ca.pem"}));
  const UniqueFd listening = bound_socket(loopback(port), 128);
  std::vector<std::pair<UniqueFd, UniqueSsl>> all;
  for (;;) {
    UniqueFd fd(need(::accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC), "accept"));
    UniqueSsl ssl = context.make_ssl();
    SSL_set_mode(ssl.get(), SSL_MODE_RELEASE_BUFFERS);  // Also where a change of ours forgets it: that must show.
    SSL_set_fd(ssl.get(), fd.get());
    // A probe of whether the port is open says nothing.
    if (SSL_accept(ssl.get()) != 1) continue;
    all.emplace_back(std::move(fd), std::move(ssl));
    fmt::print("ACCEPTED {}\n", all.size());
    (void)std::fflush(stdout);
  }
}

void run(std::span<const std::string_view> arguments) {
  const auto number = [&](std::size_t index) {
    return std::strtoul(std::string(arguments[index]).c_str(), nullptr, 10);
  };
  const auto is = [&](std::string_view mode, std::size_t count) {
    return arguments.size() == count && arguments[0] == mode;
  };
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
  if (is("accept", 3)) return accept_all(static_cast<std::uint16_t>(number(1)), arguments[2]);
  if (is("shake", 4)) return Crowd(static_cast<std::uint16_t>(number(1)), arguments[2], number(3), std::nullopt).run();
  if (is("dial", 5)) return Crowd(static_cast<std::uint16_t>(number(1)), arguments[2], number(3), number(4)).run();
  throw std::runtime_error("usage: many_agents dial|shake|accept PORT AUTHORITY …");
}

}  // namespace
}  // namespace culvert::testing

int main(int argc, char** argv) {
  try {
    const std::vector<std::string_view> arguments(argv + 1, argv + argc);
    culvert::testing::run(arguments);
  } catch (const std::exception& error) {
    fmt::print(stderr, "many_agents: {}\n", error.what());
  }
  return 1;
}
