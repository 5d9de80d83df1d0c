// SPDX-License-Identifier: Apache-2.0
#include "common/config/toml_table.hpp"

#include <array>
#include <charconv>
#include <limits>

#include <fmt/core.h>

namespace culvert {

namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};
constexpr std::array<Unit, 5> duration_units{
    {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}}};
constexpr std::array<Unit, 5> size_units{
    {{"B", 1}, {"KiB", 1ull << 10}, {"MiB", 1ull << 20}, {"GiB", 1ull << 30}, {"TiB", 1ull << 40}}};

/// "10s" -> 10 000. Nothing when the number or the unit is malformed, or the product overflows.
template <std::size_t N>
std::optional<std::uint64_t> parse_quantity(std::string_view text, const std::array<Unit, N>& units) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  const std::string_view name = text.substr(static_cast<std::size_t>(end - text.data()));
  for (const Unit& unit : units) {
    if (name != unit.name) continue;
    if (number > std::numeric_limits<std::uint64_t>::max() / unit.factor) return std::nullopt;
    return number * unit.factor;
  }
  return std::nullopt;
}

/// Prints with the largest unit that divides the quantity, as a person would have written it.
template <std::size_t N>
std::string print_quantity(std::uint64_t quantity, const std::array<Unit, N>& units) {
  const Unit* best = &units.front();
  for (const Unit& unit : units) {
    if (quantity != 0 && quantity % unit.factor == 0) best = &unit;
  }
  return fmt::format("{}{}", quantity / best->factor, best->name);
}

std::string_view name_of(TomlNode::Kind kind) {
  switch (kind) {
    case TomlNode::Kind::table: return "a table";
    case TomlNode::Kind::array: return "a list";
    case TomlNode::Kind::text: return "text";
    case TomlNode::Kind::integer: return "a whole number";
    case TomlNode::Kind::boolean: return "true or false";
    case TomlNode::Kind::other: return "a value of another type";
  }
  return "a value";
}

}  // namespace

std::string TomlTable::dotted(std::string_view key) const {
  if (path_.empty() || key.empty()) return path_ + std::string(key);
  return fmt::format("{}.{}", path_, key);
}

void TomlTable::fault_at(const TomlPosition& position, std::string_view key, std::string_view text) const {
  document_->faults.push_back({position, fmt::format("{}: {}", dotted(key), text)});
}

const TomlNode* TomlTable::find(std::string_view key) const {
  node_->asked.emplace(key);
  document_->keys.insert(dotted(key));
  const auto found = node_->members.find(key);
  return found == node_->members.end() ? nullptr : &found->second;
}

const TomlNode* TomlTable::find(std::string_view key, TomlNode::Kind kind, std::string_view expected) const {
  const TomlNode* node = find(key);
  if (node == nullptr || node->kind == kind) return node;
  fault(key, fmt::format("must be {}, is {}", expected, name_of(node->kind)));
  return nullptr;
}

const std::vector<TomlNode>* TomlTable::find_list(std::string_view key) const {
  const TomlNode* node = find(key, TomlNode::Kind::array, "a list of texts, [\"…\", \"…\"]");
  return node == nullptr ? nullptr : &node->items;
}

std::optional<std::string> TomlTable::text_of(const TomlNode& item, std::string_view key) const {
  if (item.kind == TomlNode::Kind::text) return item.text;
  fault_at(item.position, key, fmt::format("must hold texts in quotes only, holds {}", name_of(item.kind)));
  return std::nullopt;
}

bool TomlTable::has(std::string_view key) const {
  return find(key) != nullptr;
}

void TomlTable::require(std::initializer_list<std::string_view> keys) const {
  for (const std::string_view key : keys) {
    if (!has(key)) fault(key, "is missing; this table needs it");
  }
}

std::optional<std::string> TomlTable::text(std::string_view key) const {
  const TomlNode* node = find(key, TomlNode::Kind::text, "text in quotes");
  if (node == nullptr) return std::nullopt;
  return node->text;
}

std::optional<bool> TomlTable::boolean(std::string_view key) const {
  const TomlNode* node = find(key, TomlNode::Kind::boolean, "true or false");
  if (node == nullptr) return std::nullopt;
  return node->integer != 0;
}

