// SPDX-License-Identifier: Apache-2.0
#include "protocol/message_reader.hpp"

#include <algorithm>
#include <array>

#include <msgpack/null_visitor.hpp>
#include <msgpack/unpack.hpp>

#include "protocol/limits.hpp"

namespace culvert::protocol {
namespace {

constexpr std::size_t keys_usual = 12;  ///< More than messages of ours have, so that no vector need grow.

/// Walks a msgpack document without recursion and without trusting a declared size. msgpack's parser hides how a value
/// was written, so the visitor sums the sizes of the shortest forms: the sum must be the size of the payload (threats
/// A6: each value has one form).
class StrictVisitor : public msgpack::null_visitor {
 public:
  StrictVisitor(std::size_t payload_bytes, std::uint32_t string_bytes_max, std::vector<MessageReader::Field>& fields)
      : payload_bytes_(payload_bytes), string_bytes_max_(string_bytes_max), fields_(fields) {
    keys_.reserve(keys_usual);
    fields_.reserve(keys_usual);
  }

  bool complete() const { return ok_ && shortest_bytes_ == payload_bytes_; }

  bool visit_nil() { return add(1) && take(MessageReader::Other{}); }
  bool visit_boolean(bool value) { return add(1) && take(value); }
  bool visit_positive_integer(std::uint64_t value) {
    const std::size_t bytes = value < 0x80 ? 1 : value <= 0xff ? 2 : value <= 0xffff ? 3 : value <= 0xffff'ffff ? 5 : 9;
    return add(bytes) && take(value);
  }
  bool visit_negative_integer(std::int64_t value) {
    const std::size_t bytes = value >= -32         ? 1
                              : value >= INT8_MIN  ? 2
                              : value >= INT16_MIN ? 3
                              : value >= INT32_MIN ? 5
                                                   : 9;
    return add(bytes) && take(MessageReader::Other{});
  }
  // No field of ours is a float, and two implementations may round one differently.
  bool visit_float32(float) { return false; }
  bool visit_float64(double) { return false; }
  bool visit_ext(const char*, std::uint32_t) { return false; }
  bool visit_str(const char* data, std::uint32_t size) {
    const std::string_view text(data, size);
    const std::size_t head = size < 32 ? 1 : size <= 0xff ? 2 : 3;
    if (size > string_bytes_max_ || !add(head + size) || !is_utf8(text)) return false;
    return in_key_ ? take_key(text) : take(text);
  }
  bool visit_bin(const char* data, std::uint32_t size) {
    const std::size_t head = size <= 0xff ? 2 : size <= 0xffff ? 3 : 5;
    return add(head + size) && take(std::as_bytes(std::span(data, size)));
  }
  bool start_array(std::uint32_t count) {
    return count <= message_array_entries_max && fits(count) && add(count < 16 ? 1 : 3) && enter(Kind::array);
  }
  bool end_array() { return leave(); }
  bool start_map(std::uint32_t pairs) {
    return pairs <= message_map_entries_max && fits(2 * std::size_t{pairs}) && add(pairs < 16 ? 1 : 3) &&
           enter(Kind::map);
  }
  bool end_map() { return leave(); }
  bool start_map_key() {
    in_key_ = true;
    return true;
  }
  bool end_map_key() {
    const bool was_string = !in_key_;
    in_key_ = false;
    return was_string;
  }
  void parse_error(std::size_t, std::size_t) { ok_ = false; }
  void insufficient_bytes(std::size_t, std::size_t) { ok_ = false; }

 private:
  enum class Kind : std::uint8_t { array, map };
  struct Level {
    Kind kind;
    std::size_t first_key;
  };

  bool add(std::size_t bytes) {
    shortest_bytes_ += bytes;
    return shortest_bytes_ <= payload_bytes_ && ++elements_ <= message_elements_max;
  }
  /// Each element takes at least one byte.
  bool fits(std::size_t count) const { return count <= payload_bytes_ - shortest_bytes_; }

