// SPDX-License-Identifier: Apache-2.0
#include "common/tls/certificate_request.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#include "common/tls/certificate.hpp"
#include "protocol/limits.hpp"
#include "tests/testing/certificates.hpp"
#include "tests/testing/openssl_command.hpp"

namespace culvert {
namespace {

using namespace testing;

using Bytes = std::vector<std::byte>;
using Key = std::shared_ptr<EVP_PKEY>;

const std::string identity = "spiffe://test.example/account/acme/agent/one";

Key ec(const char* curve) {
  return {EVP_EC_gen(curve), &EVP_PKEY_free};
}
Key rsa(unsigned bits) {
  return {EVP_RSA_gen(bits), &EVP_PKEY_free};
}
Key edwards() {
  return {EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), &EVP_PKEY_free};
}

/// A request as another program would make it. The defaults give a good one.
struct RawRequest {
  Key key = ec("P-256");
  Key signer = {};                        ///< Empty: `key`.
  std::string names = "URI:" + identity;  ///< In OpenSSL's form; empty: no such extension.
  int list = NID_ext_req;                 ///< The attribute that has the extensions; NID_undef: none.
  bool has_two_values = false;            ///< That attribute has a second, empty list.
  bool names_twice = false;
  const EVP_MD* hash = EVP_sha256();
  long version = 0;
  std::string subject = {};
  std::vector<std::pair<int, std::string>> others = {};  ///< Further extensions.

  Bytes make() const {
    const std::unique_ptr<X509_REQ, decltype(&X509_REQ_free)> request(X509_REQ_new(), &X509_REQ_free);
    X509_REQ_set_version(request.get(), version);
    X509_REQ_set_pubkey(request.get(), key.get());
    if (!subject.empty()) {
      X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request.get()), "CN", MBSTRING_UTF8,
                                 reinterpret_cast<const unsigned char*>(subject.c_str()), -1, -1, 0);
    }
    if (list != NID_undef) add_extensions(request.get());
    return sign(request.get());
  }

  Bytes sign(X509_REQ* request) const {
    EXPECT_GT(X509_REQ_sign(request, signer ? signer.get() : key.get(), hash), 0);
    unsigned char* der = nullptr;
    const int size = i2d_X509_REQ(request, &der);
    Bytes bytes(static_cast<std::size_t>(size));
    std::memcpy(bytes.data(), der, bytes.size());
    OPENSSL_free(der);
    return bytes;
  }

  void add_extensions(X509_REQ* request) const {
    STACK_OF(X509_EXTENSION)* const extensions = sk_X509_EXTENSION_new_null();
    const auto add = [&](int kind, const std::string& value) {
      sk_X509_EXTENSION_push(extensions, X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str()));
    };
    for (int i = 0; !names.empty() && i < (names_twice ? 2 : 1); ++i) add(NID_subject_alt_name, names);
    for (const auto& [kind, value] : others) add(kind, value);
    unsigned char* encoded = nullptr;
    const int size =
        ASN1_item_i2d(reinterpret_cast<const ASN1_VALUE*>(extensions), &encoded, ASN1_ITEM_rptr(X509_EXTENSIONS));
    X509_ATTRIBUTE* const attribute = X509_ATTRIBUTE_create_by_NID(nullptr, list, V_ASN1_SEQUENCE, encoded, size);
    const unsigned char empty[] = {0x30, 0x00};
    if (has_two_values) X509_ATTRIBUTE_set1_data(attribute, V_ASN1_SEQUENCE, empty, sizeof empty);
    X509_REQ_add1_attr(request, attribute);
    X509_ATTRIBUTE_free(attribute);
    OPENSSL_free(encoded);
    sk_X509_EXTENSION_pop_free(extensions, &X509_EXTENSION_free);
  }
};

std::string verdict(const Bytes& request) {
  const Result<Sha256> checked = check_request(request, identity);
  EXPECT_EQ(ERR_peek_error(), 0u) << "errors are left behind";
  if (checked) return "ok";
  EXPECT_EQ(checked.error().code, "tls.bad_request");
  return checked.error().text;
}

Bytes bytes_of(std::initializer_list<int> values) {
  Bytes bytes;
  for (const int value : values) bytes.push_back(static_cast<std::byte>(value));
  return bytes;
}

void append(Bytes& bytes, const Bytes& more) {
  bytes.insert(bytes.end(), more.begin(), more.end());
}

