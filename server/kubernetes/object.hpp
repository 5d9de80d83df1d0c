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

/// Decodes a field of bytes: RFC 4648 4, with padding; line breaks are ignored. Nothing for any other text.
std::optional<std::string> decode_base64(std::string_view text);

/// The wall clock's time as a Lease has it, with six decimals: "2026-11-21T10:00:00.000000Z". Other objects have
/// utc_text().
std::string micro_time();

}  // namespace culvert::server
