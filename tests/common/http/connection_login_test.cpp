// SPDX-License-Identifier: Apache-2.0
#include "common/http/connection_login.hpp"

#include <gtest/gtest.h>

namespace culvert::http {
namespace {

Fields fields(const char* name, const char* value) {
  Fields made;
  made.add("Server", "x");
  made.add(name, value);
  return made;
}

TEST(ConnectionLogin, is_found_in_any_case_and_beside_others) {
  for (const char* value : {"NTLM", "ntlm", "Negotiate", "negotiate YII=", "Basic realm=\"a, b\", NTLM",
                            "Negotiate, Basic realm=\"x\"", "Digest nonce=\"\\\", NTLM\",NeGoTiAtE oY==", "Kerberos",
                            "Basic realm=x,\tNTLM TlRM", "NTLM x=\"\\", "Basic x, NTLM \"\\"}) {
    EXPECT_TRUE(asks_for_connection_login(fields("WWW-Authenticate", value))) << value;
    EXPECT_TRUE(has_connection_login(fields("authorization", value))) << value;
  }
  Fields two = fields("WWW-Authenticate", "Basic realm=x");
  two.add("www-authenticate", "NTLM");
  EXPECT_TRUE(asks_for_connection_login(two));
}

TEST(ConnectionLogin, is_nothing_else) {
  for (const char* value : {"", "Basic realm=\"NTLM\"", "Basic realm=\", NTLM\"", "Bearer NTLM", "NTLMv2",
                            "Digest ntlm", "Basic realm=\"\\\", NTLM, \"", ","}) {
    EXPECT_FALSE(asks_for_connection_login(fields("WWW-Authenticate", value))) << value;
    EXPECT_FALSE(has_connection_login(fields("Authorization", value))) << value;
  }
  EXPECT_FALSE(asks_for_connection_login(fields("Authorization", "NTLM")));
  EXPECT_FALSE(has_connection_login(fields("Proxy-Authorization", "NTLM")));
}

}  // namespace
}  // namespace culvert::http
