// SPDX-License-Identifier: Apache-2.0
#include "server/targets/destination_text.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>  // explicit_bzero
#include <optional>
#include <utility>

#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/core.h>

#include "common/http/characters.hpp"
#include "protocol/message_reader.hpp"

namespace culvert::server {

namespace json = boost::json;

namespace {

constexpr std::size_t name_bytes_max = 256;
constexpr std::size_t depth_max = 8;

std::unexpected<Error> bad(std::string text) {
  return fail("gateway.bad_destination", std::move(text));
}

/// Text under construction that may be a secret. It never moves and is wiped at the end.
class Scratch {
 public:
  explicit Scratch(std::size_t bytes_max) { bytes_.reserve(bytes_max); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() {
    bytes_.resize(bytes_.capacity());
    if (!bytes_.empty()) ::explicit_bzero(bytes_.data(), bytes_.size());
  }

  void add(char c) { bytes_.push_back(c); }
  void add(std::string_view text) { bytes_.insert(bytes_.end(), text.begin(), text.end()); }
  void clear() { bytes_.clear(); }
  std::string_view text() const { return {bytes_.data(), bytes_.size()}; }
  Secret secret() const { return Secret::of(text()); }

 private:
  std::vector<char> bytes_;
};

/// Without control characters, so that an error may show it. Those from U+0080 on have two bytes.
bool is_name(std::string_view text) {
  if (text.empty() || text.size() > name_bytes_max) return false;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    const bool is_control = byte < ' ' || byte == 0x7f;
    if (is_control || (byte == 0xc2 && at + 1 < text.size() && static_cast<unsigned char>(text[at + 1]) < 0xa0))
      return false;
  }
  return true;
}

const DestinationProperty* find(const DestinationProperties& properties, std::string_view name) {
  const auto found = std::ranges::find(properties, name, &DestinationProperty::name);
  return found == properties.end() ? nullptr : &*found;
}

/// Returns what is wrong: the text of an error, or an empty one.
std::string add_property(DestinationProperties& properties, std::string_view name, Secret value) {
  if (!is_name(name)) return "a property's name is empty, has control characters or more than 256 bytes; fix it";
  if (properties.size() == destination_properties_max)
    return fmt::format("more than {} properties; remove some", destination_properties_max);
  if (find(properties, name) != nullptr) return fmt::format("{}: it is there twice; remove one", name);
  properties.emplace_back(std::string(name), std::move(value));
  return {};
}

// --- JSON

enum class Wanted : std::uint8_t { root, all };

/// An object of which the flat members were kept.
struct FlatObject {
  DestinationProperties properties;
  std::string nested;  ///< Name of the first member that is an object or an array; empty if there is none.
};

/// Collects objects while Boost.JSON parses the text. Nothing goes through a json::value, which would leave copies of
/// secrets in memory.
class ObjectCollector {
 public:
  static constexpr std::size_t max_object_size = SIZE_MAX;
  static constexpr std::size_t max_array_size = SIZE_MAX;
  static constexpr std::size_t max_key_size = SIZE_MAX;
  static constexpr std::size_t max_string_size = SIZE_MAX;
  using Code = json::error_code;
  using Text = json::string_view;

  ObjectCollector(Wanted wanted, std::size_t text_bytes) : wanted_(wanted), value_(text_bytes) {}

  std::vector<FlatObject>& found() { return found_; }
  const std::string& flaw() const { return flaw_; }

  bool on_document_begin(Code&) { return true; }
  bool on_document_end(Code&) { return true; }
  bool on_object_begin(Code&) {
    begin_nested();
    open_.push_back({true, {}, {}});
    return true;
  }
  bool on_object_end(std::size_t, Code&) {
    Level level = std::move(open_.back());
    open_.pop_back();
    if (wanted_ == Wanted::root ? open_.empty() : is_destination(level.object))
      found_.push_back(std::move(level.object));
    return true;
  }
  bool on_array_begin(Code&) {
    begin_nested();
    open_.push_back({false, {}, {}});
    return true;
  }
  bool on_array_end(std::size_t, Code&) {
    open_.pop_back();
    return true;
  }
  bool on_key_part(Text text, std::size_t, Code&) {
    open_.back().key += text;
    return true;
  }
  bool on_key(Text text, std::size_t, Code&) {
    open_.back().key += text;
    return true;
  }
  bool on_string_part(Text text, std::size_t, Code&) {
    value_.add(text);
    return true;
  }
  bool on_string(Text text, std::size_t, Code& error) { return end_value(text, error); }
  bool on_number_part(Text text, Code&) {
    value_.add(text);
    return true;
  }
  bool on_int64(std::int64_t, Text text, Code& error) { return end_value(text, error); }
  bool on_uint64(std::uint64_t, Text text, Code& error) { return end_value(text, error); }
  bool on_double(double, Text text, Code& error) { return end_value(text, error); }
  bool on_bool(bool value, Code& error) { return end_value(value ? "true" : "false", error); }
  bool on_null(Code&) {
    if (!open_.empty()) open_.back().key.clear();
    return true;
  }
  bool on_comment_part(Text, Code&) { return true; }
  bool on_comment(Text, Code&) { return true; }