  bool enter(Kind kind) {
    if (in_key_ || depth_ == message_depth_max || (depth_ == 0 && kind != Kind::map)) return false;
    if (depth_ == 1)
      fields_.back().value =
          kind == Kind::array ? MessageReader::Value(MessageReader::Strings{}) : MessageReader::Other{};
    // An array that holds anything but strings is not Strings.
    if (depth_ == 2) fields_.back().value = MessageReader::Other{};
    levels_[depth_++] = Level{kind, keys_.size()};
    return true;
  }
  bool leave() {
    keys_.resize(levels_[--depth_].first_key);
    return true;
  }
  bool take_key(std::string_view key) {
    const auto first = keys_.begin() + static_cast<std::ptrdiff_t>(levels_[depth_ - 1].first_key);
    if (std::find(first, keys_.end(), key) != keys_.end()) return false;
    keys_.push_back(key);
    if (depth_ == 1) fields_.push_back({key, MessageReader::Other{}});
    in_key_ = false;
    return true;
  }
  bool take(MessageReader::Value value) {
    if (depth_ == 0 || in_key_) return false;
    if (depth_ == 1) {
      fields_.back().value = std::move(value);
    } else if (depth_ == 2 && levels_[1].kind == Kind::array) {
      auto* strings = std::get_if<MessageReader::Strings>(&fields_.back().value);
      const auto* text = std::get_if<std::string_view>(&value);
      if (strings != nullptr && text != nullptr && strings->size() < message_list_strings_max) {
        strings->push_back(*text);
      } else {
        fields_.back().value = MessageReader::Other{};
      }
    }
    return true;
  }

  std::size_t payload_bytes_;
  std::uint32_t string_bytes_max_;
  std::vector<MessageReader::Field>& fields_;
  std::size_t shortest_bytes_ = 0;
  std::uint32_t elements_ = 0;
  std::size_t depth_ = 0;
  std::array<Level, message_depth_max> levels_{};
  std::vector<std::string_view> keys_;
  bool in_key_ = false;
  bool ok_ = true;
};

}  // namespace

std::expected<MessageReader, Reason> MessageReader::read(std::span<const std::byte> payload,
                                                         std::uint32_t string_bytes_max) {
  MessageReader reader;
  StrictVisitor visitor(payload.size(), string_bytes_max, reader.fields_);
  std::size_t offset = 0;
  const auto* data = reinterpret_cast<const char*>(payload.data());
  const bool parsed = msgpack::parse(data, payload.size(), offset, visitor);
  if (!parsed || offset != payload.size() || !visitor.complete()) return std::unexpected(Reason::protocol);
  return reader;
}

template <typename T>
const T* MessageReader::find(std::string_view key, bool required) {
  const auto field = std::ranges::find(fields_, key, &Field::key);
  if (field == fields_.end()) {
    bad_ = bad_ || required;
    return nullptr;
  }
  const T* value = std::get_if<T>(&field->value);
  if (value == nullptr) bad_ = true;
  return value;
}

std::uint64_t MessageReader::number(std::string_view key, std::uint64_t max, std::optional<std::uint64_t> fallback) {
  const auto* value = find<std::uint64_t>(key, !fallback);
  if (value == nullptr) return fallback.value_or(0);
  if (*value > max) bad_ = true;
  return *value;
}

bool MessageReader::boolean(std::string_view key, bool fallback) {
  const auto* value = find<bool>(key, false);
  return value == nullptr ? fallback : *value;
}

std::string_view MessageReader::string(std::string_view key, std::size_t bytes_max,
                                       std::optional<std::string_view> fallback) {
  const auto* value = find<std::string_view>(key, !fallback);
  if (value == nullptr) return fallback.value_or("");
  if (value->size() > bytes_max) bad_ = true;
  return *value;
}

MessageReader::Binary MessageReader::binary(std::string_view key, std::size_t bytes) {
  const auto* value = find<Binary>(key, true);
  if (value == nullptr) return {};
  if (value->size() != bytes) bad_ = true;
  return *value;
}

MessageReader::Binary MessageReader::binary_up_to(std::string_view key, std::size_t bytes_max) {
  const auto* value = find<Binary>(key, false);
  if (value == nullptr) return {};
  if (value->size() > bytes_max) bad_ = true;
  return *value;
}

MessageReader::Strings MessageReader::strings(std::string_view key, std::size_t count_max, std::size_t bytes_max) {
  const auto* value = find<Strings>(key, false);
  if (value == nullptr) return {};
  if (value->size() > count_max) bad_ = true;
  for (const auto text : *value) {
    if (text.size() > bytes_max) bad_ = true;
  }
  return *value;
}

bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t more = lead < 0x80   ? 0
                             : lead < 0xc2 ? 4
                             : lead < 0xe0 ? 1
                             : lead < 0xf0 ? 2
                             : lead < 0xf5 ? 3
                                           : 4;
    if (more == 4 || i + more >= text.size()) return false;
    for (std::size_t k = 1; k <= more; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      // The second byte has the narrower ranges: no overlong form, no surrogate, nothing beyond U+10FFFF.
      const unsigned low = k == 1 && lead == 0xe0 ? 0xa0 : k == 1 && lead == 0xf0 ? 0x90 : 0x80;
      const unsigned high = k == 1 && lead == 0xed ? 0x9f : k == 1 && lead == 0xf4 ? 0x8f : 0xbf;
      if (next < low || next > high) return false;
    }
    i += more + 1;
  }
  return true;
}

}  // namespace culvert::protocol
