// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

// Reads members of an object of Kubernetes. A member that is missing, or of another kind, reads as empty: the API
// server has validated most of what it serves, and the rest must not make this process fail.

namespace culvert::server {

const boost::json::object& object_at(const boost::json::object& object, std::string_view name);
std::string text_at(const boost::json::object& object, std::string_view name);
/// nullptr: there is none.
const boost::json::array* array_at(const boost::json::object& object, std::string_view name);
/// 0: there is none.
std::int64_t number_at(const boost::json::object& object, std::string_view name);
/// "namespace/name", or "name" for an object without a namespace.
std::string key_of(const boost::json::object& object);

/// The wall clock's time in the form of Kubernetes: "2026-11-21T10:00:00Z", with six decimals for `is_micro`.
std::string kubernetes_time(bool is_micro = false);
/// A point in time in the same form, in full seconds.
std::string kubernetes_time(std::chrono::sys_seconds time);
/// Nothing: the text is not of this form.
std::optional<std::chrono::sys_seconds> read_kubernetes_time(std::string_view text);

}  // namespace culvert::server
