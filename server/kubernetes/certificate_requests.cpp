// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/certificate_requests.hpp"

#include <algorithm>
#include <utility>

#include <boost/json/array.hpp>
#include <fmt/core.h>

#include "common/base/base64url.hpp"
#include "common/net/deadline.hpp"
#include "server/kubernetes/conditions.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {

namespace asio = boost::asio;
namespace json = boost::json;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Kind = RequestOutcome::Kind;

namespace {

constexpr auto issue_time_max = 50s;  ///< The agent waits 60 s.
constexpr auto call_time_max = 10s;
constexpr auto interval = 500ms;
constexpr std::size_t pem_line_bytes = 64;
constexpr std::string_view begin_certificate = "-----BEGIN CERTIFICATE-----";
constexpr std::string_view end_certificate = "-----END CERTIFICATE-----";

/// RFC 4648 4, with padding.
std::string encode_base64(std::string_view bytes) {
  std::string text = encode_base64url(bytes);
  std::ranges::replace(text, '-', '+');
  std::ranges::replace(text, '_', '/');
  text.append((4 - text.size() % 4) % 4, '=');
  return text;
}

std::string as_text(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) text += static_cast<char>(byte);
  return text;
}

}  // namespace

RequestOutcome outcome_of(const json::object& request) {
  const json::object& status = object_at(request, "status");
  // cert-manager's API, "CertificateRequest Conditions": Denied and InvalidRequest are final, and so is Ready with the
  // reason Failed or Denied.
  const auto holds = [&](std::string_view type) { return text_at(condition_in(status, type), "status") == "True"; };
  for (const char* type : {"Denied", "InvalidRequest"}) {
    if (holds(type)) return {Kind::denied, text_at(condition_in(status, type), "message")};
  }
  const json::object& ready = condition_in(status, "Ready");
  if (holds("Ready")) {
    const auto certificate = decode_base64(text_at(status, "certificate"));
    if (!certificate || certificate->empty()) return {Kind::failed, "status.certificate is not a certificate"};
    return {Kind::issued, *certificate};
  }
  if (text_at(ready, "reason") == "Denied") return {Kind::denied, text_at(ready, "message")};
  if (text_at(ready, "reason") == "Failed") return {Kind::failed, text_at(ready, "message")};
  return {};
}

json::object request_object(std::span<const std::byte> request, const EnrolmentSettings::Issuer& issuer,
                            std::chrono::seconds lifetime) {
  const std::string lines = encode_base64(as_text(request));
  std::string pem = "-----BEGIN CERTIFICATE REQUEST-----\n";
  for (std::size_t at = 0; at < lines.size(); at += pem_line_bytes) pem += lines.substr(at, pem_line_bytes) + "\n";
  pem += "-----END CERTIFICATE REQUEST-----\n";
  return {{"apiVersion", "cert-manager.io/v1"},
          {"kind", "CertificateRequest"},
          {"metadata",
           {{"generateName", "culvert-agent-"}, {"labels", {{"app.kubernetes.io/managed-by", "culvert-server"}}}}},
          {"spec",
           {{"request", encode_base64(pem)},
            {"issuerRef", {{"name", issuer.name}, {"kind", issuer.kind}, {"group", issuer.group}}},
            {"duration", fmt::format("{}s", lifetime.count())},
            {"usages", json::array{"digital signature", "client auth"}}}}};
}

Result<std::vector<std::byte>> certificates_in(std::string_view pem) {
  std::vector<std::byte> all;
  for (;;) {
    pem.remove_prefix(std::min(pem.find_first_not_of(" \r\n"), pem.size()));
    if (pem.empty()) break;
    const std::size_t end = pem.find(end_certificate);
    if (!pem.starts_with(begin_certificate) || end == pem.npos)
      return fail("kubernetes.malformed", "the certificate is not in PEM");
    const auto der = decode_base64(pem.substr(begin_certificate.size(), end - begin_certificate.size()));
    if (!der || der->empty()) return fail("kubernetes.malformed", "the certificate is not in PEM");
    std::ranges::transform(*der, std::back_inserter(all), [](char c) { return static_cast<std::byte>(c); });
    pem.remove_prefix(end + end_certificate.size());
  }
  if (all.empty()) return fail("kubernetes.malformed", "there is no certificate");
  return all;
}

