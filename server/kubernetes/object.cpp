// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/object.hpp"

#include <algorithm>
#include <array>
#include <ctime>

#include <fmt/core.h>

#include "common/base/base64url.hpp"
#include "common/base/utc_time.hpp"

namespace culvert::server {

namespace json = boost::json;

const json::object& object_at(const json::object& object, std::string_view name) {
  static const json::object none;
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_object() ? value->get_object() : none;
}

std::string text_at(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

const json::array* array_at(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  return value == nullptr ? nullptr : value->if_array();
}

std::int64_t number_at(const json::object& object, std::string_view name) {
  const json::value* value = object.if_contains(name);
  boost::system::error_code none;
  const auto number = value == nullptr ? 0 : value->to_number<std::int64_t>(none);
  return none ? 0 : number;
}

std::string key_of(const json::object& object) {
  const json::object& metadata = object_at(object, "metadata");
  const std::string where = text_at(metadata, "namespace");
  return where.empty() ? text_at(metadata, "name") : where + "/" + text_at(metadata, "name");
}

std::optional<std::string> decode_base64(std::string_view text) {
  std::string bare(text);
  std::erase_if(bare, [](char c) { return c == '\n' || c == '\r'; });
  if (bare.size() % 4 != 0 || bare.find_first_of("-_") != bare.npos) return std::nullopt;
  for (int padding = 0; padding < 2 && bare.ends_with('='); ++padding) bare.pop_back();
  std::ranges::replace(bare, '+', '-');
  std::ranges::replace(bare, '/', '_');
  return decode_base64url(bare);
}

std::string micro_time() {
  const auto now = std::chrono::system_clock::now();
  const auto second = std::chrono::floor<std::chrono::seconds>(now);
  std::string text = utc_text(second);
  text.pop_back();
  return fmt::format("{}.{:06}Z", text, std::chrono::floor<std::chrono::microseconds>(now - second).count());
}

}  // namespace culvert::server
