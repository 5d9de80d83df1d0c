// SPDX-License-Identifier: Apache-2.0
#include "common/http/connection_login.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "common/http/characters.hpp"

namespace culvert::http {

namespace {

constexpr auto schemes = std::to_array<std::string_view>({"ntlm", "negotiate", "kerberos", "nego2"});

bool is_scheme(std::string_view word) {
  return std::ranges::any_of(schemes, [word](std::string_view one) { return is_equal_ignoring_case(word, one); });
}

/// Whether an element of the list begins with such a scheme.
bool names_scheme(std::string_view list) {
  while (!list.empty()) {
    const std::string_view element = take_element_with_strings(list);
    if (is_scheme(element.substr(0, element.find_first_of(" \t")))) return true;
  }
  return false;
}

bool names_scheme(const Fields& fields, std::string_view name) {
  return std::ranges::any_of(fields.begin(), fields.end(), [name](const Fields::Field& field) {
    return is_equal_ignoring_case(field.name, name) && names_scheme(field.value);
  });
}

}  // namespace

bool has_connection_login(const Fields& request) {
  return names_scheme(request, "Authorization");
}

bool asks_for_connection_login(const Fields& response) {
  return names_scheme(response, "WWW-Authenticate");
}

}  // namespace culvert::http
