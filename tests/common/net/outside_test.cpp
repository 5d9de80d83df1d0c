// SPDX-License-Identifier: Apache-2.0
#include "common/net/outside.hpp"

#include <cstddef>
#include <iterator>

#include <gtest/gtest.h>
#include <ifaddrs.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace culvert {
namespace {

bool outside(const char* address) {
  return is_outside(boost::asio::ip::make_address(address));
}

TEST(Outside, is_whatever_belongs_to_another_host) {
  for (const char* address : {"10.99.98.97", "192.0.2.1", "8.8.8.8", "169.253.0.1", "2001:db8::1", "fd00:ec2::253",
                              "::ffff:192.0.2.1", "::192.0.2.1"})
    EXPECT_TRUE(outside(address)) << address;
}

TEST(Outside, is_not_this_host_its_link_or_a_group) {
  for (const char* address : {"127.0.0.1", "127.255.1.2", "0.0.0.0", "0.1.2.3", "169.254.169.254", "224.0.0.1",
                              "255.255.255.255", "::", "::1", "fe80::1", "ff02::1", "fd00:ec2::254", "::ffff:127.0.0.1",
                              "::ffff:169.254.169.254", "::127.0.0.1", "::ffff:0.0.0.0"})
    EXPECT_FALSE(outside(address)) << address;
}

TEST(Outside, is_not_an_address_of_an_interface) {
  ifaddrs* first = nullptr;
  ASSERT_EQ(::getifaddrs(&first), 0);
  int seen = 0;
  for (const ifaddrs* each = first; each != nullptr; each = each->ifa_next) {
    if (each->ifa_addr == nullptr || each->ifa_addr->sa_family != AF_INET) continue;
    const auto address =
        boost::asio::ip::make_address_v4(ntohl(reinterpret_cast<const sockaddr_in*>(each->ifa_addr)->sin_addr.s_addr));
    EXPECT_FALSE(is_outside(address)) << address;
    ++seen;
  }
  ::freeifaddrs(first);
  EXPECT_GT(seen, 0);
}

/// Like the services' sandbox: RestrictAddressFamilies= without AF_NETLINK.
bool forbid_netlink() {
  sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_socket, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{.len = std::size(filter), .filter = filter};
  return ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

TEST(Outside, needs_no_netlink_socket) {
  const pid_t child = ::fork();
  if (child == 0) {
    const bool holds = forbid_netlink() && ::socket(AF_NETLINK, SOCK_RAW, 0) == -1 && outside("192.0.2.7") &&
                       outside("2001:db8::7") && !outside("127.0.0.1");
    ::_exit(holds ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace culvert
