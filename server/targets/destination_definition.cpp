// SPDX-License-Identifier: Apache-2.0
#include "server/targets/destination_definition.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <initializer_list>
#include <optional>
#include <utility>

#include <fmt/core.h>

#include "common/http/characters.hpp"
#include "server/targets/target_url.hpp"

namespace culvert::server {

namespace {

using http::is_equal_ignoring_case;

constexpr std::size_t destination_name_bytes_max = 200;

std::unexpected<Error> bad(std::string_view property, std::string_view remedy) {
  return fail("gateway.bad_destination", fmt::format("{}: {}", property, remedy));
}

bool is_destination_name(std::string_view text) {
  return !text.empty() && text.size() <= destination_name_bytes_max && text.front() != '.' &&
         std::ranges::all_of(text, [](char c) { return http::is(http::unreserved_character, c) && c != '~'; });
}

bool has_no_control(std::string_view text) {
  return std::ranges::none_of(text, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; });
}

struct LoginName {
  std::string_view name;
  DestinationLogin login;
};
constexpr auto logins = std::to_array<LoginName>({
    {"NoAuthentication", DestinationLogin::none},
    {"BasicAuthentication", DestinationLogin::basic},
    {"ClientCertificateAuthentication", DestinationLogin::client_certificate},
    {"OAuth2ClientCredentials", DestinationLogin::client_credentials},
    {"OAuth2Password", DestinationLogin::resource_owner},
    {"OAuth2JWTBearer", DestinationLogin::jwt_bearer},
    {"OAuth2TokenExchange", DestinationLogin::token_exchange},
    {"PrincipalPropagation", DestinationLogin::principal_propagation},
});

struct Refused {
  std::string_view name;
  std::string_view why;
};
constexpr auto refused_logins = std::to_array<Refused>({
    {"AppToAppSSO", "it exists in the Neo environment only; use OAuth2JWTBearer"},
    {"SAPAssertionSSO", "its tickets need a key of an SAP system; use PrincipalPropagation or OAuth2JWTBearer"},
    {"SAMLAssertion", "there is no SAML here; use OAuth2JWTBearer or OAuth2TokenExchange"},
    {"OAuth2SAMLBearerAssertion", "there is no SAML here; use OAuth2JWTBearer or OAuth2TokenExchange"},
    {"OAuth2UserTokenExchange", "it exchanges tokens in XSUAA's own way; use OAuth2JWTBearer"},
    {"OAuth2AuthorizationCode", "it needs a person at a browser; use OAuth2ClientCredentials"},
    {"OAuth2RefreshToken", "refresh tokens are not stored; use OAuth2ClientCredentials"},
    {"OAuth2TechnicalUserPropagation", "agents do not take a technical user's token; use BasicAuthentication"},
    {"OAuth2mTLS", "use OAuth2ClientCredentials with tokenService.KeyStoreLocation"},
});

/// Properties that have a meaning elsewhere and none here. A name that ends in "." is a prefix.
constexpr auto unsupported = std::to_array<Refused>({
    {"TrustStoreLocation", "authorities come from the key ca and the system's store"},
    {"TrustStorePassword", "authorities come from the key ca and the system's store"},
    {"SystemUser", "it is obsolete"},
    {"tokenServiceURL.headers.", "token requests have no additional header fields"},
    {"tokenServiceURL.queries.", "token requests have no additional query parameters"},
    {"tokenServiceURL.ConnectionTimeoutInSeconds", "the gateway has a time limit of its own for token requests"},
    {"tokenServiceURL.SocketReadTimeoutInSeconds", "the gateway has a time limit of its own for token requests"},
    {"tokenService.body.", "token requests have no additional parameters"},
    {"clientAssertion.", "clients prove themselves by a secret or a certificate"},
    {"x_user_token.", "the caller's token is checked by the rules of the port"},
});

/// Reads the properties of one destination into its definition. The first flaw ends it.
class DefinitionReader {
 public:
  explicit DefinitionReader(DestinationProperties properties) { it_.properties = std::move(properties); }

