// SPDX-License-Identifier: Apache-2.0
#include "common/http/fields.hpp"

#include <algorithm>

#include "common/http/characters.hpp"

namespace culvert::http {

void Fields::add(std::string_view name, std::string_view value) {
  if (text_.capacity() == 0) text_.reserve(1'024);
  if (entries_.capacity() == 0) entries_.reserve(16);
  const std::size_t name_at = text_.size();
  text_.append(name).append(value);
  entries_.push_back({static_cast<std::uint32_t>(name_at), static_cast<std::uint32_t>(name.size()),
                      static_cast<std::uint32_t>(name_at + name.size()), static_cast<std::uint32_t>(value.size())});
}

void Fields::replace(std::size_t index, std::string_view value) {
  Entry& entry = entries_[index];
  entry.value_at = static_cast<std::uint32_t>(text_.size());
  entry.value_size = static_cast<std::uint32_t>(value.size());
  text_.append(value);
}

void Fields::set(std::string_view name, std::string_view value) {
  erase(name);
  add(name, value);
}

std::size_t Fields::erase(std::string_view name) {
  return erase_if([name](std::string_view candidate) { return is_equal_ignoring_case(candidate, name); });
}

void Fields::clear() {
  text_.clear();
  entries_.clear();
}

std::optional<std::string_view> Fields::find(std::string_view name) const {
  for (const Entry& entry : entries_) {
    if (entry.name_size != name.size()) continue;
    const Field field = at(entry);
    if (is_equal_ignoring_case(field.name, name)) return field.value;
  }
  return std::nullopt;
}

std::size_t Fields::count(std::string_view name) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(*this, [name](const Field& field) { return is_equal_ignoring_case(field.name, name); }));
}

std::size_t Fields::bytes() const {
  std::size_t sum = 0;
  for (const Entry& entry : entries_) sum += entry.name_size + entry.value_size + std::string_view(": \r\n").size();
  return sum;
}

bool operator==(const Fields& one, const Fields& other) {
  return std::ranges::equal(one, other);
}

}  // namespace culvert::http
