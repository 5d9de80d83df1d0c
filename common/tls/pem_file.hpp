// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

#include "common/base/error.hpp"
#include "common/tls/certificate.hpp"
#include "common/tls/openssl_objects.hpp"

// Certificates and keys from PEM files, with errors that name the file and say what to do. These functions block: call
// them off the workers.

namespace culvert {

/// All certificates of the file, in its order; perhaps none. Other PEM blocks are ignored. `role` names the file in
/// errors: "certificate", "CA file". Codes: tls.file_unreadable, tls.not_pem.
Result<std::vector<UniqueX509>> load_certificates(const std::filesystem::path& path, std::string_view role);

/// The same for a text that came from elsewhere; `path` is its name in errors.
Result<std::vector<UniqueX509>> parse_certificates(std::string_view pem, const std::filesystem::path& path,
                                                   std::string_view role);

/// Codes: tls.file_unreadable, tls.not_pem, tls.key_encrypted.
Result<UniqueKey> load_key(const std::filesystem::path& path);
/// The same for a text that came from elsewhere; `path` is its name in errors.
Result<UniqueKey> parse_key_of(std::string_view pem, const std::filesystem::path& path);

/// The key in a PEM text; nothing if there is none, or an encrypted one: then `*encrypted` becomes true. Empties
/// OpenSSL's error queue, as the functions above do.
UniqueKey parse_key(std::string_view pem, bool* encrypted = nullptr);

/// Whether a certificate from the file `path` is valid now, by the file's rules: a little too early is not too early.
/// Codes: tls.certificate_expired, tls.certificate_not_yet_valid.
Result<void> check_validity(const std::filesystem::path& path, const CertificateFacts& facts);

}  // namespace culvert