 private:
  struct Level {
    bool is_object;
    std::string key;  ///< Of the member that is being read.
    FlatObject object;
  };

  /// A container with a Name of its own is not a destination.
  static bool is_destination(const FlatObject& object) {
    const DestinationProperty* type = find(object.properties, "Type");
    const bool is_certificate = type != nullptr && type->value.reveal() == "CERTIFICATE";
    return find(object.properties, "Name") != nullptr && !is_certificate && (type != nullptr || object.nested.empty());
  }

  void begin_nested() {
    if (open_.empty() || !open_.back().is_object) return;
    Level& level = open_.back();
    if (level.object.nested.empty()) level.object.nested = std::move(level.key);
    level.key.clear();
  }
  bool end_value(Text last, Code& error) {
    value_.add(last);
    if (!open_.empty() && open_.back().is_object) {
      Level& level = open_.back();
      flaw_ = add_property(level.object.properties, level.key, value_.secret());
      level.key.clear();
      if (!flaw_.empty()) error = json::error::object_too_large;
    }
    value_.clear();
    return !error;
  }

  Wanted wanted_;
  Scratch value_;
  std::vector<Level> open_;
  std::vector<FlatObject> found_;
  std::string flaw_;
};

Result<std::vector<FlatObject>> read_objects(std::string_view text, Wanted wanted) {
  json::parse_options options;
  options.max_depth = depth_max;
  json::error_code error;
  json::basic_parser<ObjectCollector> parser(options, wanted, text.size());
  const std::size_t used = parser.write_some(false, text.data(), text.size(), error);
  if (!parser.handler().flaw().empty()) return bad(parser.handler().flaw());
  if (error || used != text.size() || !parser.done())
    return bad(fmt::format("not valid JSON: an error at byte {}; export it again", used));
  return std::move(parser.handler().found());
}

Result<DestinationProperties> read_json(std::string_view text) {
  auto objects = read_objects(text, Wanted::root);
  if (!objects) return std::unexpected(std::move(objects.error()));
  if (objects->empty()) return bad("not a JSON object; write one destination");
  FlatObject& object = objects->front();
  if (!object.nested.empty())
    return bad(fmt::format("{}: is an object or an array, and a destination is flat; write a text",
                           is_name(object.nested) ? object.nested : "a property"));
  return std::move(object.properties);
}

/// A member that is not flat stays one, so that the reader of the text refuses it.
std::string text_of(const FlatObject& object) {
  json::object written;
  for (const DestinationProperty& property : object.properties) written[property.name] = property.value.reveal();
  if (!object.nested.empty()) written[object.nested] = json::object();
  return json::serialize(written);
}

// --- Properties

constexpr std::string_view blanks = " \t\f";
constexpr std::string_view blanks_and_line_ends = " \t\f\r\n";

void skip(std::string_view& text, std::string_view characters) {
  text.remove_prefix(std::min(text.find_first_not_of(characters), text.size()));
}

/// Reads the format of java.util.Properties, with UTF-8 instead of ISO 8859-1.
class PropertiesReader {
 public:
  explicit PropertiesReader(std::string_view text) : rest_(text), line_(text.size()), part_(text.size()) {}

  Result<DestinationProperties> read() {
    DestinationProperties properties;
    while (next_line()) {
      std::string_view line = line_.text();
      if (line.empty()) continue;
      if (!unescape(line, take_key(line))) return bad_escape();
      const std::string name(part_.text());
      skip_separator(line);
      if (!unescape(line, line.size())) return bad_escape();
      if (std::string flaw = add_property(properties, name, part_.secret()); !flaw.empty()) return bad(flaw);
    }
    return properties;
  }

 private:
  static std::unexpected<Error> bad_escape() {
    return bad("a \\u escape is not one of a character; write \\u and four hexadecimal digits");
  }

  /// Joins the lines that a backslash at the end continues into line_, without white space at their beginnings. Skips
  /// empty lines and comments. False at the end.
  bool next_line() {
    for (line_.clear(); !rest_.empty();) {
      skip(rest_, blanks_and_line_ends);
      if (rest_.empty()) return false;
      const bool is_comment = rest_.front() == '#' || rest_.front() == '!';
      while (take_natural_line(is_comment)) skip(rest_, blanks);
      if (!is_comment) return true;
    }
    return false;
  }
  /// Appends up to the line's end. Returns whether the next line continues it.
  bool take_natural_line(bool is_comment) {
    const std::size_t end = std::min(rest_.find_first_of("\r\n"), rest_.size());
    std::string_view line = rest_.substr(0, end);
    rest_.remove_prefix(end);
    if (rest_.starts_with("\r\n")) rest_.remove_prefix(1);
    if (!rest_.empty()) rest_.remove_prefix(1);
    if (is_comment) return false;
    const std::size_t backslashes = line.size() - (line.find_last_not_of('\\') + 1);
    const bool continues = backslashes % 2 == 1;
    if (continues) line.remove_suffix(1);
    line_.add(line);
    return continues;
  }

