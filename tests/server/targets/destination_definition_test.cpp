// SPDX-License-Identifier: Apache-2.0
#include "server/targets/destination_definition.hpp"

#include <gtest/gtest.h>

namespace culvert::server {
namespace {

using namespace std::chrono_literals;

constexpr std::string_view on_premise =
    "Name=erp\nType=HTTP\nURL=http\\://erp\\:80/sap\nProxyType=OnPremise\n"
    "CloudConnectorLocationId=east\nAuthentication=";
constexpr std::string_view internet =
    "Name=shop\nType=HTTP\nURL=https\\://shop.example/api\nProxyType=Internet\nAuthentication=";
constexpr std::string_view client =
    "clientId=c\nclientSecret=c4n4ry\ntokenServiceURL=https\\://login.example/oauth/token\n";

DestinationDefinition read(const std::string& text) {
  auto definition = read_destination(text);
  EXPECT_TRUE(definition) << definition.error().text << "\n" << text;
  return definition ? std::move(*definition) : DestinationDefinition{};
}
DestinationDefinition read(std::string_view text, const std::string& more) {
  return read(std::string(text) + more);
}

TEST(DestinationDefinition, of_the_internet_with_its_defaults) {
  const auto definition = read(internet, "NoAuthentication\nDescription=x\nHTML5.DynamicDestination=true");
  EXPECT_EQ(definition.name, "shop");
  EXPECT_EQ(definition.type, DestinationType::http);
  EXPECT_EQ(definition.proxy, DestinationProxy::internet);
  EXPECT_EQ(definition.login, DestinationLogin::none);
  EXPECT_EQ(definition.url, "https://shop.example/api");
  EXPECT_EQ(definition.connect_timeout, 5s);
  EXPECT_EQ(definition.read_timeout, 30s);
  EXPECT_FALSE(definition.trust_all);
  EXPECT_TRUE(definition.notes.empty());
  ASSERT_EQ(definition.properties.size(), 7u);
  EXPECT_EQ(definition.properties.back().name, "HTML5.DynamicDestination");
  EXPECT_EQ(definition.properties.back().value.reveal(), "true");
}

TEST(DestinationDefinition, on_premise_with_additions) {
  const auto definition = read(
      on_premise,
      "BasicAuthentication\nUser=u\nPassword=c4n4ry\nsap-client=100\nURL.headers.apiKey=k e y\nURL.queries.a\\ b=c&d\n"
      "URL.connectionTimeoutInSeconds=300\nURL.socketReadTimeoutInSeconds=43200\nTrustAll=TRUE");
  EXPECT_EQ(definition.proxy, DestinationProxy::on_premise);
  EXPECT_EQ(definition.location_id, "east");
  EXPECT_EQ(definition.login, DestinationLogin::basic);
  EXPECT_EQ(definition.user, "u");
  EXPECT_EQ(definition.password.reveal(), "c4n4ry");
  EXPECT_EQ(definition.parameters.fields.find("sap-client"), "100");
  EXPECT_EQ(definition.parameters.fields.find("apikey"), "k e y");
  EXPECT_EQ(definition.parameters.query, "a%20b=c%26d");
  EXPECT_EQ(definition.connect_timeout, 300s);
  EXPECT_EQ(definition.read_timeout, 43'200s);
  EXPECT_TRUE(definition.trust_all);
  EXPECT_EQ(read(on_premise, "PrincipalPropagation").login, DestinationLogin::principal_propagation);
}

TEST(DestinationDefinition, with_a_client_of_a_token_service) {
  const std::string more = std::string(client) + "scope=a b\ntokenServiceURLType=Dedicated";
  const auto definition = read(internet, "OAuth2ClientCredentials\n" + more);
  EXPECT_EQ(definition.login, DestinationLogin::client_credentials);
  const DestinationTokenService& service = definition.token_service;
  EXPECT_EQ(service.url, "https://login.example/oauth/token");
  EXPECT_FALSE(service.is_common);
  EXPECT_EQ(service.client_id, "c");
  EXPECT_EQ(service.client_secret.reveal(), "c4n4ry");
  EXPECT_TRUE(service.client_in_form);
  EXPECT_EQ(service.scope, "a b");
  EXPECT_TRUE(service.user.empty() && service.key_store.location.empty());
  EXPECT_EQ(read(internet, "OAuth2JWTBearer\n" + more).login, DestinationLogin::jwt_bearer);
  EXPECT_EQ(read(internet, "OAuth2TokenExchange\n" + more).login, DestinationLogin::token_exchange);
  const auto password = read(internet, "OAuth2Password\nUser=u:v\nPassword=p\n" + more);
  EXPECT_EQ(password.login, DestinationLogin::resource_owner);
  EXPECT_EQ(password.user, "u:v");
  EXPECT_EQ(password.password.reveal(), "p");
}

TEST(DestinationDefinition, with_other_ways_to_prove_a_client) {
  const auto by_user = read(internet,
                            "OAuth2ClientCredentials\ntokenServiceUser=u\ntokenServicePassword=p\n"
                            "tokenService.addClientCredentialsInBody=false\n" +
                                std::string(client));
  EXPECT_EQ(by_user.token_service.user, "u");
  EXPECT_EQ(by_user.token_service.password.reveal(), "p");
  EXPECT_FALSE(by_user.token_service.client_in_form);
  const auto by_certificate =
      read(internet,
           "OAuth2ClientCredentials\nclientId=c\ntokenServiceURL=https\\://{tenant}.login.example/{tenant}\n"
           "tokenServiceURLType=Common\ntokenService.KeyStoreLocation=a.p12\ntokenService.KeyStorePassword=p");
  EXPECT_TRUE(by_certificate.token_service.is_common);
  EXPECT_EQ(by_certificate.token_service.url, "https://{tenant}.login.example/{tenant}");
  EXPECT_EQ(by_certificate.token_service.key_store.location, "a.p12");
  EXPECT_EQ(by_certificate.token_service.key_store.password.reveal(), "p");
  EXPECT_TRUE(by_certificate.token_service.client_secret.reveal().empty());
  const auto at_target = read(internet, "ClientCertificateAuthentication\nKeyStoreLocation=a.pem");
  EXPECT_EQ(at_target.login, DestinationLogin::client_certificate);
  EXPECT_EQ(at_target.key_store.location, "a.pem");
}

TEST(DestinationDefinition, of_other_types) {
  const auto tcp = read("Name=a\nType=TCP\nAddress=DB:5432\nProxyType=OnPremise");
  EXPECT_EQ(tcp.type, DestinationType::tcp);
  EXPECT_EQ(tcp.address, (Endpoint{"db", 5432}));
  struct Row {
    std::string_view url;
    Endpoint address;
  };
  for (const auto& [url, address] :
       {Row{"ldap://l:1389", {"l", 1389}}, Row{"l:389", {"l", 389}}, Row{"ldap://l", {"l", 389}},
        Row{"LDAPS://l/", {"l", 636}}, Row{"ldap://[::1]:3", {"::1", 3}}}) {
    const auto ldap = read("Name=a\nType=LDAP\nldap.proxyType=Internet\nldap.password=p\nldap.url=" + std::string(url));
    EXPECT_EQ(ldap.type, DestinationType::ldap);
    EXPECT_EQ(ldap.address, address) << url;
  }
  const auto mail = read(
      "Name=a\nType=MAIL\nProxyType=Internet\nAuthentication=BasicAuthentication\n"
      "mail.smtp.host=m\nmail.smtp.port=587\nmail.user=u\nmail.password=p");
  EXPECT_EQ(mail.type, DestinationType::mail);
  EXPECT_EQ(mail.address, (Endpoint{"m", 587}));
  EXPECT_EQ(mail.login, DestinationLogin::none);
  EXPECT_EQ(read("Name=a\nType=mail\nProxyType=Internet\nmail.smtp.host=m").address, (Endpoint{"m", 25}));
}

TEST(DestinationDefinition, is_the_same_as_json) {
  const auto definition =
      read(R"({"Name":"erp","Type":"HTTP","URL":"http://erp:80","ProxyType":"OnPremise","sap-client":100,)"
           R"("Authentication":"NoAuthentication","TrustAll":true,"URL.connectionTimeoutInSeconds":7})");
  EXPECT_EQ(definition.parameters.fields.find("sap-client"), "100");
  EXPECT_TRUE(definition.trust_all);
  EXPECT_EQ(definition.connect_timeout, 7s);
}

TEST(DestinationDefinition, notes_what_has_no_effect) {
  const auto notes = [](std::string_view text, const std::string& more) { return read(text, more).notes; };
  struct Row {
    std::string more;
    std::string_view begin;
  };
  for (const auto& [more, begin] :
       {Row{"TrustStoreLocation=a.jks", "TrustStoreLocation has no effect: "},
        Row{"HostnameVerifier=BrowserCompatible", "HostnameVerifier has no effect: "},
        Row{"tokenService.body.resource=c4n4ry", "tokenService.body.resource has no effect: "},
        Row{"tokenServiceURL.headers.X=c4n4ry", "tokenServiceURL.headers.X has no effect: "},
        Row{"CloudConnectorLocationId=east", "CloudConnectorLocationId has no effect: "}}) {
    const auto found = notes(internet, "NoAuthentication\n" + more);
    ASSERT_EQ(found.size(), 1u) << more;
    EXPECT_TRUE(found.front().starts_with(begin)) << found.front();
    EXPECT_FALSE(found.front().contains("c4n4ry"));
  }
  EXPECT_EQ(read(internet, "NoAuthentication\nCloudConnectorLocationId=east").location_id, "");
  EXPECT_TRUE(notes(internet, "NoAuthentication\nHostnameVerifier=Strict\ntokenServiceURL=x").empty());
  const auto link = read("Name=a\nType=TCP\nAddress=db:5432\nProxyType=PrivateLink");
  EXPECT_EQ(link.proxy, DestinationProxy::internet);
  EXPECT_TRUE(link.notes.front().starts_with("ProxyType PrivateLink is taken as Internet"));
}

/// Changes one property of a good definition, so that it is refused.
struct Flaw {
  std::string_view good;
  std::string more;
  std::string_view begin;
};

void expect_refused(const Flaw& flaw) {
  const auto definition = read_destination(std::string(flaw.good) + flaw.more);
  ASSERT_FALSE(definition) << flaw.good << flaw.more;
  EXPECT_EQ(definition.error().code, "gateway.bad_destination");
  EXPECT_TRUE(definition.error().text.starts_with(flaw.begin)) << definition.error().text << "\n" << flaw.more;
  EXPECT_FALSE(definition.error().text.contains("c4n4ry")) << definition.error().text;
}

TEST(DestinationDefinition, is_refused_for_its_target) {
  for (const Flaw& flaw : {
           Flaw{"Type=HTTP", "", "Name: write"},
           Flaw{"Name=a/b\nType=HTTP", "", "Name: write"},
           Flaw{"Name=..\nType=HTTP", "", "Name: write"},
           Flaw{"Name=", std::string(201, 'a'), "Name: write"},
           Flaw{"Name=a", "", "Type: write"},
           Flaw{"Name=a\nType=c4n4ry", "", "Type: write"},
           Flaw{"Name=a\nType=RFC", "", "Type: RFC is not supported: "},
           Flaw{"Name=a\nType=HTTP\nURL=http://a", "", "ProxyType: write"},
           Flaw{"Name=a\nType=HTTP\nURL=http://a\nProxyType=c4n4ry", "", "ProxyType: write"},
           Flaw{"Name=a\nType=HTTP\nProxyType=Internet", "", "URL: must be"},
           Flaw{"Name=a\nType=HTTP\nProxyType=Internet\nURL=https://u:c4n4ry@a/", "", "URL: must be"},
           Flaw{"Name=a\nType=HTTP\nProxyType=OnPremise\nURL=https://a/", "", "URL: write http://"},
           Flaw{"Name=a\nType=HTTP\nProxyType=OnPremise\nURL=http://a/\nCloudConnectorLocationId=a\\nb", "",
                "CloudConnectorLocationId: has control"},
           Flaw{"Name=a\nType=TCP\nProxyType=Internet", "", "Address: write host:port"},
           Flaw{"Name=a\nType=TCP\nProxyType=Internet\nAddress=a", "", "Address: write host:port"},
           Flaw{"Name=a\nType=LDAP\nldap.proxyType=x", "", "ldap.proxyType: write"},
           Flaw{"Name=a\nType=LDAP\nldap.proxyType=Internet", "", "ldap.url: write host:port"},
           Flaw{"Name=a\nType=LDAP\nldap.proxyType=Internet\nldap.url=http://a:1", "", "ldap.url: write host:port"},
           Flaw{"Name=a\nType=MAIL\nProxyType=Internet", "", "mail.smtp.host: is missing"},
           Flaw{"Name=a\nType=MAIL\nProxyType=Internet\nmail.smtp.host=a\nmail.smtp.port=x", "",
                "mail.smtp.host, mail"},
       })
    expect_refused(flaw);
}

TEST(DestinationDefinition, is_refused_for_its_login) {
  for (const Flaw& flaw : {
           Flaw{internet, "", "Authentication: write a supported one"},
           Flaw{internet, "c4n4ry", "Authentication: write a supported one"},
           Flaw{internet, "OAuth2SAMLBearerAssertion", "Authentication: OAuth2SAMLBearerAssertion is not supported: "},
           Flaw{internet, "PrincipalPropagation", "ProxyType: must be OnPremise"},
           Flaw{internet, "BasicAuthentication\nPassword=c4n4ry", "User: is missing"},
           Flaw{internet, "BasicAuthentication\nUser=u", "Password: is missing; add it (exports leave secrets out)"},
           Flaw{internet, "BasicAuthentication\nUser=u\\:v\nPassword=c4n4ry", "User: must not contain a colon"},
           Flaw{internet, "BasicAuthentication\nUser=u\nPassword=c4n4ry\\n", "Password: has control characters"},
           Flaw{internet, "ClientCertificateAuthentication", "KeyStoreLocation: is missing"},
           Flaw{on_premise, "ClientCertificateAuthentication\nKeyStoreLocation=a", "ProxyType: must be Internet"},
           Flaw{"Name=a\nType=HTTP\nProxyType=Internet\nURL=http://a\nKeyStoreLocation=a\nAuthentication=",
                "ClientCertificateAuthentication", "URL: must begin with https://"},
           Flaw{internet, "OAuth2ClientCredentials", "clientId: is missing"},
           Flaw{internet, "OAuth2ClientCredentials\nclientId=c", "tokenServiceURL: is missing"},
           Flaw{internet, "OAuth2ClientCredentials\nclientId=c\ntokenServiceURL=https\\://l",
                "clientSecret: is missing"},
           Flaw{internet, "OAuth2ClientCredentials\nclientId=c\nclientSecret=c4n4ry\ntokenServiceURL=l",
                "tokenServiceURL: must be"},
           Flaw{internet,
                "OAuth2ClientCredentials\nclientId=c\nclientSecret=c\ntokenServiceURL=https://{tenant}.c4n4ry",
                "tokenServiceURL: must be"},
           Flaw{internet, "OAuth2ClientCredentials\ntokenServiceURLType=c4n4ry\n" + std::string(client),
                "tokenServiceURLType: write"},
           Flaw{internet, "OAuth2ClientCredentials\nscope=c4n4ry\\n\n" + std::string(client), "scope: has control"},
           Flaw{internet, "OAuth2ClientCredentials\ntokenServiceUser=u\n" + std::string(client),
                "tokenServicePassword: is missing"},
           Flaw{internet,
                "OAuth2ClientCredentials\ntokenService.addClientCredentialsInBody=c4n4ry\n" + std::string(client),
                "tokenService.addClientCredentialsInBody: write true"},
           Flaw{internet, "OAuth2Password\n" + std::string(client), "User: is missing"},
           Flaw{internet, "NoAuthentication\nTrustAll=c4n4ry", "TrustAll: write true or false"},
       })
    expect_refused(flaw);
}

TEST(DestinationDefinition, is_refused_for_its_additions) {
  for (const Flaw& flaw : {
           Flaw{internet, "NoAuthentication\nURL.headers.Host=c4n4ry", "URL.headers.Host: Host: only Culvert"},
           Flaw{internet, "NoAuthentication\nURL.headers.A\\ B=c4n4ry", "URL.headers.A B: "},
           Flaw{internet, "NoAuthentication\nURL.headers.A=c4n4ry\\r", "URL.headers.A: "},
           Flaw{internet, "NoAuthentication\nURL.queries.=c4n4ry", "URL.queries.: "},
           Flaw{internet, "NoAuthentication\nsap-client=c4n4ry\\n1", "sap-client: "},
           Flaw{internet, "NoAuthentication\nURL.connectionTimeoutInSeconds=0",
                "URL.connectionTimeoutInSeconds: write"},
           Flaw{internet, "NoAuthentication\nURL.connectionTimeoutInSeconds=301",
                "URL.connectionTimeoutInSeconds: write"},
           Flaw{internet, "NoAuthentication\nURL.connectionTimeoutInSeconds=5s",
                "URL.connectionTimeoutInSeconds: write"},
           Flaw{internet, "NoAuthentication\nURL.socketReadTimeoutInSeconds=43201",
                "URL.socketReadTimeoutInSeconds: write a whole number from 1 to 43200"},
       })
    expect_refused(flaw);
}

}  // namespace
}  // namespace culvert::server
