// SPDX-License-Identifier: Apache-2.0
#include "tests/testing/tunnel_pair.hpp"

#include <array>
#include <cerrno>
#include <future>
#include <stdexcept>
#include <utility>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/net/socket_address.hpp"
#include "common/net/socket_options.hpp"
#include "common/ports/tcp_port.hpp"
#include "common/tls/peer_identity.hpp"
#include "common/tunnel/relay.hpp"
#include "tests/testing/sockets.hpp"

namespace culvert::testing {
namespace {

constexpr std::chrono::seconds wait_max{10};
constexpr const char* key = "server";

bool is_ready(int fd, short events) {
  pollfd waiting{fd, events, 0};
  return ::poll(&waiting, 1, std::chrono::milliseconds(wait_max).count()) == 1;
}

UniqueFd duplicate(int fd) {
  return UniqueFd(::fcntl(fd, F_DUPFD_CLOEXEC, 0));
}

void set_non_blocking(int fd) {
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
}

std::int64_t gauges(const DataPlaneCounters& c) {
  return c.tunnels.value() + c.streams.value() + c.relays.value() + c.buffered_bytes.value() + c.window_bytes.value() +
         c.dials.value();
}

}  // namespace

std::string pattern(std::size_t size, std::uint32_t seed) {
  std::string bytes(size, '\0');
  std::uint32_t state = seed * 2'654'435'761U + 1;
  for (char& byte : bytes) {
    state = state * 1'664'525U + 1'013'904'223U;
    byte = static_cast<char>(state >> 24);
  }
  return bytes;
}

void send_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t size = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (size > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(size));
    } else if (errno != EAGAIN || !is_ready(fd, POLLOUT)) {
      throw std::runtime_error("the socket took no more bytes");
    }
  }
}

std::size_t send_some(int fd, std::string_view bytes) {
  const ssize_t size = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  return size > 0 ? static_cast<std::size_t>(size) : 0;
}

std::string receive(int fd, std::size_t size) {
  std::string bytes(size, '\0');
  std::size_t got = 0;
  while (got < size) {
    if (!is_ready(fd, POLLIN)) break;
    const ssize_t more = ::recv(fd, bytes.data() + got, size - got, MSG_DONTWAIT);
    if (more <= 0) break;
    got += static_cast<std::size_t>(more);
  }
  bytes.resize(got);
  return bytes;
}

Received receive_to_end(int fd) {
  Received received;
  std::array<char, 65'536> room;
  while (is_ready(fd, POLLIN)) {
    const ssize_t size = ::recv(fd, room.data(), room.size(), MSG_DONTWAIT);
    if (size == 0) received.end = End::clean;
    if (size < 0) received.end = End::reset;
    if (size <= 0) break;
    received.bytes.append(room.data(), static_cast<std::size_t>(size));
  }
  return received;
}

void half_close(int fd) {
  ::shutdown(fd, SHUT_WR);
}

void reset(UniqueFd& fd) {
  reset_on_close(fd.get());
  fd.close();
}

void on(DataPlane& plane, const std::function<void(DataPlane&)>& task) {
  std::promise<void> done;
  plane.worker().post([&] {
    task(plane);
    done.set_value();
  });
  done.get_future().get();
}

bool eventually(DataPlanes& planes, std::function<bool(DataPlane&)> holds) {
  std::promise<bool> answer;
  auto last = std::make_shared<std::atomic<bool>>(false);
  const auto busy = [holds = std::move(holds), last](DataPlane& plane) {
    const bool held = holds(plane);
    if (!held) last->store(true);
    return !held;
  };
  planes.home().post([&] {
    planes.when_idle(
        [busy, last](DataPlane& plane) { return busy(plane); }, std::chrono::steady_clock::now() + wait_max,
        [&, last, busy] {
          // when_idle() does not report whether the deadline has passed: check again.
          last->store(false);
          planes.on_each([busy](DataPlane& plane) { busy(plane); }, [&, last] { answer.set_value(!last->load()); });
        });
  });
  return answer.get_future().get();
}

void Side::on_greeted(Tunnel& tunnel, const protocol::Hello&) {
  tunnel.welcome({});
  up.put(tunnel.id());
}

void Side::on_welcomed(Tunnel& tunnel, const protocol::Welcome&) {
  welcomed(tunnel);
  up.put(tunnel.id());
}

void Side::on_draining(Tunnel& tunnel, std::chrono::milliseconds) {
  draining.put(tunnel.id());
}

void Side::on_closed(Tunnel&, const Error& why) {
  closed.put(why);
}

