// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

#include "common/tls/openssl_objects.hpp"

namespace culvert {

/// The extension subjectAltName with one URI, not critical. It is made without OpenSSL's text form, in which a comma
/// would begin another name. nullptr: out of memory.
Owned<X509_extension_st> make_uri_name(std::string_view uri);

}  // namespace culvert
