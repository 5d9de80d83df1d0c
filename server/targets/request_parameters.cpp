// SPDX-License-Identifier: Apache-2.0
#include "server/targets/request_parameters.hpp"

#include <optional>
#include <span>
#include <utility>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <fmt/core.h>

#include "common/base/json_object.hpp"
#include "common/http/characters.hpp"
#include "common/http/field_names.hpp"

namespace culvert::server {

namespace json = boost::json;

namespace {

constexpr std::size_t elements_max = 4 * request_parameters_max;
constexpr std::size_t shown_name_bytes_max = 64;

std::unexpected<Error> bad(std::string text) {
  return fail("gateway.bad_parameters", std::move(text));
}

void append_percent_encoded(std::string& out, std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (http::is(http::unreserved_character, c)) {
      out += c;
    } else {
      out += {'%', digits[byte >> 4], digits[byte & 15]};
    }
  }
}

/// In a form that is safe to print.
std::string shown(std::string_view name) {
  std::string text;
  append_percent_encoded(text, name.substr(0, shown_name_bytes_max));
  return text;
}

using Add = Result<void> (*)(RequestParameters& parameters, std::string_view name, std::string_view value);

/// Adds the values of one name: a text, or an array of texts.
Result<void> add_values(RequestParameters& parameters, Add add, std::string_view key, const json::key_value_pair& entry,
                        std::size_t& count) {
  const std::string_view name = entry.key();
  const json::array* array = entry.value().if_array();
  const std::span<const json::value> values =
      array == nullptr ? std::span(&entry.value(), 1) : std::span(array->data(), array->size());
  for (const json::value& value : values) {
    if (!value.is_string()) return bad(fmt::format("{}: {}: write a text, or an array of texts", key, shown(name)));
    if (++count > request_parameters_max)
      return bad(fmt::format("{}: more than {} entries; remove some", key, request_parameters_max));
    if (const auto added = add(parameters, name, value.get_string()); !added)
      return bad(fmt::format("{}: {}", key, added.error().text));
  }
  return {};
}

Result<void> add_all(RequestParameters& parameters, const json::value* headers, const json::value* query) {
  struct Kind {
    std::string_view key;
    const json::value* entries;
    Add add;
  };
  std::size_t count = 0;
  for (const auto& [key, entries, add] :
       {Kind{"headers", headers, add_request_field}, Kind{"queryParameters", query, add_query_parameter}}) {
    if (entries == nullptr || entries->is_null()) continue;
    if (!entries->is_object()) return bad(fmt::format(R"({}: write a JSON object {{"Name": ["value"]}})", key));
    for (const auto& entry : entries->get_object()) {
      if (auto added = add_values(parameters, add, key, entry, count); !added) return added;
    }
  }
  return {};
}

/// nullopt for an empty text.
Result<std::optional<json::value>> read_json(std::string_view key, std::string_view text) {
  if (text.find_first_not_of(" \t\r\n") == text.npos) return std::nullopt;
  if (text.size() > request_parameters_json_bytes_max)
    return bad(fmt::format("{}: larger than 32 KiB; is it the right text?", key));
  auto value = parse_object(text, elements_max);
  if (!value)
    return bad(fmt::format(R"({}: not a JSON object {{"Name": ["value"]}} in which each name occurs once)", key));
  return value;
}

const json::value* pointer_to(const std::optional<json::value>& value) {
  return value ? &*value : nullptr;
}

}  // namespace

Result<RequestParameters> read_request_parameters(std::string_view headers_json, std::string_view query_json) {
  const auto headers = read_json("headers", headers_json);
  if (!headers) return std::unexpected(headers.error());
  const auto query = read_json("queryParameters", query_json);
  if (!query) return std::unexpected(query.error());
  RequestParameters parameters;
  if (auto added = add_all(parameters, pointer_to(*headers), pointer_to(*query)); !added)
    return std::unexpected(std::move(added.error()));
  return parameters;
}

Result<RequestParameters> read_request_parameters_file(std::string_view json) {
  const auto file = read_json("the file", json);
  if (!file) return std::unexpected(file.error());
  RequestParameters parameters;
  const std::optional<json::value>& root = *file;
  if (!root) return parameters;
  const json::object& keys = root->get_object();
  for (const auto& entry : keys) {
    if (entry.key() != "headers" && entry.key() != "queryParameters")
      return bad(fmt::format("{}: unknown key; write headers or queryParameters", shown(entry.key())));
  }
  auto added = add_all(parameters, keys.if_contains("headers"), keys.if_contains("queryParameters"));
  if (!added) return std::unexpected(std::move(added.error()));
  return parameters;
}

Result<void> add_request_field(RequestParameters& parameters, std::string_view name, std::string_view value) {
  if (!http::is_token(name)) return bad(fmt::format("{}: not the name of a header field", shown(name)));
  if (http::hop_field_of(name) != http::HopField::none || http::is_own_field(name))
    return bad(fmt::format("{}: only Culvert itself may set this header field; remove it", shown(name)));
  if (!http::is_field_value(value))
    return bad(fmt::format("{}: the value has control characters or blanks at an end; remove them", shown(name)));
  parameters.fields.add(name, value);
  return {};
}

Result<void> add_query_parameter(RequestParameters& parameters, std::string_view name, std::string_view value) {
  if (name.empty()) return bad("a query parameter has an empty name; write one");
  if (!parameters.query.empty()) parameters.query += '&';
  append_percent_encoded(parameters.query, name);
  parameters.query += '=';
  append_percent_encoded(parameters.query, value);
  return {};
}

}  // namespace culvert::server
