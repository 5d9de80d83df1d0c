// SPDX-License-Identifier: Apache-2.0
#include "common/http/head_message.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "common/http/characters.hpp"
#include "common/http/head_check.hpp"
#include "common/http/path.hpp"
#include "protocol/limits.hpp"
#include "protocol/message_reader.hpp"
#include "protocol/messages.hpp"

namespace culvert::http {

using protocol::Head;
using protocol::HeadForm;

namespace {

Head::Framing framing_of(const Framing& framing) {
  switch (framing.kind) {
    case Framing::Kind::none: return Head::Framing::none;
    case Framing::Kind::length: return Head::Framing::length;
    case Framing::Kind::unknown: return Head::Framing::unknown;
  }
  return Head::Framing::none;
}

Framing framing_of(const Head& message) {
  switch (message.framing) {
    case Head::Framing::none: return {};
    case Head::Framing::length: return {Framing::Kind::length, message.length};
    case Head::Framing::unknown: return {Framing::Kind::unknown, 0};
  }
  return {};
}

/// For each field: name, zero byte, value, zero byte. Neither can contain a zero byte.
std::string joined(const Fields& fields, HeadForm form) {
  std::string text;
  text.reserve(fields.bytes());
  for (const auto& [name, value] : fields) {
    if (form == HeadForm::older && is_equal_ignoring_case(name, "Trailer")) continue;
    text.append(name).append(1, '\0').append(value).append(1, '\0');
  }
  return text;
}

struct Target {
  std::string path;
  std::string query;
};

/// Empty if it is longer than an older peer reads: a message with it would end the tunnel. A path that older peers
/// refuse in any spelling ("/a%5Cb") is kept, and refused there.
Target older_target(const RequestHead& head) {
  Target target;
  if (append_canonical_path(target.path, head.path, all_kept) != nullptr) target.path = head.path;
  append_ascii_query(target.query, head.query);
  if (target.path.size() + target.query.size() > protocol::head_string_bytes_max) return {};
  return target;
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

bool split(std::span<const std::byte> bytes, const HeadLimits& limits, Fields& fields) {
  std::string_view rest(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto take = [&rest](std::string_view& part) {
    const std::size_t end = rest.find('\0');
    if (end == rest.npos) return false;
    part = rest.substr(0, end);
    rest.remove_prefix(end + 1);
    return true;
  };
  while (!rest.empty()) {
    std::string_view name;
    std::string_view value;
    if (!take(name) || !take(value) || fields.size() == limits.fields_max) return false;
    fields.add(name, value);
  }
  return true;
}

ResponseHead response_of(const Head& message) {
  ResponseHead head;
  head.status = message.status;
  head.reason = message.reason;
  head.framing = framing_of(message);
  head.upgrade = message.upgrade;
  return head;
}

bool is_printable(char c) {
  return c >= ' ' && c <= '~';
}

constexpr std::size_t failure_text_bytes_max = 256;  // SPEC 5.7

constexpr std::unexpected<Flaw> malformed{nullptr};
constexpr std::unexpected<Flaw> misplaced{&refusals::bad_head};

}  // namespace

std::vector<std::byte> to_message(const RequestHead& head, HeadForm form) {
  const bool is_older = form == HeadForm::older;
  const std::string fields = joined(head.fields, form);
  const Target older = is_older ? older_target(head) : Target();
  const std::string& query = is_older ? older.query : head.query;
  const bool is_text = protocol::is_utf8(query);
  const Framing framing = is_older && !head.framing.has_body() ? Framing() : head.framing;
  return encode(Head{.kind = Head::Kind::request,
                     .method = head.method,
                     .host = head.authority.host,
                     .port = head.authority.port,
                     .path = is_older ? older.path : head.path,
                     .query = is_text ? std::string_view(query) : std::string_view(),
                     .query_bytes = is_text ? std::span<const std::byte>() : bytes_of(query),
                     .expects_continue = head.expect_continue,
                     .accepts_trailers = head.accepts_trailers,
                     .framing = framing_of(framing),
                     .length = framing.length,
                     .upgrade = head.upgrade,
                     .fields = bytes_of(fields)});
}

std::vector<std::byte> to_message(const ResponseHead& head, HeadForm form) {
  const std::string fields = joined(head.fields, form);
  // A reason with bytes that a string in a message must not contain is left out: the status says the same.
  const bool is_ascii = std::ranges::all_of(head.reason, is_printable);
  return encode(Head{.kind = is_interim(head.status) ? Head::Kind::interim : Head::Kind::response,
                     .status = static_cast<std::uint16_t>(head.status),
                     .reason = is_ascii ? std::string_view(head.reason) : std::string_view(),
                     .framing = framing_of(head.framing),
                     .length = head.framing.length,
                     .upgrade = head.upgrade,
                     .fields = bytes_of(fields)});
}

std::vector<std::byte> to_message(const Fields& trailers) {
  const std::string fields = joined(trailers, HeadForm::current);
  return encode(Head{.kind = Head::Kind::trailers, .fields = bytes_of(fields)});
}

std::vector<std::byte> to_failure(std::string_view text) {
  std::string printable(text.substr(0, failure_text_bytes_max));
  std::ranges::replace_if(printable, [](char c) { return !is_printable(c); }, '?');
  return encode(Head{.kind = Head::Kind::failure, .reason = printable});
}

std::expected<RequestHead, Flaw> read_request(std::span<const std::byte> message, const HeadLimits& limits) {
  const auto read = protocol::decode_head(message);
  if (!read) return malformed;
  if (read->kind != Head::Kind::request) return misplaced;
  RequestHead head;
  head.method = read->method;
  head.authority = {std::string(read->host), read->port};
  head.path = read->path;
  if (!read->query.empty() && !read->query_bytes.empty()) return misplaced;
  head.query = read->query;
  head.query.append(reinterpret_cast<const char*>(read->query_bytes.data()), read->query_bytes.size());
  head.framing = framing_of(*read);
  head.upgrade = read->upgrade;
  head.expect_continue = read->expects_continue;
  head.accepts_trailers = read->accepts_trailers;
  if (!split(read->fields, limits, head.fields)) return misplaced;
  if (const Flaw flaw = flaw_of(head, limits)) return std::unexpected(flaw);
  return head;
}

std::expected<Answer, Flaw> read_answer(std::span<const std::byte> message, const Asked& asked,
                                        const HeadLimits& limits) {
  const auto read = protocol::decode_head(message);
  if (!read) return malformed;
  Answer answer;
  if (read->kind == Head::Kind::request) return misplaced;
  if (read->kind == Head::Kind::failure) {
    const std::string_view text = read->reason;
    if (text.empty() || text.size() > failure_text_bytes_max || !std::ranges::all_of(text, is_printable))
      return misplaced;
    answer.kind = Answer::Kind::failure;
    answer.failure = text;
    return answer;
  }
  const bool is_trailers = read->kind == Head::Kind::trailers;
  if (!split(read->fields, limits, is_trailers ? answer.trailers : answer.head.fields)) return misplaced;
  if (is_trailers) {
    answer.kind = Answer::Kind::trailers;
    if (const Flaw flaw = flaw_of_trailers(answer.trailers, limits)) return std::unexpected(flaw);
    return answer;
  }
  Fields fields = std::move(answer.head.fields);
  answer.head = response_of(*read);
  answer.head.fields = std::move(fields);
  if (is_interim(answer.head.status) != (read->kind == Head::Kind::interim)) return misplaced;
  if (const Flaw flaw = flaw_of(answer.head, asked, limits)) return std::unexpected(flaw);
  return answer;
}

std::expected<Fields, Flaw> read_trailers(std::span<const std::byte> message, const HeadLimits& limits) {
  const auto read = protocol::decode_head(message);
  if (!read) return malformed;
  Fields trailers;
  if (read->kind != Head::Kind::trailers || !split(read->fields, limits, trailers)) return misplaced;
  if (const Flaw flaw = flaw_of_trailers(trailers, limits)) return std::unexpected(flaw);
  return trailers;
}

}  // namespace culvert::http