CertificateRequests::CertificateRequests(std::shared_ptr<ApiClient> client, Log& log, std::string_view name_space,
                                         EnrolmentSettings::Issuer issuer)
    : client_(std::move(client)),
      log_(log),
      collection_(fmt::format("/apis/cert-manager.io/v1/namespaces/{}/certificaterequests", name_space)),
      issuer_(std::move(issuer)) {}

asio::awaitable<Granted<SignedCertificate>> CertificateRequests::sign(std::vector<std::byte> request,
                                                                      std::string identity,
                                                                      std::chrono::seconds lifetime) {
  auto name = co_await create(request_object(request, issuer_, lifetime));
  if (!name) co_return std::unexpected(name.error());
  const std::string path = collection_ + "/" + *name;
  auto certificate = co_await wait(path, std::move(identity));
  // What stays after a failure is removed by nobody, but does no harm: it is a request, with a public key.
  auto removed = co_await client_->call("DELETE", path, std::nullopt, "application/json", call_time_max);
  if (!removed || (!removed->is_good() && removed->status != 404))
    log_.limited(Log::Level::warn, "agent.request_left",
                 {{"object", *name}, {"text", removed ? removed->error_text() : removed.error().text}});
  co_return certificate;
}

/// The name of the new object.
asio::awaitable<Granted<std::string>> CertificateRequests::create(json::object object) {
  auto answer =
      co_await client_->call("POST", collection_, json::value(std::move(object)), "application/json", call_time_max);
  if (!answer) co_return refuse("", true, "the cluster does not answer", answer.error().text);
  if (!answer->is_good() || !answer->body.is_object())
    co_return refuse("", answer->status >= 500, "the cluster does not take the request", answer->error_text());
  std::string name = text_at(object_at(answer->body.get_object(), "metadata"), "name");
  if (name.empty()) co_return refuse("", false, "the cluster does not take the request", "the answer has no name");
  co_return name;
}

asio::awaitable<Granted<SignedCertificate>> CertificateRequests::wait(std::string path, std::string identity) {
  const Deadline deadline = Clock::now() + issue_time_max;
  while (Clock::now() < deadline) {
    auto answer = co_await client_->call("GET", path, std::nullopt, "application/json", call_time_max);
    const json::object* object = answer && answer->is_good() ? answer->body.if_object() : nullptr;
    const RequestOutcome outcome = object == nullptr ? RequestOutcome{} : outcome_of(*object);
    if (answer && answer->status == 404)
      co_return refuse(identity, true, "the request was removed", "somebody has deleted the CertificateRequest");
    switch (outcome.kind) {
      case Kind::pending: break;
      case Kind::issued: co_return accept(outcome.text, identity);
      case Kind::denied: co_return refuse(identity, false, "the issuer has denied the request", outcome.text);
      case Kind::failed: co_return refuse(identity, true, "the issuer has failed", outcome.text);
    }
    co_await wait_for(interval);
  }
  co_return refuse(identity, true, "the issuer takes too long", "is cert-manager running, and does the issuer exist?");
}

Granted<SignedCertificate> CertificateRequests::accept(std::string_view pem, std::string_view identity) {
  auto chain = certificates_in(pem);
  if (!chain) return refuse(identity, true, "the issuer has failed", chain.error().text);
  auto facts = facts_of(*chain);
  if (!facts) return refuse(identity, true, "the issuer has failed", facts.error().text);
  // What an issuer adds would be for us, too.
  if (facts->names != fmt::format("URI:{}", identity))
    return refuse(identity, false, "the issuer has made another certificate than was asked for", facts->names);
  return SignedCertificate{std::move(*chain), std::move(facts->serial), facts->not_before, facts->not_after};
}

/// The agent hears `why`; only our log has `text`, which may name things of the cluster.
std::unexpected<protocol::Denied> CertificateRequests::refuse(std::string_view identity, bool retryable,
                                                              std::string_view why, std::string_view text) {
  log_.limited(Log::Level::warn, "agent.request_failed",
               {{"agent", identity}, {"issuer", issuer_.name}, {"reason", why}, {"text", text}});
  return std::unexpected(protocol::Denied{protocol::Reason::enrolment_unavailable, retryable, std::string(why)});
}

}  // namespace culvert::server
