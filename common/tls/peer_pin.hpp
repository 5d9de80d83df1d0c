// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/tls/digest.hpp"

struct ssl_ctx_st;

namespace culvert {

/// Makes a dialling context trust servers below one authority, of which only the digest of its public key is known: an
/// agent's trust before it has joined. The server must send that authority's certificate, be it a root or an
/// intermediate, in addition to its own: neither the server's own certificate nor one that is not a CA's counts. All
/// other rules are those of verify_server: serverAuth, the expected name, the leeway. The key alone is pinned, so the
/// sender may have changed what else the authority's certificate says (its end, its constraints).
void trust_pin(ssl_ctx_st* context, const Sha256& pin);

}  // namespace culvert
