// SPDX-License-Identifier: Apache-2.0
#include "common/base/json_object.hpp"

#include <cstdint>

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/parse.hpp>

namespace culvert {

namespace json = boost::json;

namespace {

constexpr std::size_t depth_max = 8;

/// Counts the members and elements of a text while it is parsed, before anything is stored.
struct Count {
  static constexpr std::size_t max_object_size = SIZE_MAX;
  static constexpr std::size_t max_array_size = SIZE_MAX;
  static constexpr std::size_t max_key_size = SIZE_MAX;
  static constexpr std::size_t max_string_size = SIZE_MAX;
  using Code = json::error_code;
  using Text = json::string_view;

  std::size_t elements_max = 0;
  std::size_t elements = 0;
  std::size_t members = 0;

  bool one_more(Code& error) {
    if (++elements > elements_max) error = json::error::array_too_large;
    return !error;
  }
  bool on_document_begin(Code&) { return true; }
  bool on_document_end(Code&) { return true; }
  bool on_object_begin(Code& error) { return one_more(error); }
  bool on_object_end(std::size_t count, Code&) {
    members += count;
    return true;
  }
  bool on_array_begin(Code& error) { return one_more(error); }
  bool on_array_end(std::size_t, Code&) { return true; }
  bool on_key_part(Text, std::size_t, Code&) { return true; }
  bool on_key(Text, std::size_t, Code&) { return true; }
  bool on_string_part(Text, std::size_t, Code&) { return true; }
  bool on_string(Text, std::size_t, Code& error) { return one_more(error); }
  bool on_number_part(Text, Code&) { return true; }
  bool on_int64(std::int64_t, Text, Code& error) { return one_more(error); }
  bool on_uint64(std::uint64_t, Text, Code& error) { return one_more(error); }
  bool on_double(double, Text, Code& error) { return one_more(error); }
  bool on_bool(bool, Code& error) { return one_more(error); }
  bool on_null(Code& error) { return one_more(error); }
  bool on_comment_part(Text, Code&) { return true; }
  bool on_comment(Text, Code&) { return true; }
};

/// Number of members in the result: of two with the same name the parser keeps only the last.
std::size_t members_of(const json::value& value) {
  std::size_t count = 0;
  if (const json::array* items = value.if_array()) {
    for (const json::value& item : *items) count += members_of(item);
  } else if (const json::object* object = value.if_object()) {
    count = object->size();
    for (const auto& member : *object) count += members_of(member.value());
  }
  return count;
}

}  // namespace

std::optional<json::value> parse_object(std::string_view text, std::size_t elements_max) {
  json::parse_options options;
  options.max_depth = depth_max;
  json::error_code error;
  json::basic_parser<Count> counter(options);
  counter.handler().elements_max = elements_max;
  counter.write_some(false, text.data(), text.size(), error);
  if (error) return std::nullopt;
  json::value value = json::parse(text, error, {}, options);
  if (error || !value.is_object() || members_of(value) != counter.handler().members) return std::nullopt;
  return value;
}

}  // namespace culvert
