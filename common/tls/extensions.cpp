// SPDX-License-Identifier: Apache-2.0
#include "common/tls/extensions.hpp"

#include <memory>

#include <openssl/x509v3.h>

namespace culvert {

Owned<X509_extension_st> make_uri_name(std::string_view uri) {
  const Owned<GENERAL_NAMES> names(GENERAL_NAMES_new());
  std::unique_ptr<GENERAL_NAME, decltype(&GENERAL_NAME_free)> name(GENERAL_NAME_new(), &GENERAL_NAME_free);
  std::unique_ptr<ASN1_STRING, decltype(&ASN1_STRING_free)> value(ASN1_IA5STRING_new(), &ASN1_STRING_free);
  if (!names || !name || !value || ASN1_STRING_set(value.get(), uri.data(), static_cast<int>(uri.size())) != 1)
    return nullptr;
  GENERAL_NAME_set0_value(name.get(), GEN_URI, value.release());
  GENERAL_NAME* const given = name.release();
  if (sk_GENERAL_NAME_push(names.get(), given) == 0) {
    name.reset(given);
    return nullptr;
  }
  return Owned<X509_EXTENSION>(X509V3_EXT_i2d(NID_subject_alt_name, 0, names.get()));
}

}  // namespace culvert