  /// The length of the name at the front of the line: it ends before a separator that is not escaped.
  static std::size_t take_key(std::string_view line) {
    for (std::size_t at = 0; at < line.size(); ++at) {
      if (line[at] == '\\') {
        ++at;
      } else if (line[at] == '=' || line[at] == ':' || blanks.contains(line[at])) {
        return at;
      }
    }
    return line.size();
  }
  static void skip_separator(std::string_view& line) {
    skip(line, blanks);
    if (!line.starts_with('=') && !line.starts_with(':')) return;
    line.remove_prefix(1);
    skip(line, blanks);
  }

  /// Moves `size` bytes from the front of `line` to part_, with escapes decoded. False for a bad \u.
  bool unescape(std::string_view& line, std::size_t size) {
    std::string_view text = line.substr(0, size);
    line.remove_prefix(size);
    part_.clear();
    while (!text.empty()) {
      const std::size_t plain = std::min(text.find('\\'), text.size());
      part_.add(text.substr(0, plain));
      text.remove_prefix(plain);
      if (text.size() < 2) return true;  // A backslash at the end of the text escapes nothing.
      const char c = text[1];
      if (c == 'u') {
        if (!add_character(text)) return false;
        continue;
      }
      constexpr std::string_view letters = "tnrf";
      constexpr std::string_view meanings = "\t\n\r\f";
      const std::size_t known = letters.find(c);
      part_.add(known == letters.npos ? c : meanings[known]);
      text.remove_prefix(2);
    }
    return true;
  }

  /// Removes "\uXXXX" from the front of `text`. Nothing if it is malformed.
  static std::optional<std::uint32_t> take_unit(std::string_view& text) {
    if (!text.starts_with("\\u") || text.size() < 6) return std::nullopt;
    std::uint32_t unit = 0;
    for (const char digit : text.substr(2, 4)) {
      const int value = http::hex_value(digit);
      if (value < 0) return std::nullopt;
      unit = unit << 4 | static_cast<std::uint32_t>(value);
    }
    text.remove_prefix(6);
    return unit;
  }
  /// One character: one unit of UTF-16, or a pair of surrogates.
  bool add_character(std::string_view& text) {
    const auto first = take_unit(text);
    if (!first) return false;
    std::uint32_t character = *first;
    if (character >= 0xd800 && character <= 0xdfff) {
      const auto second = take_unit(text);
      if (character >= 0xdc00 || !second || *second < 0xdc00 || *second > 0xdfff) return false;
      character = 0x10000 + ((character - 0xd800) << 10) + (*second - 0xdc00);
    }
    add_utf8(character);
    return true;
  }
  void add_utf8(std::uint32_t character) {
    const auto add = [this](std::uint32_t byte) { part_.add(static_cast<char>(byte)); };
    const auto add_rest = [&](unsigned count) {
      while (count-- > 0) add(0x80 | (character >> (6 * count) & 0x3f));
    };
    if (character < 0x80) return add(character);
    if (character < 0x800) {
      add(0xc0 | character >> 6);
      return add_rest(1);
    }
    if (character < 0x10000) {
      add(0xe0 | character >> 12);
      return add_rest(2);
    }
    add(0xf0 | character >> 18);
    add_rest(3);
  }

  std::string_view rest_;
  Scratch line_;
  Scratch part_;
};

}  // namespace

bool is_json_export(std::string_view text) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  return begin != text.npos && (text[begin] == '{' || text[begin] == '[');
}

Result<DestinationProperties> read_destination_properties(std::string_view text) {
  if (text.size() > destination_bytes_max) return bad("larger than 64 KiB; write one destination");
  if (!protocol::is_utf8(text)) return bad("not UTF-8; save it with this encoding");
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  return is_json_export(text) ? read_json(text) : PropertiesReader(text).read();
}

Result<std::vector<ExportedDestination>> split_export(std::string_view json) {
  if (json.size() > export_bytes_max) return bad("larger than 4 MiB; export fewer destinations at once");
  if (json.starts_with("\xef\xbb\xbf")) json.remove_prefix(3);
  auto objects = read_objects(json, Wanted::all);
  if (!objects) return std::unexpected(std::move(objects.error()));
  if (objects->empty())
    return bad("no object with a Name is in it, so no destination; is it an export of destinations?");
  std::vector<ExportedDestination> destinations;
  for (const FlatObject& object : *objects) {
    const std::string_view name = find(object.properties, "Name")->value.reveal();
    destinations.push_back({std::string(name), text_of(object)});
  }
  return destinations;
}

}  // namespace culvert::server
