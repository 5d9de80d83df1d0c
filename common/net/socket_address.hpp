// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <string>

#include <boost/asio/ip/tcp.hpp>
#include <sys/socket.h>

#include "common/base/error.hpp"
#include "common/net/endpoint.hpp"
#include "common/net/unique_fd.hpp"

namespace culvert {

/// Converts an address from the kernel, `size` bytes of `storage`. An IPv4-mapped IPv6 address becomes its IPv4
/// address, so that one host has one spelling in logs and lists. Unspecified when the family is neither of the two.
boost::asio::ip::tcp::endpoint endpoint_of(const sockaddr_storage& storage, socklen_t size);

/// The address that the socket is bound to; unspecified on error.
boost::asio::ip::tcp::endpoint local_endpoint_of(int fd);

/// The address to listen on: the host is an IP literal, or "localhost". Code "listen.refused".
Result<boost::asio::ip::tcp::endpoint> address_to_listen(const Endpoint& endpoint);

/// "1.2.3.4:80" or "[::1]:80".
std::string to_text(const boost::asio::ip::tcp::endpoint& endpoint);

/// A non-blocking, close-on-exec TCP socket with set_tcp_options(), for `family` AF_INET or AF_INET6. Empty on error:
/// see errno.
UniqueFd make_tcp_socket(int family);

/// After how much silence the kernel probes whether the peer still exists; 0: never. For sockets that are made from now
/// on. Any thread.
void set_keep_alive_time(std::chrono::seconds time);
/// No delay, since small writes are frames or ends of exchanges; and keep-alive: a peer that is switched off would hold
/// its stream until a restart. After the silence the kernel sends 6 probes, 10 s apart.
void set_tcp_options(int fd);

}  // namespace culvert
