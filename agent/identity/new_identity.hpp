// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

#include "agent/identity/identity_directory.hpp"
#include "common/tls/certificate.hpp"
#include "common/tls/certificate_request.hpp"
#include "protocol/enrolment.hpp"

namespace culvert::agent {

/// What becomes of an answer to the request in `asked`: the identity to keep. Refuses a certificate for another key,
/// one that names somebody else, and one whose time this machine's clock has not reached, or has passed already. Codes:
/// "join.protocol"; "join.clock", which names the clock; "join.<reason>" for a denial, with the server's text.
Result<Identity> new_identity(const protocol::Enrolled& answer, KeyAndRequest asked, const std::string& identity,
                              std::chrono::sys_seconds now);

/// When to renew a certificate: at two thirds of its life, earlier or later by up to a tenth of it. `chance` is evenly
/// spread in [0, 1): agents that joined together do not renew together (threats F11).
std::chrono::sys_seconds renewal_due(std::chrono::sys_seconds issued_at, std::chrono::sys_seconds not_after,
                                     double chance);
/// From a quarter of the life on before the end, a certificate that is not renewed is worth a warning.
std::chrono::sys_seconds renewal_overdue(std::chrono::sys_seconds issued_at, std::chrono::sys_seconds not_after);

}  // namespace culvert::agent
