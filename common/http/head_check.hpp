// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/http/head.hpp"
#include "common/http/head_limits.hpp"
#include "common/http/refusal.hpp"

// Checks of heads from the tunnel. The other program has parsed them, which does not make them trusted: everything that
// is true for a head from our own parsers is checked here before the head is used or written.

namespace culvert::http {

/// Returns nullptr if RequestParser could have made `head`. CONNECT is always refused: no exchange in the tunnel has
/// it.
Flaw flaw_of(const RequestHead& head, const HeadLimits& limits = {});
/// Returns nullptr if ResponseParser could have made `head` from an answer to such a request.
Flaw flaw_of(const ResponseHead& head, const Asked& asked, const HeadLimits& limits = {});
/// Returns nullptr if BodyReader could have made these trailers.
Flaw flaw_of_trailers(const Fields& trailers, const HeadLimits& limits = {});

}  // namespace culvert::http
