// SPDX-License-Identifier: Apache-2.0
#include "server/proxy/proxy_error.hpp"

#include <random>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/core.h>

#include "server/proxy/response_fields.hpp"

namespace culvert::server {

using protocol::Reason;

namespace {

constexpr std::string_view reason_phrase(int status) {
  switch (status) {
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 407: return "Proxy Authentication Required";
    case 408: return "Request Timeout";
    case 414: return "URI Too Long";
    case 417: return "Expectation Failed";
    case 421: return "Misdirected Request";
    case 431: return "Request Header Fields Too Large";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    default: return "Bad Gateway";
  }
}

/// The error for a reason that the agent gave.
struct AgentError {
  Reason reason;
  int status;
  std::string_view code;
  std::string_view type;
  std::string_view text;
  std::string_view hint;
};
constexpr AgentError agent_errors[] = {
    {Reason::not_exposed, 403, "request.not_exposed", "http_request_denied", "the agent does not expose this resource",
     "expose the virtual host, and the path and method, in a [[system_mapping]] of the agent"},
    {Reason::ambiguous_path, 400, http::refusals::encoded_slash.code, "http_request_error",
     http::refusals::encoded_slash.text,
     "set encoded_slash = \"keep\" in the [[system_mapping]] if its back end needs it"},
    {Reason::ambiguous_backslash, 400, http::refusals::encoded_backslash.code, "http_request_error",
     http::refusals::encoded_backslash.text,
     "set encoded_backslash = \"keep\" in the [[system_mapping]] if its back end needs it"},
    {Reason::target_refused, 502, "request.target_refused", "connection_refused", "the back end refused the connection",
     "check that the back end runs; the agent's log names it"},
    {Reason::target_unreachable, 502, "request.target_unreachable", "destination_unavailable",
     "the agent cannot reach the back end",
     "check routes and firewalls between agent and back end; the agent's log names it"},
    {Reason::target_name_unknown, 502, "request.target_name_unknown", "dns_error",
     "the back end's name does not resolve at the agent",
     "check `internal` of the [[system_mapping]] and the name servers of the agent's host"},
    {Reason::target_tls_failed, 502, "request.target_tls_failed", "tls_certificate_error", "TLS to the back end failed",
     "check backend_ca and backend_server_name of the [[system_mapping]]; the agent's log has the reason"},
    {Reason::target_timed_out, 504, "request.target_timed_out", "connection_timeout",
     "the back end did not answer in time",
     "check that the back end is up, or raise the timeouts of the [[system_mapping]]"},
    {Reason::target_reset, 502, "request.target_broke_off", "connection_terminated",
     "the back end closed the connection before its answer was complete",
     "see the back end's log for the time of this request"},
    {Reason::target_not_http, 502, "request.target_not_http", "http_protocol_error",
     "the back end sent something that is not HTTP",
     "fix the back end; back_end.broken in the agent's log has the rule"},
    {Reason::aborted, 502, "request.target_broke_off", "connection_terminated",
     "the back end closed the connection before its answer was complete",
     "see the back end's log for the time of this request"},
    {Reason::overloaded, 503, "request.overloaded", "connection_limit_reached",
     "no more connections are accepted at this time",
     "try again; raise connections_max of the [[system_mapping]] if this lasts"},
    {Reason::draining, 503, "request.draining", "destination_unavailable", "the agent is shutting down", "try again"},
    {Reason::tunnel_lost, 502, "request.tunnel_lost", "connection_terminated",
     "the tunnel to the agent was lost during the request", "try again if the request may be repeated"},
};

}  // namespace

ProxyError error_of(Reason reason) {
  for (const AgentError& row : agent_errors) {
    if (row.reason == reason)
      return {row.status, row.code, row.type, row.text, row.hint, {}, reason != Reason::tunnel_lost};
  }
  return {502,
          "request.agent_failed",
          "proxy_internal_error",
          "the agent ended the request",
          "see the agent's log for the time of this request",
          {},
          true};
}

ProxyError error_of(const TokenRefusal& refusal) {
  const bool is_broken = &refusal == &token_refusals::missing || &refusal == &token_refusals::malformed ||
                         &refusal == &token_refusals::too_long;
  return {407,
          refusal.code,
          "http_request_denied",
          refusal.text,
          refusal.hint,
          fmt::format("Bearer error=\"{}\", error_description=\"{}: {}\"",
                      is_broken ? "invalid_request" : "invalid_token", refusal.code, refusal.text),
          false};
}

ProxyError error_of(const http::Refusal& refusal) {
  const bool of_response = refusal.status == 502;
  return {refusal.status,
          refusal.code,
          of_response ? "http_protocol_error" : "http_request_error",
          refusal.text,
          of_response ? "fix the back end; it, or the agent, sent invalid HTTP" : "fix the client's request",
          {},
          of_response};
}

namespace {

boost::json::object body_of(const ProxyError& error, ErrorFormat format, std::string_view request_id) {
  const std::string detail =
      error.detail.empty() ? std::string(error.text) : fmt::format("{}: {}", error.text, error.detail);
  if (format == ErrorFormat::gateway)
    return {{"code", error.status},
            {"error", detail},
            {"reason", std::string(error.code)},
            {"hint", std::string(error.hint)},
            {"request_id", std::string(request_id)}};
  return {{"type", "about:blank"},
          {"title", std::string(reason_phrase(error.status))},
          {"status", error.status},
          {"code", std::string(error.code)},
          {"detail", detail},
          {"hint", std::string(error.hint)},
          {"hop", error.from_agent ? "culvert-agent" : "culvert-server"},
          {"request_id", std::string(request_id)}};
}

}  // namespace

std::string write_error(const ProxyError& error, ErrorFormat format, std::string_view request_id, bool with_body,
                        bool keep) {
  const std::string body = boost::json::serialize(body_of(error, format, request_id));
  std::string out = fmt::format(
      "HTTP/1.1 {} {}\r\nDate: {}\r\nProxy-Status: {}; error={}; details=\"{}\"\r\nContent-Type: "
      "application/{}\r\n"
      "Content-Length: {}\r\nX-Request-Id: {}\r\n",
      error.status, reason_phrase(error.status), date_now(), error.from_agent ? "culvert-agent" : "culvert-server",
      error.type, error.code, format == ErrorFormat::gateway ? "json" : "problem+json", body.size(), request_id);
  if (!error.challenge.empty())
    out += fmt::format("{}: {}\r\n", error.status == 401 ? "WWW-Authenticate" : "Proxy-Authenticate", error.challenge);
  if (error.status == 503) out += "Retry-After: 5\r\n";
  if (error.status == 405) out += "Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS, TRACE, CONNECT\r\n";
  if (!keep) out += "Connection: close\r\n";
  out += "\r\n";
  if (with_body) out += body;
  return out;
}

std::string next_request_id() {
  thread_local std::mt19937_64 source{(std::uint64_t{std::random_device{}()} << 32) + std::random_device{}()};
  return fmt::format("{:016x}", source());
}

}  // namespace culvert::server
