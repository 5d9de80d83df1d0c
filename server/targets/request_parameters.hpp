// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "common/base/error.hpp"
#include "common/http/fields.hpp"

// Header fields and query parameters that the gateway adds to each call of a target. Their values may be secrets. Pure.

namespace culvert::server {

inline constexpr std::size_t request_parameters_json_bytes_max = std::size_t{32} << 10;
/// Fields and query parameters together.
inline constexpr std::size_t request_parameters_max = 100;

struct RequestParameters {
  http::Fields fields;
  std::string query;  ///< "a=1&b=2", percent-encoded, without a question mark.

  friend bool operator==(const RequestParameters&, const RequestParameters&) = default;
};

/// Reads the two keys of a Secret, each {"Name": ["value", …]} or {"Name": "value"}, or empty. The order is that of
/// the JSON. Code "gateway.bad_parameters": the text names the entry, and never shows a value.
Result<RequestParameters> read_request_parameters(std::string_view headers_json, std::string_view query_json);

/// Reads a file with both: {"headers": {…}, "queryParameters": {…}}; each may be missing. The same error.
Result<RequestParameters> read_request_parameters_file(std::string_view json);

/// Adds one field. Refuses names that are not tokens, fields about the connection or the framing, Host, fields that
/// only Culvert may send, and invalid values: code "gateway.bad_parameters".
Result<void> add_request_field(RequestParameters& parameters, std::string_view name, std::string_view value);
/// Adds one query parameter; its name must not be empty. The same code.
Result<void> add_query_parameter(RequestParameters& parameters, std::string_view name, std::string_view value);

}  // namespace culvert::server