  Result<DestinationDefinition> read() {
    using Step = Result<void> (DefinitionReader::*)();
    for (const Step step : {&DefinitionReader::read_name, &DefinitionReader::read_type, &DefinitionReader::read_proxy,
                            &DefinitionReader::read_target, &DefinitionReader::read_login,
                            &DefinitionReader::read_parameters, &DefinitionReader::read_times}) {
      if (auto done = (this->*step)(); !done) return std::unexpected(std::move(done.error()));
    }
    read_notes();
    return std::move(it_);
  }

 private:
  std::optional<std::string_view> find(std::string_view name) const {
    const auto found = std::ranges::find(it_.properties, name, &DestinationProperty::name);
    if (found == it_.properties.end()) return std::nullopt;
    return found->value.reveal();
  }
  std::string_view text(std::string_view name) const { return find(name).value_or(""); }
  Secret secret(std::string_view name) const { return Secret::of(text(name)); }
  Result<void> require(std::initializer_list<std::string_view> names) const {
    for (const std::string_view name : names) {
      if (text(name).empty()) return bad(name, "is missing; add it (exports leave secrets out)");
      if (!has_no_control(text(name))) return bad(name, "has control characters; remove them");
    }
    return {};
  }
  Result<bool> flag(std::string_view name, bool otherwise) const {
    const std::string_view value = text(name);
    if (value.empty()) return otherwise;
    if (is_equal_ignoring_case(value, "true")) return true;
    if (is_equal_ignoring_case(value, "false")) return false;
    return bad(name, "write true or false");
  }
  void note(std::string_view property, std::string_view why) {
    it_.notes.push_back(fmt::format("{} has no effect: {}", property, why));
  }

  Result<void> read_name() {
    if (!is_destination_name(text("Name")))
      return bad("Name", R"(write 1 to 200 letters, digits, ".", "_" and "-", not beginning with ".")");
    it_.name = text("Name");
    return {};
  }

  Result<void> read_type() {
    constexpr std::array<std::pair<std::string_view, DestinationType>, 4> types{{{"HTTP", DestinationType::http},
                                                                                 {"TCP", DestinationType::tcp},
                                                                                 {"LDAP", DestinationType::ldap},
                                                                                 {"MAIL", DestinationType::mail}}};
    const std::string_view name = text("Type");
    if (is_equal_ignoring_case(name, "RFC"))
      return bad("Type", "RFC is not supported: it needs SAP's own library; use an HTTP service of the system");
    for (const auto& [word, type] : types) {
      if (!is_equal_ignoring_case(name, word)) continue;
      it_.type = type;
      return {};
    }
    return bad("Type", "write HTTP, TCP, LDAP or MAIL");
  }

  Result<void> read_proxy() {
    const bool is_ldap = it_.type == DestinationType::ldap && find("ldap.proxyType");
    const std::string_view property = is_ldap ? "ldap.proxyType" : "ProxyType";
    const std::string_view name = text(property);
    it_.location_id = text("CloudConnectorLocationId");
    if (is_equal_ignoring_case(name, "OnPremise")) {
      it_.proxy = DestinationProxy::on_premise;
      if (!has_no_control(it_.location_id))
        return bad("CloudConnectorLocationId", "has control characters; remove them");
      return {};
    }
    const bool is_private_link = is_equal_ignoring_case(name, "PrivateLink");
    if (!is_private_link && !is_equal_ignoring_case(name, "Internet"))
      return bad(property, "write Internet or OnPremise");
    if (is_private_link)
      it_.notes.emplace_back(
          "ProxyType PrivateLink is taken as Internet: the key allow_targets must have the target's address");
    if (!it_.location_id.empty()) note("CloudConnectorLocationId", "it is for ProxyType OnPremise");
    it_.location_id.clear();
    return {};
  }

  bool is_on_premise() const { return it_.proxy == DestinationProxy::on_premise; }

