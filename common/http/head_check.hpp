// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/http/head.hpp"
#include "common/http/head_limits.hpp"
#include "common/http/refusal.hpp"

// A head that came through the tunnel was parsed by the other program, and is trusted no more for that: whatever holds
// of a head that a parser of ours made is checked here before it is used or written.

namespace culvert::http {

/// nullptr: `head` is one that RequestParser could have made; but never CONNECT, which no exchange of the tunnel is.
Flaw flaw_of(const RequestHead& head, const HeadLimits& limits = {});
/// nullptr: `head` is one that ResponseParser could have made of the answer to such a request.
Flaw flaw_of(const ResponseHead& head, const Asked& asked, const HeadLimits& limits = {});
/// nullptr: these are trailers that BodyReader could have made.
Flaw flaw_of_trailers(const Fields& trailers, const HeadLimits& limits = {});

}  // namespace culvert::http
