// SPDX-License-Identifier: Apache-2.0
// Seeds for the corpora out of real conversations and of the tables of HTTP: `make_corpus DIR` writes
// DIR/<target>/<number>. scripts/fuzz --keep merges them into tests/fuzz/corpus, where libFuzzer names each after its
// content.
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/testing/http_table.hpp"
#include "tests/testing/session_pair.hpp"

namespace {

using namespace culvert::protocol;

class Corpus {
 public:
  explicit Corpus(std::filesystem::path folder) : folder_(std::move(folder)) {}
  void add(const std::string& target, const Bytes& bytes) {
    std::filesystem::create_directories(folder_ / target);
    std::ofstream file(folder_ / target / std::to_string(++count_), std::ios::binary);
    file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
  /// As frames, and as what a session hears under every kind of driver.
  void add_wire(const Bytes& bytes, bool to_server) {
    add("frame_decode", bytes);
    for (int flags = 0; flags < 16; flags += 2) {
      for (const int seed : {0, 1, 77}) {
        const Bytes head{static_cast<std::byte>(flags | (to_server ? 1 : 0)), static_cast<std::byte>(seed)};
        add("session", joined({head, bytes}));
      }
    }
  }

 private:
  std::filesystem::path folder_;
  int count_ = 0;
};

/// One conversation with every kind of frame; without its greeting when `bare`.
void converse(Corpus& corpus, bool bare) {
  SessionPair pair;
  const std::size_t up = bare ? pair.to_server().size() : 0;
  const std::size_t down = bare ? pair.to_agent().size() : 0;
  const StreamId web = pair.agent.open("web");
  const StreamId erp = pair.server.open("erp");
  pair.agent.write(web, "GET /");
  pair.agent.finish(web);
  pair.server.write(erp, "hello");
  pair.pump();
  pair.server.write(web, std::string(300, 'w'));
  pair.server.finish(web, Source::aborted);
  pair.agent.session.stop(erp, Reason::cancelled);
  pair.pump();
  pair.agent.finish_by_reset(erp, Reason::target_reset);
  pair.server.accepts = false;
  const StreamId refused = pair.agent.open("refused");
  pair.agent.write(refused, "early");
  pair.pump();
  pair.server.session.reject(refused, {Reason::not_exposed, false, "no"});
  pair.pass(std::chrono::seconds(5));
  (void)pair.agent.open("left");
  pair.server.session.tell_replicas({"q", "r"});
  pair.server.answer = Issued{bytes_of("chain"), bytes_of("authorities"), std::chrono::seconds(60)};
  pair.agent.session.renew({.request = bytes_of("request")});
  pair.pump();
  pair.server.session.drain(Reason::shutdown, std::chrono::seconds(1));
  pair.pump();
  pair.server.session.close(Reason::shutdown, "bye");
  pair.pump();
  corpus.add_wire({pair.to_server().begin() + static_cast<std::ptrdiff_t>(up), pair.to_server().end()}, true);
  corpus.add_wire({pair.to_agent().begin() + static_cast<std::ptrdiff_t>(down), pair.to_agent().end()}, false);
}

void messages(Corpus& corpus) {
  corpus.add("message_decode", encode(Hello{.capabilities = {"http", "x"}, .epoch = 1ull << 40, .software = "s"}));
  corpus.add("message_decode", encode(Welcome{.capabilities = {"http"}, .replica = "r", .replicas = {"q", "r"}}));
  corpus.add("message_decode", encode(Replicas{{"q", "r"}}));
  corpus.add("message_decode", encode(Open{.name = "web", .credit = window_bytes_start}));
  corpus.add("message_decode", encode(Open{.kind = Open::Kind::host, .name = "erp", .port = 443, .credit = 16'384}));
  corpus.add("message_decode", encode(Reject{Reason::overloaded, true, "caf\xc3\xa9"}));
  corpus.add("message_decode", encode(Goaway{.kind = Goaway::Kind::final, .reason = Reason::flood, .last_stream = 9}));
  for (const char* bomb : {"\x81\xa1\x61\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff", "\x81\xa1\x61\x91\x91\x91\x90",
                           "\x82\xa1\x61\x01\xa1\x61\x02", "\x81\xa1\x61\xc7\x01\x02\x03", "\x81\xa1\x61\xd9\x01x"}) {
    corpus.add("message_decode", bytes_of(bomb));
  }
}

/// The messages of enrolment, and join connections: what a server hears on one, and what it answers.
void enrolment(Corpus& corpus) {
  const Join join{.token = "id-1", .software = "s", .request = bytes_of("request")};
  const Renew renew{bytes_of("request"), bytes_of("certificate"), bytes_of("signature")};
  const Issued issued{bytes_of("chain"), bytes_of("authorities"), std::chrono::seconds(60)};
  const Denied denied{Reason::token_used, true, "used"};
  corpus.add("enrolment_decode", encode(join));
  corpus.add("enrolment_decode", encode(renew));
  corpus.add("enrolment_decode", encode(Renew{.request = bytes_of("request")}));
  corpus.add("enrolment_decode", encode(issued));
  corpus.add("enrolment_decode", encode(denied));
  const Bytes bye = frame(FrameType::goaway, 0, encode(Goaway{.kind = Goaway::Kind::final, .reason = Reason::none}));
  corpus.add("enrolment_decode", joined({answer_frame(issued), bye}));
  corpus.add("enrolment_decode", joined({answer_frame(denied), bye}));
  corpus.add("enrolment_decode", frame(FrameType::goaway, 0, encode(Goaway{.kind = Goaway::Kind::final})));
  for (const Bytes& first : {join_frame(join), renew_frame(renew), joined({join_frame(join), join_frame(join)})}) {
    corpus.add("frame_decode", first);
    for (const int seed : {0, 1, 77}) {
      corpus.add("session", joined({Bytes{std::byte{0x41}, static_cast<std::byte>(seed)}, first}));
    }
  }
}

/// The long vectors are about limits, which no fuzzer learns from.
void http(Corpus& corpus) {
  for (const auto& row : culvert::read_http_table("vectors.txt", 4)) {
    const std::string& wire = row.cells.at(3);
    if (wire.size() > 1'000) continue;
    const bool is_request = row.section.starts_with("request");
    const std::size_t body = wire.find("\r\n\r\n");
    for (const char how : {'\0', '\1', '\2', '\4'}) {
      corpus.add(is_request ? "http_request" : "http_response", bytes_of(how + wire));
    }
    if (body != wire.npos) corpus.add("http_chunked", bytes_of('\5' + wire.substr(body + 4)));
  }
  for (const auto& row : culvert::read_http_table("paths.txt", 3)) corpus.add("http_path", bytes_of(row.cells.at(0)));
  for (const auto& row : culvert::read_http_table("authorities.txt", 2)) {
    corpus.add("http_authority", bytes_of(row.cells.at(0)));
  }
}

/// One of each method, command and kind of address.
void socks5(Corpus& corpus) {
  using namespace std::string_literals;
  for (const std::string& login : {"\5\1\0"s, "\5\1\2\1\6acme/x\6s3cret"s, "\5\1\x80\1\0\0\0\5a.b.c\14cGxhbnQtMQ=="s}) {
    for (const std::string& request :
         {"\5\1\0\3\3ERP\1\273"s, "\5\1\0\1\12\0\0\1\0\120"s, "\5\1\0\4\x20\1\xd\xb8\0\0\0\0\0\0\0\0\0\0\0\1\x1f\x90"s,
          "\5\2\0\3\3ERP\1\273"s, "\5\1\0\2"s}) {
      for (const char how : {'\7', '\17'}) corpus.add("socks5", bytes_of(how + "\0"s + login + request));
    }
  }
  corpus.add("socks5", bytes_of("\7\0\4\1\0\120\1\2\3\4\0"s));
}

/// Behind the byte that says what it is: a token, claims, a header, an object.
void tokens(Corpus& corpus) {
  std::string many = "1";
  while (many.size() < 1'900) many += ",1";
  for (const std::string& text :
       {std::string(R"({"alg":"RS256","kid":"a","typ":"JWT"})"), std::string(R"({"alg":"none","crit":["b64"]})"),
        std::string(R"({"iss":"https://i","aud":["a","b"],"exp":1800000000,"nbf":1.5e9,"azp":"c","a":[{"/":true}]})"),
        std::string(R"({"a":1,"\u0061":2})"), std::string("[[[[[[[[[]]]]]]]]]"), "{\"a\":[" + many + "]}"}) {
    for (const char how : {'\1', '\2', '\3'}) corpus.add("token", bytes_of(how + text));
  }
  corpus.add("token", bytes_of(std::string(1, '\0') + "eyJhbGciOiJFUzI1NiIsImtpZCI6ImUxIn0.eyJpc3MiOiJpIn0.AAAA"));
  corpus.add("token", bytes_of("\3eyJhbGciOiJFUzI1NiIsImtpZCI6ImUxIn0"));
}

/// What the gateway reads: paths, answers of token services, parameters, and one destination of each kind.
void gateway(Corpus& corpus) {
  for (const char* path : {"/shop/orders/v1/items/", "/a/b//c:d?e=1\n?f&g", "Orders API (2)", "/api/\n//x"})
    corpus.add("gateway_path", bytes_of(path));
  for (const char* answer : {R"({"access_token":"a.b-_~+/=","token_type":"Bearer","expires_in":3600,"scope":"a b"})",
                             R"({"access_token":"a","expires_in":"60"})", R"({"access_token":"a","expires_in":1.5e3})",
                             R"({"error":"invalid_client","error_description":"x"})"}) {
    for (const char status : {'\0', '\1'}) corpus.add("token_answer", bytes_of(std::string(1, status) + answer));
  }
  for (const char* parameters : {R"({"headers":{"X-A":["1","2"]},"queryParameters":{"a b":"c"}})",
                                 "{\"X-A\":\"1\"}\n{\"a\":[\"b&c\",\"\"]}", R"({"headers":{"Host":"a"}})"})
    corpus.add("request_parameters", bytes_of(parameters));
  for (
      const char* text :
      {"#x\nName=a\nType=HTTP\nURL=http\\://a\\:1/b\nProxyType=OnPremise\nAuthentication=BasicAuthentication\nUser=u\n"
       "Password=\\u00e9\\ud83d\\ude00\\\n  p\nsap-client=100\nURL.headers.A=b\nURL.queries.c=d\nTrustAll=true\n",
       R"({"Name":"a","Type":"HTTP","URL":"https://a","ProxyType":"Internet","Authentication":"OAuth2ClientCredentials",)"
       R"("clientId":"c","clientSecret":"s","tokenServiceURL":"https://{tenant}.l","tokenServiceURLType":"Common"})",
       "Name=a\nType=LDAP\nldap.url=ldap\\://a\nldap.proxyType=Internet",
       "Name a\nType TCP\nAddress a:1\nProxyType PrivateLink",
       R"({"subaccount":{"destinations":[{"Name":"a","Type":"MAIL","ProxyType":"Internet","mail.smtp.host":"m"}]}})"})
    corpus.add("destination", bytes_of(text));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  Corpus corpus(argv[1]);
  converse(corpus, false);
  converse(corpus, true);
  messages(corpus);
  enrolment(corpus);
  http(corpus);
  socks5(corpus);
  tokens(corpus);
  gateway(corpus);
  return 0;
}
