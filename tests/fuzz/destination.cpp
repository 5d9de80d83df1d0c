// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

#include "protocol/check.hpp"
#include "protocol/message_reader.hpp"
#include "server/targets/destination_definition.hpp"
#include "server/targets/target_url.hpp"
#include "tests/fuzz/targets.hpp"

namespace culvert::fuzz {

using namespace culvert::server;  // NOLINT(google-build-using-namespace)

namespace {

bool is_equal(const DestinationProperties& one, const DestinationProperties& other) {
  return std::ranges::equal(one, other, [](const DestinationProperty& left, const DestinationProperty& right) {
    return left.name == right.name && left.value.reveal() == right.value.reveal();
  });
}

/// As Java writes properties, without \u.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    constexpr std::string_view meanings = "\t\n\r\f";
    const std::size_t known = meanings.find(c);
    if (known != meanings.npos) {
      out += '\\';
      out += "tnrf"[known];
      continue;
    }
    if (std::string_view("\\ =:#!").contains(c)) out += '\\';
    out += c;
  }
  return out;
}

/// What is written again in either form must be read as it was.
void check_written_again(const DestinationProperties& properties) {
  std::string lines = "#\n";  // As Java does: the first name may begin like JSON, or with a byte order mark.
  for (const DestinationProperty& property : properties)
    lines += escaped(property.name) + "=" + escaped(property.value.reveal()) + "\n";
  if (lines.size() > destination_bytes_max) return;
  const auto from_lines = read_destination_properties(lines);
  check(from_lines && is_equal(*from_lines, properties), "properties come back");
  lines = {};
  boost::json::object object;
  for (const DestinationProperty& property : properties) object[property.name] = property.value.reveal();
  const auto from_json = read_destination_properties(boost::json::serialize(object));
  check(from_json && is_equal(*from_json, properties), "and as JSON, too");
}

void check_error(const Error& error) {
  check(error.code == "gateway.bad_destination", "an error has its code");
  check(error.text.size() < 600 && protocol::is_utf8(error.text) &&
            std::ranges::none_of(error.text, [](char c) { return static_cast<unsigned char>(c) < ' ' || c == 0x7f; }),
        "and a text that can be printed");
}

void check_definition(const DestinationDefinition& definition) {
  check(!definition.name.empty() && definition.name.find('/') == std::string::npos && definition.name[0] != '.',
        "a name is one of a file");
  if (definition.type == DestinationType::http) {
    check(parse_target_url(definition.url).has_value(), "a URL is one");
  } else {
    check(definition.address.port != 0 && definition.login == DestinationLogin::none, "a plain port has an address");
  }
  check(definition.connect_timeout.count() >= 1 && definition.connect_timeout.count() <= 300 &&
            definition.read_timeout.count() >= 1 && definition.read_timeout.count() <= 43'200,
        "times are limited");
}

void check_export(std::string_view text) {
  const auto destinations = split_export(text);
  if (!destinations) return check_error(destinations.error());
  check(!destinations->empty(), "an export has destinations");
  for (const ExportedDestination& destination : *destinations) {
    const auto properties = read_destination_properties(destination.text);
    if (!properties) {
      check_error(properties.error());
      continue;
    }
    const auto name = std::ranges::find(*properties, "Name", &DestinationProperty::name);
    check(name != properties->end() && name->value.reveal() == destination.name, "each has its name");
  }
}

}  // namespace

void destination(std::span<const std::byte> input) {
  const std::string_view text(reinterpret_cast<const char*>(input.data()), input.size());
  const auto definition = read_destination(text);
  if (definition) {
    check_definition(*definition);
  } else {
    check_error(definition.error());
  }
  const auto properties = read_destination_properties(text);
  if (properties) check_written_again(*properties);
  check_export(text);
}

}  // namespace culvert::fuzz
