// SPDX-License-Identifier: Apache-2.0
// The content of a parsed head, and its written form.
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <malloc.h>

#include "common/http/field_names.hpp"
#include "common/http/head_check.hpp"
#include "common/http/head_message.hpp"
#include "common/http/head_writer.hpp"
#include "common/http/interim_limit.hpp"
#include "common/http/request_parser.hpp"
#include "common/http/response_parser.hpp"
#include "protocol/messages.hpp"
#include "tests/testing/http_table.hpp"

namespace culvert::http {
namespace {

using Lines = std::vector<std::string>;

Lines lines_of(const Fields& fields) {
  Lines lines;
  for (const auto& [name, value] : fields) lines.push_back(std::string(name) + ": " + std::string(value));
  return lines;
}

RequestHead request(const std::string& fields, const std::string& line = "GET / HTTP/1.1", Role role = Role::origin) {
  RequestParser parser(role);
  const std::string wire = line + "\r\nHost: erp\r\n" + fields + "\r\n";
  EXPECT_EQ(parser.parse(wire), Parsed::complete) << fields;
  return parser.head();
}

ResponseHead response(const std::string& wire, const Asked& asked = {}) {
  ResponseParser parser;
  parser.begin(asked);
  EXPECT_EQ(parser.parse(wire), Parsed::complete) << wire;
  return parser.head();
}

TEST(RequestHead, keeps_end_to_end_fields_in_their_order_and_spelling) {
  const auto head = request("Accept: a\r\nX-b:  c \r\naccept: d\r\n");
  EXPECT_EQ(lines_of(head.fields), (Lines{"Accept: a", "X-b: c", "accept: d"}));
}

TEST(RequestHead, has_no_field_that_is_for_one_hop) {
  const auto head = request(
      "A: 1\r\nConnection: keep-alive, X-One, x-two\r\nX-One: 1\r\nX-TWO: 2\r\nx-one: 3\r\nKeep-Alive: timeout=5\r\n"
      "Proxy-Connection: keep-alive\r\nProxy-Authorization: Bearer t\r\nProxy-Authenticate: x\r\nTE: gzip\r\n"
      "Upgrade: x\r\nContent-Length: 0\r\nExpect: 100-continue\r\nHTTP2-Settings: x\r\nZ: 1\r\n");
  EXPECT_EQ(lines_of(head.fields), (Lines{"A: 1", "Z: 1"}));
}

TEST(RequestHead, has_none_that_a_back_end_might_take_for_one) {
  const auto head = request(
      "Content_Length: 5\r\nTransfer_Encoding: chunked\r\nKeep_Alive: x\r\nproxy_authorization: x\r\nPROXY-Connection: "
      "x\r\n"
      "Proxy_Authentication-Info: x\r\nSAP-Connectivity-SCC-Location_ID: l\r\n");
  EXPECT_EQ(lines_of(head.fields), (Lines{"SAP-Connectivity-SCC-Location_ID: l"}));
  EXPECT_EQ(head.framing, Framing{});
}

TEST(RequestHead, leaves_proxy_credentials_with_the_parser) {
  RequestParser parser(Role::proxy);
  ASSERT_EQ(parser.parse("GET http://erp/ HTTP/1.1\r\nHost: erp\r\nproxy-authorization: Bearer t\r\n\r\n"),
            Parsed::complete);
  EXPECT_EQ(parser.proxy_authorization(), "Bearer t");
  EXPECT_TRUE(parser.head().fields.empty());
  parser.reset();
  EXPECT_EQ(parser.proxy_authorization(), "") << "nobody speaks with the credentials of the request before";
}

TEST(RequestHead, upgrades_only_as_connection_says_and_never_to_unseen_http) {
  EXPECT_EQ(request("Connection: upgrade\r\nUpgrade: websocket\r\n").upgrade, "websocket");
  EXPECT_EQ(request("Upgrade: a/1\r\nConnection: x, UPGRADE\r\nUpgrade: b , ,c\r\n").upgrade, "a/1, b, c");
  EXPECT_EQ(request("Upgrade: websocket\r\n").upgrade, "") << "without Connection";
  EXPECT_EQ(request("Connection: upgrade\r\nUpgrade: h2c\r\n").upgrade, "");
  EXPECT_EQ(request("Connection: upgrade\r\nUpgrade: H2C, websocket, TLS/1.2, HTTP/2.0, h2\r\n").upgrade, "websocket");
  EXPECT_EQ(request("Connection: upgrade\r\nUpgrade: websocket\r\n", "GET / HTTP/1.0").upgrade, "");
  EXPECT_EQ(request("Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n").upgrade, "") << "with a body";
}

TEST(RequestHead, waits_for_a_continue_only_with_a_body) {
  EXPECT_TRUE(request("Expect: 100-continue\r\nContent-Length: 5\r\n").expect_continue);
  EXPECT_TRUE(request("Expect: 100-Continue\r\nTransfer-Encoding: chunked\r\n").expect_continue);
  EXPECT_FALSE(request("Expect: 100-continue\r\n").expect_continue);
  EXPECT_FALSE(request("Expect: 100-continue\r\nContent-Length: 5\r\n", "POST / HTTP/1.0").expect_continue);
}

TEST(RequestHead, accepts_trailers_where_te_says_so) {
  EXPECT_TRUE(request("TE: trailers\r\n").accepts_trailers);
  EXPECT_TRUE(request("TE: gzip, Trailers\r\n").accepts_trailers);
  EXPECT_FALSE(request("TE: gzip\r\n").accepts_trailers);
}

TEST(RequestHead, has_the_authority_of_the_target_and_not_of_host) {
  const auto head = request("", "GET http://Other.:8080//%62?c=/../d HTTP/1.1", Role::proxy);
  EXPECT_EQ(head.authority, (Endpoint{"other", 8080}));
  EXPECT_EQ(head.path, "//%62") << "as it came";
  EXPECT_EQ(head.query, "?c=/../d");
}

TEST(RequestParser, starts_afresh_after_reset) {
  RequestParser parser(Role::origin);
  ASSERT_EQ(parser.parse("POST /a?b HTTP/1.0\r\nHost: erp\r\nX: y\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"),
            Parsed::complete);
  parser.reset();
  ASSERT_EQ(parser.parse("GET / HTTP/1.1\r\nHost: erp\r\n\r\n"), Parsed::complete);
  EXPECT_EQ(parser.head(), request(""));
  EXPECT_EQ(parser.hop(), Hop{});
}

TEST(RequestParser, holds_no_more_memory_after_many_heads_than_after_one) {
  RequestParser parser(Role::origin);
  const std::string wire = "GET / HTTP/1.1\r\nHost: erp\r\nX: " + std::string(1'000, 'x') + "\r\n\r\n";
  ASSERT_EQ(parser.parse(wire), Parsed::complete);
  const auto held = [] { return mallinfo2().uordblks + mallinfo2().hblkhd; };
  const std::size_t before = held();
  for (int i = 0; i < 1'000; ++i) {
    parser.reset();
    ASSERT_EQ(parser.parse(wire), Parsed::complete);
  }
  EXPECT_LE(held(), before + 10'000);
}

TEST(RequestParser, looks_at_each_byte_once) {
  // 8 KiB, byte by byte. A search from the start each time would take 32 million steps.
  RequestParser parser(Role::origin);
  std::string wire = "GET / HTTP/1.1\r\nHost: erp\r\nX: " + std::string(8'000, 'x');
  for (std::size_t size = 0; size < wire.size(); ++size) {
    ASSERT_EQ(parser.parse(std::string_view(wire).substr(0, size)), Parsed::need_more);
    // Bytes that were searched are not read again: otherwise this change would make the name invalid.
    if (size > 40) wire[size - 3] = '\n';
  }
}

TEST(RequestParser, obeys_limits_that_are_set) {
  HeadLimits limits;
  limits.fields_max = 2;
  limits.line_bytes_max = 20;
  RequestParser fields(Role::origin, limits);
  EXPECT_EQ(fields.parse("GET / HTTP/1.1\r\nHost: erp\r\nA: b\r\nC: d\r\n\r\n"), Parsed::refused);
  EXPECT_EQ(fields.refusal().code, "http.too_many_fields");
  RequestParser line(Role::origin, limits);
  EXPECT_EQ(line.parse("GET / HTTP/1.1\r\nHost: " + std::string(15, 'a')), Parsed::refused);
  EXPECT_EQ(line.refusal().status, 431);
}

TEST(RequestParser, names_the_byte_that_it_refuses) {
  const std::pair<const char*, const char*> cases[]{
      {"GET /a\x01 HTTP/1.1\r\n", "byte 0x01 at position 7 of line 1"},
      {"GET / HTTP/1.1\r\nHost: a\x7f", "byte 0x7f at position 8 of line 2"},
      {"GET / HTTP/1.1\rHost: a\r\n", "byte 0x0d at position 15 of line 1"},
      {"GET /a b HTTP/1.1\r\n", "byte 0x20 at position 7 of line 1"},
      {"GET /a%2 HTTP/1.1\r\n", "byte 0x25 at position 7 of line 1"},
      {"\r\nGET /a%2 HTTP/1.1\r\n", "byte 0x25 at position 7 of line 2"},
      {"GET /a/..;/b HTTP/1.1\r\n", ""},
      {"GET /a\r\n", ""},
  };
  for (const auto& [wire, place] : cases) {
    RequestParser parser(Role::origin);
    EXPECT_EQ(parser.parse(wire), Parsed::refused) << wire;
    EXPECT_EQ(parser.refused_byte(), place) << wire;
  }
}

TEST(ResponseParser, names_what_it_refuses) {
  const std::string line = "Set-Cookie: " + std::string(50, 'c');
  const std::pair<std::string, const char*> cases[]{
      {"HTTP/1.1 200 OK\r\nX: a\x01", "byte 0x01 at position 5 of line 2"},
      {"HTTP/1.1 200 OK\r\n" + line + "\r\n",
       "Set-Cookie has 62 bytes; the agent's [limits] allow head_line_max = 61 and head_max = 100"},
      {"HTTP/1.1 200 OK\r\nA: b\r\nX: " + std::string(100, 'x'),
       "X has 77 bytes; the agent's [limits] allow head_line_max = 61 and head_max = 100"},
      {"HTTP/1.1 200 OK\r\n" + std::string(100, 'x'), ""},
  };
  for (const auto& [wire, detail] : cases) {
    ResponseParser parser;
    parser.begin({}, {.head_bytes_max = 100, .line_bytes_max = 61});
    EXPECT_EQ(parser.parse(wire), Parsed::refused) << wire;
    EXPECT_EQ(parser.detail(), detail) << wire;
  }
}

TEST(InterimLimit, is_in_bytes_per_ten_seconds) {
  using namespace std::chrono_literals;
  InterimLimit limit(InterimLimit::From::socket);
  for (int i = 0; i < 64; ++i) EXPECT_TRUE(limit.take(1024, 100s));
  EXPECT_FALSE(limit.take(1, 100s));
  EXPECT_TRUE(limit.take(64 * 1024, 110s));
  EXPECT_FALSE(limit.take(1, 119s));
}

TEST(HeadMessage, carries_a_word_about_a_failure) {
  const auto answer = read_answer(to_failure("caf\xe9 " + std::string(300, 'x')), {});
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->kind, Answer::Kind::failure);
  EXPECT_EQ(answer->failure, "caf? " + std::string(251, 'x'));
  for (const std::string& bad : {std::string(), std::string("a\nb"), std::string(257, 'x')})
    EXPECT_FALSE(read_answer(encode(protocol::Head{.kind = protocol::Head::Kind::failure, .reason = bad}), {})) << bad;
}

TEST(HeadMessage, has_room_for_what_the_server_adds_to_the_longest_head) {
  std::size_t heads = 0;
  for (const TableRow& row : read_http_table("vectors.txt", 4)) {
    RequestParser parser(Role::origin);
    if (!row.cells.at(0).starts_with("b18_") || parser.parse(row.cells.at(3)) != Parsed::complete) continue;
    RequestHead head = parser.head();
    head.fields.set("Via", "1.1 culvert");
    head.fields.set("X-Forwarded-For", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff");
    EXPECT_EQ(read_request(to_message(head)), head) << row.cells.at(0);
    ++heads;
  }
  EXPECT_EQ(heads, 5u);
}

/// A head as releases without the capability `heads` read it.
RequestHead request_for_older_peer(const RequestHead& head) {
  const auto message = to_message(head, protocol::HeadForm::older);
  EXPECT_TRUE(protocol::decode_head(message)->query_bytes.empty()) << "they do not know this key";
  const auto read = read_request(message);
  EXPECT_TRUE(read);
  return read ? *read : RequestHead();
}

TEST(HeadMessage, has_targets_in_canonical_form_for_older_peers) {
  for (const auto& [sent, target] : {std::pair{"/a%20b?c=%2f", "/a%20b?c=%2f"},
                                     {"/%7Euser//x?q=\xe9", "/~user/x?q=%E9"},
                                     {"/a%2fb{c}", "/a%2Fb%7Bc%7D"},
                                     {"/100%?100%", "/100%25?100%25"},
                                     {"/?\xc3\xbc#", "/?%C3%BC%23"}}) {
    const auto head = request_for_older_peer(request("", std::string("GET ") + sent + " HTTP/1.1"));
    EXPECT_EQ(head.path + head.query, target) << sent;
  }
  EXPECT_EQ(request_for_older_peer(request("", "OPTIONS * HTTP/1.1")).path, "*");
  EXPECT_EQ(read_request(to_message(request("", "GET /%7Euser//x?q=\xe9 HTTP/1.1")))->path, "/%7Euser//x");
}

TEST(HeadMessage, has_no_target_that_is_too_long_for_older_peers) {
  const std::string brackets(2'730, '[');
  const auto fits = request_for_older_peer(request("", "GET /" + brackets + "? HTTP/1.1"));
  EXPECT_EQ(fits.path.size() + fits.query.size(), protocol::head_string_bytes_max);
  for (const std::string& target : {"/" + brackets + "?a", "/?q=" + std::string(2'730, '\xe9')}) {
    const auto message = to_message(request("", "GET " + target + " HTTP/1.1"), protocol::HeadForm::older);
    const auto head = protocol::decode_head(message);
    ASSERT_TRUE(head) << "a malformed message ends their tunnels";
    EXPECT_EQ(head->path, "");
    EXPECT_TRUE(head->query.empty() && head->query_bytes.empty());
    EXPECT_FALSE(read_request(message)) << "the request is refused";
  }
}

TEST(HeadMessage, has_nothing_that_older_peers_do_not_know) {
  const auto posted = request("Content-Length: 0\r\nTrailer: X-Sum\r\nX-A: b\r\n", "POST / HTTP/1.1");
  const auto head = request_for_older_peer(posted);
  EXPECT_EQ(head.framing, Framing()) << "they refuse a body of length 0";
  EXPECT_EQ(lines_of(head.fields), (Lines{"X-A: b"}));
  EXPECT_EQ(*read_request(to_message(posted)), posted);

  const auto answered = response("HTTP/1.1 200 OK\r\nContent-Length: 0\r\ntrailer: X-Sum\r\nX-A: b\r\n\r\n");
  const auto answer = read_answer(to_message(answered, protocol::HeadForm::older), {});
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->head.framing, answered.framing);
  EXPECT_EQ(lines_of(answer->head.fields), (Lines{"X-A: b"}));
  EXPECT_EQ(read_answer(to_message(answered), {})->head, answered);
}

TEST(Via, names_us_behind_those_before) {
  Fields fields;
  append_via(fields, Version::http_1_1);
  EXPECT_EQ(lines_of(fields), (Lines{"Via: 1.1 culvert"}));
  append_via(fields, Version::http_1_0);
  EXPECT_EQ(lines_of(fields), (Lines{"Via: 1.1 culvert, 1.0 culvert"}));
  fields.add("via", "1.1 other");
  append_via(fields, Version::http_1_1);
  EXPECT_EQ(lines_of(fields), (Lines{"Via: 1.1 culvert, 1.0 culvert", "via: 1.1 other, 1.1 culvert"}));
}

TEST(OwnFields, are_taken_out_however_they_are_spelt) {
  auto head = request(
      "Forwarded: for=x\r\nX-Forwarded-For: x\r\nx_forwarded_host: x\r\nX-Real_IP: "
      "x\r\nX-Forwarded-Anything: x\r\n"
      "SAP-Connectivity-SCC-Location_ID: x\r\nSAP_CP-Connectivity-Service-Token: x\r\nX-Forward: stays\r\nViable: "
      "stays\r\n");
  erase_own_fields(head.fields);
  EXPECT_EQ(lines_of(head.fields), (Lines{"X-Forward: stays", "Viable: stays"}));
}

TEST(Fields, are_found_counted_set_and_erased_without_regard_to_case) {
  Fields fields;
  fields.add("A", "1");
  fields.add("b", "2");
  fields.add("a", "3");
  EXPECT_EQ(fields.find("a"), "1");
  EXPECT_EQ(fields.find("c"), std::nullopt);
  EXPECT_EQ(fields.count("A"), 2u);
  EXPECT_EQ(fields.bytes(), 18u);
  fields.replace(1, "two");
  fields.set("A", *fields.find("b"));
  EXPECT_EQ(lines_of(fields), (Lines{"b: two", "A: two"}));
  EXPECT_EQ(fields.erase("B"), 1u);
  EXPECT_EQ(lines_of(fields), (Lines{"A: two"}));
  fields.clear();
  EXPECT_TRUE(fields.empty());
}

// --- writing

std::string written(const RequestHead& head, AfterThis after = AfterThis::keep) {
  std::string out;
  write_request(out, head, after);
  return out;
}

std::string written(const ResponseHead& head, const Asked& asked = {}, Version client = Version::http_1_1,
                    AfterThis after = AfterThis::keep) {
  std::string out;
  write_response(out, head, transfer_of(head, asked, client), after);
  return out;
}

TEST(WrittenRequest, is_in_origin_form_with_host_first) {
  const auto head = request("A: b\r\n", "GET http://erp:8080/%61?c HTTP/1.1", Role::proxy);
  EXPECT_EQ(written(head), "GET /%61?c HTTP/1.1\r\nHost: erp:8080\r\nA: b\r\n\r\n");
}

TEST(WrittenRequest, leaves_out_the_port_of_its_scheme) {
  auto head = request("");
  EXPECT_EQ(written(head), "GET / HTTP/1.1\r\nHost: erp\r\n\r\n");
  head.scheme = Scheme::https;
  EXPECT_EQ(written(head), "GET / HTTP/1.1\r\nHost: erp:80\r\n\r\n");
  head.authority = {"::1", 443};
  EXPECT_EQ(written(head), "GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n");
}

TEST(WrittenRequest, frames_its_body) {
  const std::string start = "POST / HTTP/1.1\r\nHost: erp\r\n";
  const std::string line = "POST / HTTP/1.1";
  EXPECT_EQ(written(request("Content-Length: 007\r\n", line)), start + "Content-Length: 7\r\n\r\n");
  EXPECT_EQ(written(request("Transfer-Encoding: Chunked\r\n", line)), start + "Transfer-Encoding: chunked\r\n\r\n");
  EXPECT_EQ(written(request("", line)), start + "Content-Length: 0\r\n\r\n") << "a POST says that it has none";
}

TEST(WrittenRequest, says_what_the_hop_needs) {
  const auto head = request("Content-Length: 1\r\nExpect: 100-continue\r\nTE: trailers\r\n");
  EXPECT_EQ(written(head, AfterThis::close),
            "GET / HTTP/1.1\r\nHost: erp\r\nContent-Length: 1\r\nExpect: 100-continue\r\nTE: trailers\r\n"
            "Connection: close, TE\r\n\r\n");
  EXPECT_EQ(written(request("Connection: Upgrade\r\nUpgrade: websocket\r\n")),
            "GET / HTTP/1.1\r\nHost: erp\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
}

TEST(WrittenResponse, is_framed_for_its_client) {
  const auto known = response("HTTP/1.0 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\n");
  EXPECT_EQ(written(known), "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\n\r\n");
  const auto unknown = response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  EXPECT_EQ(written(unknown), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
  EXPECT_EQ(written(unknown, {}, Version::http_1_0), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
  const auto until_close = response("HTTP/1.1 200 OK\r\n\r\n");
  EXPECT_EQ(written(until_close), written(unknown)) << "an end by closing becomes one by a last chunk";
  EXPECT_EQ(written(known, {}, Version::http_1_1, AfterThis::close),
            "HTTP/1.1 200 OK\r\nA: b\r\nContent-Length: 5\r\nConnection: close\r\n\r\n");
}

TEST(WrittenResponse, declares_a_length_that_no_body_follows_only_where_there_was_one) {
  const Asked head_asked{.is_head = true};
  EXPECT_EQ(written(response("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", head_asked), head_asked),
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
  EXPECT_EQ(written(response("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", head_asked), head_asked),
            "HTTP/1.1 200 OK\r\n\r\n");
  EXPECT_EQ(written(response("HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n")), "HTTP/1.1 204 No\r\n\r\n");
  EXPECT_EQ(written(response("HTTP/1.1 304 \r\nContent-Length: 9\r\n\r\n")),
            "HTTP/1.1 304 \r\nContent-Length: 9\r\n\r\n");
  EXPECT_EQ(written(ResponseHead{.status = 403}), "HTTP/1.1 403 \r\nContent-Length: 0\r\n\r\n")
      << "an answer of our own";
}

TEST(WrittenResponse, switches_protocols) {
  const Asked asked{.upgrade = "websocket"};
  const auto head = response("HTTP/1.1 101 S\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\nA: b\r\n\r\n", asked);
  EXPECT_EQ(head.upgrade, "websocket");
  EXPECT_EQ(written(head, asked), "HTTP/1.1 101 S\r\nA: b\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n");
}

TEST(WrittenHead, of_each_vector_is_read_as_the_same_object) {
  int count = 0;
  for (const TableRow& row : read_http_table("vectors.txt", 4)) {
    if (!row.section.starts_with("request")) continue;
    SCOPED_TRACE("vectors.txt:" + std::to_string(row.line));
    RequestParser parser(row.section == "request proxy" ? Role::proxy : Role::origin);
    if (parser.parse(row.cells.at(3)) != Parsed::complete) continue;
    const RequestHead& head = parser.head();
    if (head.method == "CONNECT" || head.authority.host.empty()) continue;
    EXPECT_EQ(flaw_of(head), nullptr) << "what we parse is good enough for us";
    RequestParser again(Role::origin);
    const std::string text = written(head);
    // Encoding may make the line longer.
    ASSERT_EQ(again.parse(text), Parsed::complete) << text;
    EXPECT_EQ(again.used(), text.size());
    RequestHead expected = head;
    // A POST says that it has no body.
    if (head.framing == Framing{}) expected.framing = again.head().framing;
    EXPECT_EQ(again.head(), expected);
    ++count;
  }
  EXPECT_GT(count, 100);
}

// --- heads from the tunnel

TEST(ForeignRequest, is_refused_where_no_parser_of_ours_could_have_made_it) {
  using Change = void (*)(RequestHead&);
  const RequestHead good = request("A: b\r\nContent-Length: 5\r\n");
  EXPECT_EQ(flaw_of(good), nullptr);
  const std::vector<std::pair<const char*, Change>> changes{
      {"no method", [](RequestHead& h) { h.method.clear(); }},
      {"method with a space", [](RequestHead& h) { h.method = "GET /x"; }},
      {"method with a line end", [](RequestHead& h) { h.method = "GET\r\n"; }},
      {"long method", [](RequestHead& h) { h.method = std::string(33, 'M'); }},
      {"CONNECT", [](RequestHead& h) { h.method = "CONNECT"; }},
      {"no host", [](RequestHead& h) { h.authority.host.clear(); }},
      {"host in capitals", [](RequestHead& h) { h.authority.host = "ERP"; }},
      {"host with a line end", [](RequestHead& h) { h.authority.host = "erp\r\nX: y"; }},
      {"long IPv6", [](RequestHead& h) { h.authority.host = "0::1"; }},
      {"port 0", [](RequestHead& h) { h.authority.port = 0; }},
      {"no path", [](RequestHead& h) { h.path.clear(); }},
      {"path that climbs", [](RequestHead& h) { h.path = "/../a"; }},
      {"path with a dot segment", [](RequestHead& h) { h.path = "/a/./b"; }},
      {"path with a space", [](RequestHead& h) { h.path = "/a b"; }},
      {"path with a line end", [](RequestHead& h) { h.path = "/ HTTP/1.1\r\nX: y"; }},
      {"path with a query", [](RequestHead& h) { h.path = "/a?b"; }},
      {"star on GET", [](RequestHead& h) { h.path = "*"; }},
      {"long path", [](RequestHead& h) { h.path = "/" + std::string(8'192, 'a'); }},
      {"query without its mark", [](RequestHead& h) { h.query = "a"; }},
      {"query with a space", [](RequestHead& h) { h.query = "?a b"; }},
      {"field name", [](RequestHead& h) { h.fields.add("X Y", "z"); }},
      {"empty field name", [](RequestHead& h) { h.fields.add("", "z"); }},
      {"field value", [](RequestHead& h) { h.fields.add("X", "y\r\nZ: a"); }},
      {"field value with a zero", [](RequestHead& h) { h.fields.add("X", std::string_view("\0", 1)); }},
      {"field value that ends in a space", [](RequestHead& h) { h.fields.add("X", "y "); }},
      {"Content-Length", [](RequestHead& h) { h.fields.add("content-length", "5"); }},
      {"Transfer-Encoding", [](RequestHead& h) { h.fields.add("Transfer-Encoding", "chunked"); }},
      {"Transfer_Encoding", [](RequestHead& h) { h.fields.add("Transfer_Encoding", "chunked"); }},
      {"Host", [](RequestHead& h) { h.fields.add("Host", "evil"); }},
      {"Connection", [](RequestHead& h) { h.fields.add("Connection", "close"); }},
      {"Proxy-Authorization", [](RequestHead& h) { h.fields.add("Proxy-Authorization", "x"); }},
      {"many fields",
       [](RequestHead& h) {
         for (int i = 0; i < 100; ++i) h.fields.add("X", "");
       }},
      {"long field", [](RequestHead& h) { h.fields.add("X", std::string(16'384, 'y')); }},
      {"much of fields",
       [](RequestHead& h) {
         for (int i = 0; i < 9; ++i) h.fields.add("X", std::string(8'000, 'y'));
       }},
      {"length of 64 bits", [](RequestHead& h) { h.framing.length = ~0ull; }},
      {"unknown, with a length", [](RequestHead& h) { h.framing.kind = Framing::Kind::unknown; }},
      {"TRACE with a body", [](RequestHead& h) { h.method = "TRACE"; }},
      {"continue without a body",
       [](RequestHead& h) {
         h.framing = {};
         h.expect_continue = true;
       }},
      {"upgrade with a body", [](RequestHead& h) { h.upgrade = "websocket"; }},
      {"upgrade to h2c",
       [](RequestHead& h) {
         h.framing = {};
         h.upgrade = "h2c";
       }},
      {"upgrade with a line end",
       [](RequestHead& h) {
         h.framing = {};
         h.upgrade = "a\r\nX: y";
       }},
      {"upgrade that is no list",
       [](RequestHead& h) {
         h.framing = {};
         h.upgrade = "a,,b";
       }},
  };
  for (const auto& [name, change] : changes) {
    RequestHead head = good;
    change(head);
    EXPECT_NE(flaw_of(head), nullptr) << name;
  }
}

TEST(ForeignResponse, is_refused_where_no_parser_of_ours_could_have_made_it) {
  using Change = void (*)(ResponseHead&);
  const ResponseHead good = response("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n");
  EXPECT_EQ(flaw_of(good, {}), nullptr);
  const std::vector<std::pair<const char*, Change>> changes{
      {"status 99", [](ResponseHead& h) { h.status = 99; }},
      {"status 600", [](ResponseHead& h) { h.status = 600; }},
      {"reason with a line end", [](ResponseHead& h) { h.reason = "a\r\nX: y"; }},
      {"long reason", [](ResponseHead& h) { h.reason = std::string(8'193, 'a'); }},
      {"field value", [](ResponseHead& h) { h.fields.add("X", "y\nZ: a"); }},
      {"Connection", [](ResponseHead& h) { h.fields.add("Connection", "x"); }},
      {"204 with a body", [](ResponseHead& h) { h.status = 204; }},
      {"100 with a body", [](ResponseHead& h) { h.status = 100; }},
      {"200 without framing", [](ResponseHead& h) { h.framing = {}; }},
      {"304 of unknown length",
       [](ResponseHead& h) {
         h.status = 304;
         h.framing = {Framing::Kind::unknown, 0};
       }},
      {"101 unasked",
       [](ResponseHead& h) {
         h.status = 101;
         h.framing = {};
         h.upgrade = "websocket";
       }},
      {"upgrade on 200", [](ResponseHead& h) { h.upgrade = "websocket"; }},
  };
  for (const auto& [name, change] : changes) {
    ResponseHead head = good;
    change(head);
    EXPECT_NE(flaw_of(head, {}), nullptr) << name;
  }
  const ResponseHead switching{.status = 101, .upgrade = "websocket"};
  EXPECT_EQ(flaw_of(switching, {.upgrade = "x, websocket"}), nullptr);
  EXPECT_NE(flaw_of(switching, {.upgrade = "x"}), nullptr);
}

}  // namespace
}  // namespace culvert::http
