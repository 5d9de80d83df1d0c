// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <filesystem>
#include <vector>

#include "common/base/error.hpp"

struct ssl_st;
struct ssl_ctx_st;

// What lets agents join that have no certificate yet (SPEC 8.6): they know the server by the public key of its anchor,
// the nearest authority above its certificate, so the server sends that one too.

namespace culvert {

/// Finds the anchor among the certificates that `context` trusts or sends, keeps it in the context, and returns it in
/// DER. `file` has the server's certificate, for the error. Codes: tls.unknown_issuer, tls.failed.
Result<std::vector<std::byte>> enable_joining(ssl_ctx_st* context, const std::filesystem::path& file);

/// The agent has chosen a join connection: asks for no certificate, and sends the anchor. False if the connection's
/// context does not allow joining.
bool begin_join(ssl_st* ssl);

}  // namespace culvert
