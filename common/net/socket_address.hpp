// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include <boost/asio/ip/tcp.hpp>
#include <sys/socket.h>

#include "common/base/error.hpp"
#include "common/net/endpoint.hpp"
#include "common/net/unique_fd.hpp"

namespace culvert {

/// What the kernel gave in `size` bytes of `storage`. An IPv4-mapped IPv6 address comes out as its IPv4 address, so
/// that one host has one spelling in logs and lists. Unspecified when the family is neither.
boost::asio::ip::tcp::endpoint endpoint_of(const sockaddr_storage& storage, socklen_t size);

/// The address that the socket is bound to; unspecified on error.
boost::asio::ip::tcp::endpoint local_endpoint_of(int fd);

/// Where to listen: the host is an IP literal, or "localhost". Code "listen.refused".
Result<boost::asio::ip::tcp::endpoint> address_to_listen(const Endpoint& endpoint);

/// "1.2.3.4:80" or "[::1]:80".
std::string to_text(const boost::asio::ip::tcp::endpoint& endpoint);

/// A non-blocking, close-on-exec TCP socket without Nagle's delay, for `family` AF_INET or AF_INET6. None on error: see
/// errno.
UniqueFd make_tcp_socket(int family);

/// Small writes are frames or the end of an exchange: they must not wait for an ACK.
void set_no_delay(int fd);

}  // namespace culvert