  Result<void> read_target() {
    switch (it_.type) {
      case DestinationType::http: return read_url();
      case DestinationType::tcp: return read_address("Address", text("Address"));
      case DestinationType::ldap: return read_ldap_url();
      case DestinationType::mail: return read_mail_host();
    }
    return {};
  }
  Result<void> read_url() {
    const auto url = parse_target_url(text("URL"));
    if (!url) return bad("URL", url.error().text);
    // The agent's mapping decides about TLS, as it does for the HTTP proxy.
    if (is_on_premise() && url->scheme == http::Scheme::https)
      return bad("URL", "write http:// with ProxyType OnPremise; the agent's mapping adds TLS");
    it_.url = text("URL");
    return {};
  }
  Result<void> read_address(std::string_view property, std::string_view value) {
    auto address = parse_endpoint(value);
    if (!address) return bad(property, "write host:port");
    it_.address = std::move(*address);
    return {};
  }
  Result<void> read_ldap_url() {
    constexpr std::string_view property = R"(ldap.url)";  // Raw, since it looks like one of our error codes.
    std::string value(text(property));
    std::string_view port = ":389";
    for (const std::string_view scheme : {"ldap://", "ldaps://"}) {
      if (!is_equal_ignoring_case(std::string_view(value).substr(0, scheme.size()), scheme)) continue;
      value.erase(0, scheme.size());
      if (value.ends_with('/')) value.pop_back();
      if (scheme == "ldaps://") port = ":636";
      if (!value.empty() && !parse_endpoint(value)) value += port;
      break;
    }
    return read_address(property, value);
  }
  Result<void> read_mail_host() {
    if (auto there = require({"mail.smtp.host"}); !there) return there;
    const std::string_view port = text("mail.smtp.port").empty() ? "25" : text("mail.smtp.port");
    return read_address("mail.smtp.host, mail.smtp.port", fmt::format("{}:{}", text("mail.smtp.host"), port));
  }

  Result<void> read_login() {
    if (it_.type != DestinationType::http) {
      it_.notes.emplace_back("user and password are for clients that look them up: a plain port does not log in");
      return {};
    }
    const std::string_view name = text("Authentication");
    for (const auto& [refused, why] : refused_logins) {
      if (name == refused) return bad("Authentication", fmt::format("{} is not supported: {}", refused, why));
    }
    const auto* const known = std::ranges::find(logins, name, &LoginName::name);
    if (known == logins.end())
      return bad("Authentication", "write a supported one, such as NoAuthentication or OAuth2ClientCredentials");
    it_.login = known->login;
    auto all = flag("TrustAll", false);
    if (!all) return std::unexpected(std::move(all.error()));
    it_.trust_all = *all;
    return read_credentials();
  }

  Result<void> read_credentials() {
    switch (it_.login) {
      case DestinationLogin::none: return {};
      case DestinationLogin::basic: return read_user();
      case DestinationLogin::client_certificate: return read_key_store();
      case DestinationLogin::resource_owner:
        if (auto user = read_user(); !user) return user;
        return read_token_service();
      case DestinationLogin::client_credentials:
      case DestinationLogin::jwt_bearer:
      case DestinationLogin::token_exchange: return read_token_service();
      case DestinationLogin::principal_propagation:
        if (!is_on_premise()) return bad("ProxyType", "must be OnPremise with PrincipalPropagation");
        return {};
    }
    return {};
  }
  Result<void> read_user() {
    if (auto there = require({"User", "Password"}); !there) return there;
    // RFC 7617 2.
    if (it_.login == DestinationLogin::basic && text("User").contains(':'))
      return bad("User", "must not contain a colon with BasicAuthentication");
    it_.user = text("User");
    it_.password = secret("Password");
    return {};
  }
  Result<void> read_key_store() {
    if (is_on_premise()) return bad("ProxyType", "must be Internet with ClientCertificateAuthentication");
    if (!is_equal_ignoring_case(it_.url.substr(0, 8), "https://"))
      return bad("URL", "must begin with https:// with ClientCertificateAuthentication");
    if (auto there = require({"KeyStoreLocation"}); !there) return there;
    it_.key_store = {std::string(text("KeyStoreLocation")), secret("KeyStorePassword")};
    return {};
  }