/// OpenSSL does not add an attribute twice: a second one of another kind gets this kind's number, 14 instead of 7.
Bytes with_two_lists() {
  RawRequest raw{.list = NID_pkcs9_challengePassword};
  const Bytes once = raw.make();
  const auto* at = reinterpret_cast<const unsigned char*>(once.data());
  X509_REQ* request = d2i_X509_REQ(nullptr, &at, static_cast<long>(once.size()));
  raw.list = NID_ext_req;
  raw.add_extensions(request);
  Bytes both = raw.sign(request);
  const Bytes kind = bytes_of({0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x07});
  std::ranges::search(both, kind).begin()[10] = std::byte{14};
  X509_REQ_free(request);
  at = reinterpret_cast<const unsigned char*>(both.data());
  request = d2i_X509_REQ(nullptr, &at, static_cast<long>(both.size()));
  both = raw.sign(request);
  X509_REQ_free(request);
  return both;
}

/// A good request in BER: the outer sequence has an indefinite length.
Bytes in_ber() {
  const Bytes good = RawRequest{}.make();
  Bytes bytes = bytes_of({0x30, 0x80});
  append(bytes, Bytes(good.begin() + (good[1] == std::byte{0x81} ? 3 : 4), good.end()));
  append(bytes, bytes_of({0, 0}));
  return bytes;
}

Bytes with(Bytes bytes, const std::function<void(Bytes&)>& change) {
  change(bytes);
  return bytes;
}

Bytes read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  Bytes bytes(text.size());
  std::memcpy(bytes.data(), text.data(), text.size());
  return bytes;
}

