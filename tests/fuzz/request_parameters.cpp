// SPDX-License-Identifier: Apache-2.0
#include "server/targets/request_parameters.hpp"

#include <algorithm>

#include "common/http/characters.hpp"
#include "common/http/field_names.hpp"
#include "protocol/check.hpp"
#include "tests/fuzz/targets.hpp"

namespace culvert::fuzz {

using namespace culvert::server;  // NOLINT(google-build-using-namespace)

namespace {

void check_read(const Result<RequestParameters>& read) {
  if (!read) {
    const std::string& text = read.error().text;
    check(text.size() < 300 && std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; }),
          "an error is short and printable");
    return;
  }
  check(read->fields.size() <= request_parameters_max, "the fields are limited");
  for (const auto& [name, value] : read->fields) {
    check(http::is_token(name) && http::is_field_value(value), "a field is one");
    check(http::hop_field_of(name) == http::HopField::none && !http::is_own_field(name), "and not one of ours");
  }
  check(std::ranges::all_of(
            read->query,
            [](char c) { return http::is(http::unreserved_character, c) || c == '%' || c == '&' || c == '='; }),
        "a query is encoded");
  check(std::ranges::count(read->query, '&') + (read->query.empty() ? 0 : 1) == std::ranges::count(read->query, '='),
        "with a value for each name");
}

}  // namespace

void request_parameters(std::span<const std::byte> input) {
  const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  check_read(read_request_parameters_file(text));
  const std::size_t end = std::min(text.find('\n'), text.size());
  check_read(read_request_parameters(text.substr(0, end), text.substr(std::min(end + 1, text.size()))));
}

}  // namespace culvert::fuzz