std::optional<std::uint64_t> TomlTable::number(std::string_view key, NumberRange range) const {
  const std::string expected = fmt::format("a whole number from {} to {}", range.min, range.max);
  const TomlNode* node = find(key, TomlNode::Kind::integer, expected);
  if (node == nullptr) return std::nullopt;
  if (node->integer < 0 || static_cast<std::uint64_t>(node->integer) < range.min ||
      static_cast<std::uint64_t>(node->integer) > range.max) {
    fault(key, fmt::format("is {}, must be {}", node->integer, expected));
    return std::nullopt;
  }
  return static_cast<std::uint64_t>(node->integer);
}

std::optional<std::chrono::milliseconds> TomlTable::duration(std::string_view key, std::chrono::milliseconds min,
                                                             std::chrono::milliseconds max) const {
  const auto low = static_cast<std::uint64_t>(min.count());
  const auto high = static_cast<std::uint64_t>(max.count());
  const std::string expected = fmt::format("a time from \"{}\" to \"{}\", with the unit ms, s, m, h or d",
                                           print_quantity(low, duration_units), print_quantity(high, duration_units));
  const TomlNode* node = find(key, TomlNode::Kind::text, expected);
  if (node == nullptr) return std::nullopt;
  const auto value = parse_quantity(node->text, duration_units);
  if (!value || *value < low || *value > high) {
    fault(key, fmt::format("is \"{}\", must be {}", node->text, expected));
    return std::nullopt;
  }
  return std::chrono::milliseconds(*value);
}

std::optional<std::uint64_t> TomlTable::size(std::string_view key, NumberRange range) const {
  const std::string expected =
      fmt::format("a size from \"{}\" to \"{}\", with the unit B, KiB, MiB, GiB or TiB",
                  print_quantity(range.min, size_units), print_quantity(range.max, size_units));
  const TomlNode* node = find(key, TomlNode::Kind::text, expected);
  if (node == nullptr) return std::nullopt;
  const auto value = parse_quantity(node->text, size_units);
  if (!value || *value < range.min || *value > range.max) {
    fault(key, fmt::format("is \"{}\", must be {}", node->text, expected));
    return std::nullopt;
  }
  return value;
}

std::optional<std::filesystem::path> TomlTable::path(std::string_view key) const {
  const auto written = text(key);
  if (!written) return std::nullopt;
  // The kernel would read the path only up to a zero byte.
  if (written->empty() || written->find('\0') != std::string::npos) {
    fault(key, "must be the path of a file");
    return std::nullopt;
  }
  const std::size_t file = node_->members.find(key)->second.position.file;
  return (document_->files[file].directory / *written).lexically_normal();
}

TomlTable TomlTable::table(std::string_view key) const {
  if (find(key, TomlNode::Kind::table, "a table") == nullptr) {
    // Missing, or not a table: continue with an empty one, so that the remaining checks still run.
    TomlNode& stand_in = document_->stand_ins.emplace_back();
    stand_in.position = node_->position;
    return {*document_, stand_in, dotted(key)};
  }
  TomlNode& node = node_->members.find(key)->second;
  node.opened = true;
  return {*document_, node, dotted(key)};
}

std::vector<TomlTable> TomlTable::tables(std::string_view key) const {
  std::vector<TomlTable> answer;
  if (document_->describing) {
    find(key);
    answer.emplace_back(*document_, document_->stand_ins.emplace_back(), dotted(key));
    return answer;
  }
  const std::string expected = fmt::format("a list of tables, written [[{}]]", dotted(key));
  if (find(key, TomlNode::Kind::array, expected) == nullptr) return answer;
  TomlNode& list = node_->members.find(key)->second;
  list.opened = true;
  for (TomlNode& item : list.items) {
    if (item.kind != TomlNode::Kind::table) {
      fault_at(item.position, key, fmt::format("must be {}, holds {}", expected, name_of(item.kind)));
      continue;
    }
    item.opened = true;
    answer.emplace_back(*document_, item, dotted(key));
  }
  return answer;
}

void TomlTable::fault(std::string_view key, std::string_view text) const {
  const auto found = node_->members.find(key);
  fault_at(found == node_->members.end() ? node_->position : found->second.position, key, text);
}

std::string TomlDocument::place(const TomlPosition& position) const {
  const File& file = files[position.file];
  return file.has_lines ? fmt::format("{}:{}", file.label, position.line) : file.label;
}

std::string TomlTable::where(std::string_view key) const {
  const auto found = node_->members.find(key);
  const TomlPosition& position = found == node_->members.end() ? node_->position : found->second.position;
  return document_->place(position);
}

}  // namespace culvert
