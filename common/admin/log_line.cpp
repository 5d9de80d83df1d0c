// SPDX-License-Identifier: Apache-2.0
#include "common/admin/log_line.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <ctime>

#include <fmt/core.h>

namespace culvert {
namespace {

/// One step through bytes that may be UTF-8: a code point and its length, or one byte that is not part of a character.
struct Scalar {
  char32_t code_point = 0;
  std::size_t length = 1;
  bool valid = false;
};

Scalar read_scalar(std::string_view bytes) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
  const unsigned char first = at(0);
  if (first < 0x80) return {first, 1, true};
  const std::size_t length = first >= 0xf0 && first <= 0xf4 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || bytes.size() < length) return {};
  char32_t code_point = first & (0x7fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xc0u) != 0x80) return {};
    code_point = (code_point << 6) | (at(i) & 0x3fu);
  }
  constexpr std::array<char32_t, 5> smallest{0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = code_point >= 0xd800 && code_point <= 0xdfff;
  if (code_point < smallest[length] || code_point > 0x10ffff || surrogate) return {};
  return {code_point, length, true};
}

/// Characters that move the cursor, end a line, reorder text or are invisible: with these a peer could forge a line
/// (threats E14).
bool is_harmful(char32_t c) {
  return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0xad || c == 0x61c || c == 0x180e ||
         (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
         (c >= 0xfff9 && c <= 0xfffb) || (c & 0xfffe) == 0xfffe || (c >= 0xe0000 && c <= 0xe007f);
}

void append_bytes_as_hex(std::string& out, std::string_view bytes, std::string_view prefix) {
  for (const char byte : bytes) out += fmt::format("{}{:02x}", prefix, static_cast<unsigned char>(byte));
}

void append_json_escape(std::string& out, char32_t c) {
  if (c <= 0xffff) {
    out += fmt::format("\\u{:04x}", static_cast<std::uint32_t>(c));
    return;
  }
  const std::uint32_t offset = static_cast<std::uint32_t>(c) - 0x10000;
  out += fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + (offset >> 10), 0xdc00 + (offset & 0x3ff));
}

/// One character, or one byte that is not part of a character, in the form that a field may contain.
std::string escape_one(LogSettings::Format format, std::string_view raw, const Scalar& scalar) {
  const bool json = format == LogSettings::Format::json;
  std::string out;
  if (!scalar.valid) {
    append_bytes_as_hex(out, raw, json ? "\\\\x" : "\\x");
  } else if (raw == "\"" || raw == "\\") {
    out.append("\\").append(raw);
  } else if (!is_harmful(scalar.code_point)) {
    out = raw;
  } else if (json) {
    append_json_escape(out, scalar.code_point);
  } else {
    append_bytes_as_hex(out, raw, "\\x");
  }
  return out;
}

/// `bytes` with harmful characters escaped; whole characters only, at most log_field_bytes_max.
std::string escape(LogSettings::Format format, std::string_view bytes) {
  constexpr std::size_t room = log_field_bytes_max - 3;  // Leaves room for "...".
  const auto is_plain = [](char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; };
  if (bytes.size() <= room && std::ranges::all_of(bytes, is_plain)) return std::string(bytes);
  std::string out;
  while (!bytes.empty()) {
    const Scalar scalar = read_scalar(bytes);
    const std::string unit = escape_one(format, bytes.substr(0, scalar.length), scalar);
    if (out.size() + unit.size() > room) return out + "...";
    out += unit;
    bytes.remove_prefix(scalar.length);
  }
  return out;
}

/// The text format quotes only values that could be misread.
bool needs_quotes(std::string_view text) {
  return text.empty() || text.find_first_of(" \"=\\") != text.npos;
}

std::string number(double value) {
  return std::isfinite(value) ? fmt::format("{:.10g}", value) : std::string("null");
}

std::string show(LogSettings::Format format, const LogField::Value& value) {
  if (const auto* text = std::get_if<std::string_view>(&value)) {
    std::string escaped = escape(format, *text);
    return format == LogSettings::Format::json || needs_quotes(escaped) ? '"' + escaped + '"' : escaped;
  }
  if (const auto* truth = std::get_if<bool>(&value)) return *truth ? "true" : "false";
  if (const auto* whole = std::get_if<std::int64_t>(&value)) return fmt::format("{}", *whole);
  if (const auto* natural = std::get_if<std::uint64_t>(&value)) return fmt::format("{}", *natural);
  return number(std::get<double>(value));
}

std::string timestamp(std::chrono::system_clock::time_point time) {
  const auto millis = std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch()).count();
  const std::time_t seconds = static_cast<std::time_t>(millis / 1000);
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z", parts.tm_year + 1900, parts.tm_mon + 1,
                     parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec, millis % 1000);
}

}  // namespace

std::string format_log_line(LogSettings::Format format, std::chrono::system_clock::time_point time,
                            LogSettings::Level level, std::string_view event, LogFields fields,
                            std::optional<std::uint64_t> suppressed) {
  const bool json = format == LogSettings::Format::json;
  std::string line = json ? fmt::format(R"({{"time":"{}","level":"{}","event":"{}")", timestamp(time), to_string(level),
                                        escape(format, event))
                          : fmt::format("{} {} {}", timestamp(time), to_string(level), escape(format, event));
  const auto append = [&](std::string_view key, const LogField::Value& value) {
    line += json ? fmt::format(",\"{}\":", escape(format, key)) : fmt::format(" {}=", escape(format, key));
    line += show(format, value);
  };
  for (const LogField& field : fields) append(field.key, field.value);
  if (suppressed) append("suppressed", *suppressed);
  if (json) line += '}';
  return line;
}

std::string to_printable(std::string_view bytes) {
  return escape(LogSettings::Format::text, bytes);
}

std::string_view to_string(LogSettings::Level level) {
  switch (level) {
    case LogSettings::Level::error: return "error";
    case LogSettings::Level::warn: return "warn";
    case LogSettings::Level::info: return "info";
    case LogSettings::Level::debug: return "debug";
  }
  return "error";
}

std::optional<LogSettings::Level> parse_log_level(std::string_view text) {
  for (const auto level :
       {LogSettings::Level::error, LogSettings::Level::warn, LogSettings::Level::info, LogSettings::Level::debug}) {
    if (text == to_string(level)) return level;
  }
  return std::nullopt;
}

}  // namespace culvert
