// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

// What is looked for in an object of Kubernetes. Something that is missing, or of another kind, is empty: the API
// server has checked what it serves, and what it did not must not end us.

namespace culvert::server {

const boost::json::object& object_at(const boost::json::object& object, std::string_view name);
std::string text_at(const boost::json::object& object, std::string_view name);
/// nullptr: none.
const boost::json::array* array_at(const boost::json::object& object, std::string_view name);
/// 0: none.
std::int64_t number_at(const boost::json::object& object, std::string_view name);
/// "namespace/name", or "name" where it has no namespace.
std::string key_of(const boost::json::object& object);

/// The wall clock as Kubernetes writes it: "2026-11-21T10:00:00Z", with six decimals for `is_micro`.
std::string kubernetes_time(bool is_micro = false);

}  // namespace culvert::server
