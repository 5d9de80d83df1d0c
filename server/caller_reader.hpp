// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "common/config/toml_table.hpp"
#include "server/config.hpp"

namespace culvert::server {

/// The words of key `trust`. A whole sentence, so that nobody writes it by accident.
inline constexpr std::string_view trust_words = "every client that can connect, without a token";

/// Keys account, account_from, account_claim, trust and issuer of a proxy's table, each for itself.
struct CallerKeys {
  CallerSettings settings;
  bool trusts_everybody = false;
  /// Whoever connects needs a token, or the file says in words that nobody does: allow_from is not needed.
  bool are_guarded() const { return trusts_everybody || !settings.issuers.empty(); }
};
CallerKeys read_callers(const TomlTable& table);
/// What only several of the keys together can get wrong. For a table that is there.
void check_callers(const TomlTable& table, const CallerKeys& keys);

}  // namespace culvert::server