std::string as_text(const Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

TEST(CertificateRequest, is_made_with_a_fresh_key_that_openssl_finds_in_order) {
  const CertificateDirectory directory;
  for (const culvert::KeyKind kind : {culvert::KeyKind::p256, culvert::KeyKind::rsa3072}) {
    const Result<KeyAndRequest> made = make_key_and_request(kind, identity);
    ASSERT_TRUE(made);
    EXPECT_EQ(verdict(made->request), "ok");
    const std::string request = directory.write("request.der", as_text(made->request)).string();
    const CommandResult judged = openssl_command("req -inform DER -verify -noout -text -in " + request);
    EXPECT_EQ(judged.status, 0) << judged.output;
    EXPECT_NE(judged.output.find("Certificate request self-signature verify OK"), std::string::npos) << judged.output;
    EXPECT_NE(judged.output.find("URI:" + identity), std::string::npos) << judged.output;
    EXPECT_NE(judged.output.find(kind == culvert::KeyKind::p256 ? "NIST CURVE: P-256" : "(3072 bit)"),
              std::string::npos);

    EXPECT_TRUE(made->key.reveal().starts_with("-----BEGIN PRIVATE KEY-----\n"));
    const std::string key = directory.write("key.pem", std::string(made->key.reveal())).string();
    const std::string of_key = openssl_command("pkey -pubout -in " + key).output;
    EXPECT_EQ(of_key, openssl_command("req -inform DER -pubkey -noout -in " + request).output);
  }
}

TEST(CertificateRequest, has_another_key_each_time) {
  const auto first = make_key_and_request(culvert::KeyKind::p256, identity);
  const auto second = make_key_and_request(culvert::KeyKind::p256, identity);
  EXPECT_NE(*check_request(first->request, identity), *check_request(second->request, identity));
}

TEST(CertificateRequest, is_made_again_for_a_key_that_exists) {
  const auto made = make_key_and_request(culvert::KeyKind::p256, identity);
  const auto again = make_request(made->key, identity);
  ASSERT_TRUE(again);
  EXPECT_EQ(check_request(*again, identity).value(), check_request(made->request, identity).value());
}

TEST(CertificateRequest, is_not_made_without_a_key_or_for_an_endless_identity) {
  const auto secret = [](std::string_view text) { return Secret(std::vector<char>(text.begin(), text.end())); };
  EXPECT_EQ(make_request(secret("not a key"), identity).error().code, "tls.not_pem");
  const Credential other = make_authority();
  EXPECT_EQ(make_request(secret(other.key_pem("pass phrase")), identity).error().code, "tls.not_pem");
  EXPECT_EQ(make_key_and_request(culvert::KeyKind::p256, "spiffe://" + std::string(2000, 'a')).error().code,
            "tls.failed");
}

TEST(CertificateRequest, of_the_openssl_command_is_accepted) {
  const CertificateDirectory directory;
  for (const std::string key :
       {"ec -pkeyopt ec_paramgen_curve:P-256", "ec -pkeyopt ec_paramgen_curve:P-384", "rsa:3072", "rsa:4096"}) {
    const std::string folder = directory.write("unused", "").parent_path().string();
    const CommandResult made = openssl_command("req -new -newkey " + key + " -nodes -keyout " + folder +
                                               "/k -outform DER -out " + folder + "/r -subj /O=acme/CN=anything " +
                                               "-addext keyUsage=keyCertSign -addext subjectAltName=URI:" + identity);
    ASSERT_EQ(made.status, 0) << made.output;
    EXPECT_EQ(verdict(read_file(folder + "/r")), "ok") << key;
  }
}

TEST(CertificateRequest, may_ask_for_other_things_which_are_ignored) {
  EXPECT_EQ(verdict(RawRequest{.subject = "root"}.make()), "ok");
  EXPECT_EQ(verdict(RawRequest{.others = {{NID_basic_constraints, "CA:TRUE"}}}.make()), "ok");
  EXPECT_EQ(verdict(RawRequest{.hash = EVP_sha512()}.make()), "ok");
}

TEST(CertificateRequest, may_be_checked_for_any_uri) {
  EXPECT_TRUE(check_request(RawRequest{.names = "URI:spiffe://x/y"}.make(), ""));
  EXPECT_EQ(check_request(RawRequest{.names = "DNS:a.example"}.make(), "").error().text,
            "the certificate request has an alternative name that is not a URI; it must be any URI");
  EXPECT_FALSE(check_request(RawRequest{.names = "URI:spiffe://x/y,URI:spiffe://x/z"}.make(), ""));
  EXPECT_FALSE(check_request(RawRequest{.list = NID_undef}.make(), ""));
}

TEST(CertificateRequest, has_the_pin_of_its_key) {
  const auto made = make_key_and_request(culvert::KeyKind::p256, identity);
  const CertificateDirectory directory;
  const std::string key = directory.write("key.pem", std::string(made->key.reveal())).string();
  ASSERT_EQ(openssl_command("pkey -pubout -outform DER -in " + key + " -out " + key + ".pub").status, 0);
  const CommandResult digest = openssl_command("dgst -sha256 -r " + key + ".pub");
  std::string hex;
  for (const std::byte each : *check_request(made->request, identity)) hex += fmt::format("{:02x}", each);
  EXPECT_EQ(digest.output.substr(0, 64), hex);
}

struct BadRequest {
  std::string what;
  Bytes request;
  std::string text;  ///< A part of the error.
};

const std::string key_rule = "use EC P-256 or P-384, or RSA of 3072 to 4096 bits with exponent 65537";
const std::string hash_rule = "use ECDSA or RSA (PKCS #1 v1.5) with SHA-256 or better";
const std::string not_der = "the certificate request is not PKCS #10 in DER";

Key explicit_curve() {
  Key key = ec("P-256");
  EVP_PKEY_set_utf8_string_param(key.get(), OSSL_PKEY_PARAM_EC_ENCODING, OSSL_PKEY_EC_ENCODING_EXPLICIT);
  return key;
}
Key compressed_point() {
  Key key = ec("P-256");
  EVP_PKEY_set_utf8_string_param(key.get(), OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, "compressed");
  return key;
}
Key odd_exponent() {
  EVP_PKEY_CTX* const context = EVP_PKEY_CTX_new_from_name(nullptr, "RSA", nullptr);
  EVP_PKEY_keygen_init(context);
  EVP_PKEY_CTX_set_rsa_keygen_bits(context, 3072);
  BIGNUM* const three = BN_new();
  BN_set_word(three, 3);
  EVP_PKEY_CTX_set1_rsa_keygen_pubexp(context, three);
  EVP_PKEY* key = nullptr;
  EVP_PKEY_generate(context, &key);
  BN_free(three);
  EVP_PKEY_CTX_free(context);
  return {key, &EVP_PKEY_free};
}

std::vector<BadRequest> bad_encodings() {
  const Bytes good = RawRequest{}.make();
  std::mt19937 random(7);
  Bytes noise(300);
  std::ranges::generate(noise, [&] { return static_cast<std::byte>(random()); });
  const std::string pem = "-----BEGIN CERTIFICATE REQUEST-----\nMIIBAA==\n-----END CERTIFICATE REQUEST-----\n";
  Bytes text(pem.size());
  std::memcpy(text.data(), pem.data(), pem.size());
  return {
      {"empty", {}, "is empty"},
      {"huge", Bytes(2049), "has 2049 bytes; at most 2048 are allowed"},
      {"of the largest size", Bytes(2048), not_der},
      {"random bytes", noise, not_der},
      {"PEM", text, not_der},
      {"a trailing byte", with(good, [](Bytes& bytes) { bytes.push_back({}); }), "has 1 bytes behind its end"},
      {"two of them", with(good, [&](Bytes& bytes) { append(bytes, good); }), "bytes behind its end"},
      {"cut off", with(good, [](Bytes& bytes) { bytes.pop_back(); }), not_der},
      {"BER", in_ber(), not_der},
      {"version 2", RawRequest{.version = 1}.make(), "has version 2; PKCS #10 has 1"},
  };
}

std::vector<BadRequest> bad_keys() {
  const Bytes good = RawRequest{}.make();
  return {
      {"RSA 2048", RawRequest{.key = rsa(2048)}.make(), "(rsaEncryption, 2048 bits); " + key_rule},
      {"RSA 3072 with exponent 3", RawRequest{.key = odd_exponent()}.make(), "(rsaEncryption, 3072 bits); " + key_rule},
      {"Ed25519", RawRequest{.key = edwards(), .hash = nullptr}.make(), "(ED25519, 256 bits); " + key_rule},
      {"P-521", RawRequest{.key = ec("P-521")}.make(), "(id-ecPublicKey, 521 bits); " + key_rule},
      {"P-224", RawRequest{.key = ec("P-224")}.make(), "(id-ecPublicKey, 224 bits); " + key_rule},
      {"secp256k1", RawRequest{.key = ec("secp256k1")}.make(), "(id-ecPublicKey, 256 bits); " + key_rule},
      {"a spelled out curve", RawRequest{.key = explicit_curve()}.make(), key_rule},
      {"a compressed point", RawRequest{.key = compressed_point()}.make(), key_rule},
      {"a point off the curve",
       with(good,
            [](Bytes& bytes) {
              const Bytes start = bytes_of({0x03, 0x42, 0x00, 0x04});
              std::ranges::search(bytes, start).begin()[10] ^= std::byte{1};
            }),
       "has a damaged key"},
      {"a broken signature", with(good, [](Bytes& bytes) { bytes.back() ^= std::byte{1}; }), "has a wrong signature"},
      {"signed by another key", RawRequest{.signer = ec("P-256")}.make(), "has a wrong signature"},
      {"SHA-1", RawRequest{.hash = EVP_sha1()}.make(), "is signed with ecdsa-with-SHA1; " + hash_rule},
      {"SHA-224", RawRequest{.hash = EVP_sha224()}.make(), "is signed with ecdsa-with-SHA224; " + hash_rule},
      {"MD5", RawRequest{.key = rsa(3072), .hash = EVP_md5()}.make(), "is signed with RSA-MD5; " + hash_rule},
  };
}

std::vector<BadRequest> bad_names() {
  const std::string one = "it must have one, \"" + identity + "\"";
  const auto named = [](std::string names) { return RawRequest{.names = std::move(names)}.make(); };
  return {
      {"no extensions", RawRequest{.list = NID_undef}.make(), "has 0 alternative names; " + one},
      {"no names", RawRequest{.names = {}, .others = {{NID_key_usage, "digitalSignature"}}}.make(),
       "has 0 alternative names; " + one},
      {"another URI", named("URI:spiffe://test.example/account/acme/agent/two"),
       "is for \"spiffe://test.example/account/acme/agent/two\"; it must be for \"" + identity + "\""},
      {"a longer URI", named("URI:" + identity + "/x"), "it must be for"},
      {"a URI in capitals", named("URI:SPIFFE://test.example/account/acme/agent/one"), "it must be for"},
      {"two URIs", named("URI:" + identity + ",URI:spiffe://x/y"), "has 2 alternative names; " + one},
      {"the same URI twice", named("URI:" + identity + ",URI:" + identity), "has 2 alternative names; " + one},
      {"a DNS name too", named("URI:" + identity + ",DNS:a.example"), "has 2 alternative names; " + one},
      {"only a DNS name", named("DNS:" + identity), "has an alternative name that is not a URI"},
      {"only a mail address", named("email:" + identity), "has an alternative name that is not a URI"},
      {"two lists of names", RawRequest{.names_twice = true}.make(),
       "has alternative names that cannot be read, or twice"},
      {"two lists of extensions", with_two_lists(), "has alternative names that cannot be read, or twice"},
      {"two values of the list", RawRequest{.has_two_values = true}.make(),
       "has alternative names that cannot be read"},
      {"a list in Microsoft's attribute", RawRequest{.list = NID_ms_ext_req}.make(), "has 0 alternative names; " + one},
  };
}

TEST(CertificateRequest, that_is_bad_is_refused_with_a_text_that_says_why) {
  for (const auto& list : {bad_encodings(), bad_keys(), bad_names()}) {
    for (const BadRequest& bad : list) {
      const std::string text = verdict(bad.request);
      EXPECT_TRUE(text.starts_with("the certificate request ")) << bad.what;
      EXPECT_NE(text.find(bad.text), std::string::npos) << bad.what << ": " << text;
    }
  }
}

TEST(CertificateRequest, with_any_bit_changed_is_refused) {
  const Bytes good = RawRequest{}.make();
  ASSERT_EQ(verdict(good), "ok");
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    Bytes changed = good;
    changed[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_NE(verdict(changed), "ok") << bit;
  }
  for (std::size_t size = 0; size < good.size(); ++size)
    EXPECT_NE(verdict(Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size))), "ok");
}

}  // namespace
}  // namespace culvert
