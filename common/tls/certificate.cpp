// SPDX-License-Identifier: Apache-2.0
#include "common/tls/certificate.hpp"

#include <array>
#include <cstddef>
#include <ctime>
#include <memory>
#include <new>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace culvert {
namespace {

constexpr std::size_t text_bytes_max = 256;
constexpr int names_shown_max = 8;  // A public certificate may have a hundred.

std::string_view text_of(const ASN1_STRING* value) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
          static_cast<std::size_t>(ASN1_STRING_length(value))};
}

std::chrono::sys_seconds time_of(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return {};
  const std::chrono::year_month_day day{std::chrono::year{parts.tm_year + 1900},
                                        std::chrono::month{static_cast<unsigned>(parts.tm_mon + 1)},
                                        std::chrono::day{static_cast<unsigned>(parts.tm_mday)}};
  return std::chrono::sys_days{day} + std::chrono::hours{parts.tm_hour} + std::chrono::minutes{parts.tm_min} +
         std::chrono::seconds{parts.tm_sec};
}

std::string subject_of(const X509* certificate) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new(BIO_s_mem()), &BIO_free);
  if (!out || X509_NAME_print_ex(out.get(), X509_get_subject_name(certificate), 0, XN_FLAG_RFC2253) < 0) return {};
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(out.get(), &bytes);
  return size > 0 ? printable({bytes, static_cast<std::size_t>(size)}) : std::string{};
}

std::string address_text(const ASN1_STRING* address) {
  const int family = ASN1_STRING_length(address) == 16 ? AF_INET6 : AF_INET;
  if (family == AF_INET && ASN1_STRING_length(address) != 4) return "?";
  std::array<char, INET6_ADDRSTRLEN> text{};
  return inet_ntop(family, ASN1_STRING_get0_data(address), text.data(), text.size()) != nullptr ? text.data() : "?";
}

std::string name_text(const GENERAL_NAME* name) {
  switch (name->type) {
    case GEN_DNS: return "DNS:" + printable(text_of(name->d.dNSName));
    case GEN_URI: return "URI:" + printable(text_of(name->d.uniformResourceIdentifier));
    case GEN_EMAIL: return "email:" + printable(text_of(name->d.rfc822Name));
    case GEN_IPADD: return "IP:" + address_text(name->d.iPAddress);
    default: return "other";
  }
}

std::string names_of(const X509* certificate) {
  const std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)),
      &GENERAL_NAMES_free);
  std::string text;
  const int count = names ? sk_GENERAL_NAME_num(names.get()) : 0;
  for (int i = 0; i < count; ++i) {
    if (i > 0) text += ", ";
    if (i == names_shown_max) return text + fmt::format("and {} more", count - i);
    text += name_text(sk_GENERAL_NAME_value(names.get(), i));
  }
  return text;
}

}  // namespace

std::string printable(std::string_view text) {
  std::string safe(text.substr(0, text_bytes_max));
  for (char& c : safe) {
    if (c < ' ' || c > '~') c = '?';
  }
  if (text.size() > text_bytes_max) safe += "…";
  return safe;
}

double seconds_left(std::chrono::sys_seconds not_after) {
  return std::chrono::duration<double>(not_after - std::chrono::system_clock::now()).count();
}

std::string to_text(std::chrono::sys_seconds time) {
  const auto day = std::chrono::floor<std::chrono::days>(time);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss clock{time - day};
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02} UTC", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), clock.hours().count(),
                     clock.minutes().count(), clock.seconds().count());
}

std::string certificate_serial(const x509_st* certificate) {
  const std::unique_ptr<BIGNUM, decltype(&BN_free)> number(
      ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr), &BN_free);
  if (!number) return {};
  const std::unique_ptr<char, void (*)(char*)> hex(BN_bn2hex(number.get()), [](char* text) { OPENSSL_free(text); });
  if (!hex) return {};
  std::string serial(hex.get());
  for (char& c : serial) {
    if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
  }
  const std::size_t first = serial.find_first_not_of('0');  // BN_bn2hex pads to whole bytes.
  return first == std::string::npos ? "0" : serial.substr(first);
}

Sha256 key_pin(const x509_st* certificate) {
  return key_pin(X509_get_X509_PUBKEY(certificate));
}

Sha256 key_pin(const X509_pubkey_st* key) {
  unsigned char* der = nullptr;
  const int size = i2d_X509_PUBKEY(key, &der);
  const std::unique_ptr<unsigned char, void (*)(unsigned char*)> owner(der, [](unsigned char* p) { OPENSSL_free(p); });
  if (size <= 0) throw std::bad_alloc();
  return sha256({reinterpret_cast<const char*>(der), static_cast<std::size_t>(size)});
}

CertificateFacts certificate_facts(const x509_st* certificate) {
  return {.subject = subject_of(certificate),
          .names = names_of(certificate),
          .serial = certificate_serial(certificate),
          .not_before = time_of(X509_get0_notBefore(certificate)),
          .not_after = time_of(X509_get0_notAfter(certificate))};
}

}  // namespace culvert
