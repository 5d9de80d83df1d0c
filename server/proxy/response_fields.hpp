// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "common/http/head.hpp"

namespace culvert::server {

/// Date of a message that is made now (RFC 9110 6.6.1). Valid until the next call on this thread.
std::string_view date_now();

/// Sets the fields that this proxy adds to a back end's response, and removes what would pass for ours: its
/// X-Request-Id, and members of Proxy-Status in our names. Other members stay, before ours (RFC 9209 2).
void set_own_fields(http::ResponseHead& head);

}  // namespace culvert::server
