// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/socket.h>

namespace culvert {

/// Best effort: without the option we are slower, but work.
template <typename T>
void set_option(int fd, int level, int name, const T& value) {
  (void)::setsockopt(fd, level, name, &value, sizeof value);
}

/// Makes the next close() send RST, so that the peer does not take what it received for complete (threats C6).
inline void reset_on_close(int fd) {
  set_option(fd, SOL_SOCKET, SO_LINGER, linger{.l_onoff = 1, .l_linger = 0});
}

}  // namespace culvert
