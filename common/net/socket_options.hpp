// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>

namespace culvert {

/// Best effort: an option that the kernel does not have changes how fast we are, not whether we work.
template <typename T>
void set_option(int fd, int level, int name, const T& value) {
  (void)::setsockopt(fd, level, name, &value, sizeof value);
}

/// The next close() sends RST: the other end must not take what it has for the whole (threats C6).
inline void reset_on_close(int fd) {
  set_option(fd, SOL_SOCKET, SO_LINGER, linger{.l_onoff = 1, .l_linger = 0});
}

}  // namespace culvert