  Result<void> read_token_service() {
    DestinationTokenService& service = it_.token_service;
    if (auto there = require({"clientId", "tokenServiceURL"}); !there) return there;
    service.client_id = text("clientId");
    service.scope = text("scope");
    if (!has_no_control(service.scope)) return bad("scope", "has control characters; remove them");
    service.key_store = {std::string(text("tokenService.KeyStoreLocation")), secret("tokenService.KeyStorePassword")};
    if (service.key_store.location.empty()) {
      if (auto there = require({"clientSecret"}); !there) return there;
    }
    service.client_secret = secret("clientSecret");
    if (!has_no_control(service.client_secret.reveal()))
      return bad("clientSecret", "has control characters; remove them");
    if (!text("tokenServiceUser").empty()) {
      if (auto there = require({"tokenServiceUser", "tokenServicePassword"}); !there) return there;
      if (text("tokenServiceUser").contains(':')) return bad("tokenServiceUser", "must not contain a colon");
      service.user = text("tokenServiceUser");
      service.password = secret("tokenServicePassword");
    }
    auto in_form = flag("tokenService.addClientCredentialsInBody", true);
    if (!in_form) return std::unexpected(std::move(in_form.error()));
    service.client_in_form = *in_form;
    return read_token_service_url();
  }
  Result<void> read_token_service_url() {
    DestinationTokenService& service = it_.token_service;
    const std::string_view type = text("tokenServiceURLType");
    service.is_common = is_equal_ignoring_case(type, "Common");
    if (!service.is_common && !type.empty() && !is_equal_ignoring_case(type, "Dedicated"))
      return bad("tokenServiceURLType", "write Dedicated or Common");
    service.url = text("tokenServiceURL");
    std::string url = service.url;
    constexpr std::string_view tenant = "{tenant}";
    for (std::size_t at = 0; service.is_common && (at = url.find(tenant)) != url.npos;)
      url.replace(at, tenant.size(), "tenant");
    if (const auto parsed = parse_target_url(url); !parsed) return bad("tokenServiceURL", parsed.error().text);
    return {};
  }

  Result<void> read_parameters() {
    constexpr std::string_view headers = "URL.headers.";
    constexpr std::string_view queries = "URL.queries.";
    for (const DestinationProperty& property : it_.properties) {
      const std::string_view name = property.name;
      Result<void> added;
      if (name.starts_with(headers)) {
        added = add_request_field(it_.parameters, name.substr(headers.size()), property.value.reveal());
      } else if (name.starts_with(queries)) {
        added = add_query_parameter(it_.parameters, name.substr(queries.size()), property.value.reveal());
      } else if (name == "sap-client") {
        added = add_request_field(it_.parameters, name, property.value.reveal());
      }
      if (!added) return bad(name, added.error().text);
    }
    return {};
  }

  Result<std::chrono::seconds> seconds(std::string_view name, int max, std::chrono::seconds otherwise) const {
    const std::string_view value = text(name);
    if (value.empty()) return otherwise;
    int number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || end != value.data() + value.size() || number < 1 || number > max)
      return bad(name, fmt::format("write a whole number from 1 to {}", max));
    return std::chrono::seconds(number);
  }
  Result<void> read_times() {
    const auto connect = seconds("URL.connectionTimeoutInSeconds", 300, it_.connect_timeout);
    if (!connect) return std::unexpected(connect.error());
    const auto read = seconds("URL.socketReadTimeoutInSeconds", 43'200, it_.read_timeout);
    if (!read) return std::unexpected(read.error());
    it_.connect_timeout = *connect;
    it_.read_timeout = *read;
    return {};
  }

  void read_notes() {
    for (const DestinationProperty& property : it_.properties) {
      for (const auto& [name, why] : unsupported) {
        if (name.ends_with('.') ? property.name.starts_with(name) : property.name == name) note(property.name, why);
      }
    }
    const std::string_view verifier = text("HostnameVerifier");
    if (!verifier.empty() && !is_equal_ignoring_case(verifier, "Strict"))
      note("HostnameVerifier", "names are always verified strictly");
  }

  DestinationDefinition it_;
};

}  // namespace

Result<DestinationDefinition> read_destination(std::string_view text) {
  auto properties = read_destination_properties(text);
  if (!properties) return std::unexpected(std::move(properties.error()));
  return DefinitionReader(std::move(*properties)).read();
}

}  // namespace culvert::server
