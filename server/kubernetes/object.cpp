// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/object.hpp"

#include <ctime>

#include <fmt/core.h>

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

std::string kubernetes_time(bool is_micro) {
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  tm parts{};
  ::gmtime_r(&now.tv_sec, &parts);
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{}Z", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                     parts.tm_hour, parts.tm_min, parts.tm_sec,
                     is_micro ? fmt::format(".{:06}", now.tv_nsec / 1'000) : "");
}

}  // namespace culvert::server