TunnelPair::TunnelPair(Options options)
    : server(options.workers, options.memory_budget_bytes),
      agent(options.workers, options.memory_budget_bytes),
      options_(options),
      authority_(make_authority()),
      null_(::open("/dev/null", O_WRONLY | O_CLOEXEC)),
      log_(LogSettings{}, null_.get()),
      listening_(bound_socket(loopback(), 128)),
      quota_{.descriptors = options_.descriptors, .holder = "agent"},
      directory_(agent) {
  auto server_tls = TlsContext::for_server(files_.write("server", issue(authority_, server_request()), authority_));
  auto agent_tls = TlsContext::for_agent(files_.write("agent", issue(authority_, agent_request()), authority_));
  if (!server_tls || !agent_tls) throw std::runtime_error("the test's certificates do not load");
  server_tls_ = *server_tls;
  agent_tls_ = *agent_tls;
  target.endpoint = {"127.0.0.1", local_endpoint_of(listening_.get()).port()};
  target.name = "test";
  for (std::size_t i = 0; i < options_.workers; ++i)
    dialers_.push_back(
        std::make_unique<TargetDialer>(server.plane(i).worker(), server.plane(i).counters().dials, log_));
  server_side.opened = [this](Tunnel& tunnel, Stream stream, const protocol::Open&) {
    dial(tunnel, std::move(stream));
  };
  agent_side.welcomed = [this](Tunnel& tunnel) {
    directory_.add(key, {tunnel.id(), tunnel.plane().worker().index(), tunnel.load()});
  };

  TcpRoute route;
  route.key = key;
  route.open.name = "web";
  route.name = "channel web";
  ClientPort::Settings settings;
  settings.port.listen = {"127.0.0.1", 0};
  settings.port.connections_max = options_.connections_max;
  settings.name = "channel web";
  settings.serve = serve_tcp(directory_, log_, std::move(route));
  auto port = ClientPort::open(agent, log_, std::move(settings));
  if (!port) throw std::runtime_error(port.error().text);
  port_ = std::move(*port);
  port_->start();
  port_number_ = port_->local_endpoint().port();

  server.start();
  agent.start();
  for (std::size_t i = 0; i < options_.tunnels; ++i) start_tunnel(i);
  for (std::size_t i = 0; i < options_.tunnels; ++i) {
    if (!agent_side.up.take() || !server_side.up.take()) throw std::runtime_error("a tunnel was not established");
  }
  if (!eventually(agent, [this](DataPlane&) { return directory_.count(key) == options_.tunnels; }))
    throw std::runtime_error("a tunnel is not listed");
}

TunnelPair::~TunnelPair() {
  port_.reset();
  for (DataPlanes* planes : {&agent, &server}) {
    planes->on_each([](DataPlane& plane) { close_all(plane, protocol::Reason::shutdown, "the test ends"); });
  }
  server.on_each([this](DataPlane& plane) { dialers_[plane.worker().index()]->request_stop(); });
  EXPECT_TRUE(eventually(server, [this](DataPlane& plane) { return dialers_[plane.worker().index()]->size() == 0; }));
  EXPECT_TRUE(is_empty()) << "something is left";
  agent.stop();
  server.stop();
}

void TunnelPair::start_tunnel(std::size_t index) {
  const UniqueFd door = bound_socket(loopback(), 1);
  UniqueFd agent_end = connected_socket(local_endpoint_of(door.get()));
  UniqueFd server_end(::accept4(door.get(), nullptr, nullptr, SOCK_CLOEXEC));
  set_non_blocking(agent_end.get());
  set_non_blocking(server_end.get());
  cables_.push_back(duplicate(agent_end.get()));

  const auto add = [&](DataPlanes& planes, Side& side, UniqueFd fd, UniqueSsl ssl, protocol::Role role) {
    auto setup = std::make_shared<Tunnel::Setup>();
    setup->id = DataPlane::next_tunnel_id();
    setup->fd = std::move(fd);
    setup->ssl = std::move(ssl);
    setup->session.role = role;
    setup->session.hello.slot = static_cast<std::uint32_t>(index);
    setup->peer = "test";
    setup->key_update_bytes = options_.key_update_bytes;
    setup->memory_holder = role == protocol::Role::agent ? agent_memory : server_memory;
    DataPlane& plane = planes.plane(index % options_.workers);
    plane.worker().post(
        [&plane, &side, setup] { plane.add(std::make_unique<Tunnel>(plane, std::move(*setup), side)); });
  };
  UniqueSsl dialling = agent_tls_->make_ssl();
  if (!set_expected_server_name(dialling.get(), "tunnel.example")) throw std::runtime_error("the server's name");
  add(server, server_side, std::move(server_end), server_tls_->make_ssl(), protocol::Role::server);
  add(agent, agent_side, std::move(agent_end), std::move(dialling), protocol::Role::agent);
}

void TunnelPair::dial(Tunnel& tunnel, Stream stream) {
  TargetDialer& dialer = *dialers_[tunnel.plane().worker().index()];
  Relay::dial(tunnel.plane(), std::move(stream), dialer, target, protocol::Open().dial_time_max, quota_,
              options_.limits);
}

UniqueFd TunnelPair::connect(int receive_buffer_bytes) const {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (receive_buffer_bytes != 0) set_option(fd.get(), SOL_SOCKET, SO_RCVBUF, receive_buffer_bytes);
  const auto remote = loopback(port_number_);
  if (::connect(fd.get(), remote.data(), static_cast<socklen_t>(remote.size())) != 0)
    throw std::runtime_error("connect");
  return fd;
}

UniqueFd TunnelPair::accept() const {
  if (!is_ready(listening_.get(), POLLIN)) return {};
  return UniqueFd(::accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
}

TunnelPair::Joined TunnelPair::join(int receive_buffer_bytes) const {
  Joined joined{connect(receive_buffer_bytes), {}};
  joined.target = accept();
  if (!joined.target) throw std::runtime_error("the target was not dialled");
  return joined;
}

void TunnelPair::cut(std::size_t tunnel) const {
  ::shutdown(cables_[tunnel].get(), SHUT_RDWR);
}

bool TunnelPair::is_empty() {
  for (DataPlanes* planes : {&agent, &server}) {
    if (!eventually(*planes, [](DataPlane& plane) {
          return gauges(plane.counters()) == 0 && plane.tunnels().empty() && plane.is_idle();
        }))
      return false;
    std::int64_t back = planes->budget().left();
    for (std::size_t i = 0; i < planes->size(); ++i)
      on(planes->plane(i), [&back](DataPlane& plane) { back += plane.memory().held(); });
    if (back != static_cast<std::int64_t>(options_.memory_budget_bytes)) return false;
  }
  return agent_memory->bytes() == 0 && server_memory->bytes() == 0;
}

}  // namespace culvert::testing
