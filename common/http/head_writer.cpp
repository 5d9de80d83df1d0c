// SPDX-License-Identifier: Apache-2.0
#include "common/http/head_writer.hpp"

#include "common/http/characters.hpp"
#include "protocol/check.hpp"

namespace culvert::http {

namespace {

void append_field(std::string& out, std::string_view name, std::string_view value) {
  out.append(name).append(": ").append(value).append("\r\n");
}

/// Trailer announces fields that only a body in chunks can have behind it.
void append_fields(std::string& out, const Fields& fields, bool is_chunked) {
  for (const auto& [name, value] : fields) {
    if (is_chunked || !is_equal_ignoring_case(name, "Trailer")) append_field(out, name, value);
  }
}

void append_length(std::string& out, std::uint64_t length) {
  out += "Content-Length: ";
  append_decimal(out, length);
  out += "\r\n";
}

void append_connection(std::string& out, bool closes, std::string_view upgrade, bool has_te) {
  if (!upgrade.empty()) append_field(out, "Upgrade", upgrade);
  if (has_te) out += "TE: trailers\r\n";
  std::string_view comma;
  const auto option = [&](std::string_view name) {
    out.append(comma.empty() ? "Connection: " : comma).append(name);
    comma = ", ";
  };
  if (closes) option("close");
  if (!upgrade.empty()) option("upgrade");
  if (has_te) option("TE");
  if (!comma.empty()) out += "\r\n";
}

/// Methods for which some servers require "Content-Length: 0" when there is no body (RFC 9110 8.6).
bool expects_body(std::string_view method) {
  return method == "POST" || method == "PUT" || method == "PATCH";
}

}  // namespace

Transfer transfer_of(const RequestHead& head) {
  switch (head.framing.kind) {
    case Framing::Kind::none: return Transfer::none;
    case Framing::Kind::length: return Transfer::length;
    case Framing::Kind::unknown: return Transfer::chunked;
  }
  return Transfer::none;
}

Transfer transfer_of(const ResponseHead& head, const Asked& asked, Version client) {
  if (asked.is_head || is_bodiless(head.status) || (asked.is_connect && head.status < 300)) return Transfer::none;
  if (head.framing.kind != Framing::Kind::unknown) return Transfer::length;
  return client == Version::http_1_1 ? Transfer::chunked : Transfer::until_close;
}

void write_request(std::string& out, const RequestHead& head, AfterThis after) {
  check(head.method != "CONNECT" && !head.path.empty(), "a request is written in origin-form");
  out.reserve(out.size() + head.method.size() + head.path.size() + head.query.size() + head.authority.host.size() +
              head.fields.bytes() + 256);
  out.append(head.method).append(1, ' ').append(head.path).append(head.query).append(" HTTP/1.1\r\nHost: ");
  append_authority(out, head.authority, default_port(head.scheme));
  out += "\r\n";
  append_fields(out, head.fields, head.framing.kind == Framing::Kind::unknown);
  switch (head.framing.kind) {
    case Framing::Kind::none:
      if (expects_body(head.method)) append_length(out, 0);
      break;
    case Framing::Kind::length: append_length(out, head.framing.length); break;
    case Framing::Kind::unknown: out += "Transfer-Encoding: chunked\r\n"; break;
  }
  if (head.expect_continue) out += "Expect: 100-continue\r\n";
  append_connection(out, after == AfterThis::close, head.upgrade, head.accepts_trailers);
  out += "\r\n";
}

void write_response(std::string& out, const ResponseHead& head, Transfer transfer, AfterThis after) {
  out.reserve(out.size() + head.reason.size() + head.fields.bytes() + 256);
  out += "HTTP/1.1 ";
  append_decimal(out, static_cast<std::uint64_t>(head.status));
  out.append(1, ' ').append(head.reason).append("\r\n");
  append_fields(out, head.fields, transfer == Transfer::chunked);
  switch (transfer) {
    case Transfer::none:
      if (head.framing.kind == Framing::Kind::length) append_length(out, head.framing.length);
      break;
    case Transfer::length: append_length(out, head.framing.length); break;
    case Transfer::chunked: out += "Transfer-Encoding: chunked\r\n"; break;
    case Transfer::until_close: break;
  }
  const bool closes = after == AfterThis::close || transfer == Transfer::until_close;
  append_connection(out, closes, head.upgrade, false);
  out += "\r\n";
}

}  // namespace culvert::http
