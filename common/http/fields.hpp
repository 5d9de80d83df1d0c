// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace culvert::http {

/// The header or trailer fields of a message, in order. Names keep their case and are compared without regard to it.
/// Everything is in one buffer, which clear() keeps, so that the next message on a connection allocates nothing. Views
/// are valid until the next non-const call.
class Fields {
 public:
  struct Field {
    std::string_view name;
    std::string_view value;
    friend bool operator==(const Field&, const Field&) = default;
  };

  /// The caller must ensure is_token(name) and is_field_value(value); parsers have checked both already.
  void add(std::string_view name, std::string_view value);
  /// Replaces the value of the field at `index`.
  void replace(std::size_t index, std::string_view value);
  /// Removes all fields of that name and appends one with this value.
  void set(std::string_view name, std::string_view value);
  /// Removes all fields for whose name `condemned(name)` is true. Returns their number.
  template <typename Predicate>
  std::size_t erase_if(Predicate condemned) {
    return std::erase_if(entries_, [&](const Entry& entry) { return condemned(at(entry).name); });
  }
  /// Removes all fields of that name. Returns their number.
  std::size_t erase(std::string_view name);
  void clear();

  std::size_t size() const { return entries_.size(); }
  bool empty() const { return entries_.empty(); }
  Field operator[](std::size_t index) const { return at(entries_[index]); }
  /// The value of the first field of that name.
  std::optional<std::string_view> find(std::string_view name) const;
  std::size_t count(std::string_view name) const;
  /// Size of the fields as lines of a head.
  std::size_t bytes() const;

  class Iterator {
   public:
    using difference_type = std::ptrdiff_t;
    using value_type = Field;
    Field operator*() const { return (*fields_)[index_]; }
    Iterator& operator++() {
      ++index_;
      return *this;
    }
    Iterator operator++(int) {
      Iterator before = *this;
      ++index_;
      return before;
    }
    friend bool operator==(const Iterator&, const Iterator&) = default;

   private:
    friend class Fields;
    const Fields* fields_ = nullptr;
    std::size_t index_ = 0;
  };
  Iterator begin() const { return at_index(0); }
  Iterator end() const { return at_index(entries_.size()); }

  /// The same fields in the same order; the case of names counts.
  friend bool operator==(const Fields& one, const Fields& other);

 private:
  struct Entry {
    std::uint32_t name_at;
    std::uint32_t name_size;
    std::uint32_t value_at;
    std::uint32_t value_size;
  };
  Field at(const Entry& entry) const {
    const std::string_view text = text_;
    return {text.substr(entry.name_at, entry.name_size), text.substr(entry.value_at, entry.value_size)};
  }
  Iterator at_index(std::size_t index) const {
    Iterator iterator;
    iterator.fields_ = this;
    iterator.index_ = index;
    return iterator;
  }

  std::string text_;  ///< Erased and replaced text stays in it until clear().
  std::vector<Entry> entries_;
};

}  // namespace culvert::http
