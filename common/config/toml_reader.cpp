// SPDX-License-Identifier: Apache-2.0
#include "common/config/toml_reader.hpp"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <optional>
#include <sstream>
#include <system_error>
#include <tuple>

#include <fmt/core.h>
#include <toml.hpp>

namespace culvert {

namespace fs = std::filesystem;

namespace {

using ParsedValue = toml::basic_value<toml::discard_comments, std::map, std::vector>;

constexpr std::size_t file_bytes_max = std::size_t{1} << 20;
constexpr int nesting_max = 32;        // The parser recurses: unbounded depth would overflow the stack.
constexpr int dots_per_line_max = 64;  // The same for a.b.c.d…

/// The position right after the string that opens at `begin`; the line's end when the string is not closed.
std::size_t end_of_string(std::string_view text, std::size_t begin) {
  const char quote = text[begin];
  const bool long_form = text.substr(begin, 3) == std::string(3, quote);
  const std::string_view close = text.substr(begin, long_form ? 3 : 1);
  for (std::size_t at = begin + close.size(); at < text.size(); ++at) {
    if (text.substr(at, close.size()) == close) return at + close.size();
    if (text[at] == '\\' && quote == '"') {
      ++at;
    } else if (text[at] == '\n' && !long_form) {
      return at;
    }
  }
  return text.size();
}

/// The line at which the text nests deeper than a configuration ever does.
std::optional<std::uint32_t> find_deep_nesting(std::string_view text) {
  int depth = 0;
  int dots = 0;
  std::size_t at = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '"' || c == '\'') {
      at = end_of_string(text, at);
      continue;
    }
    if (c == '#') {
      at = std::min(text.find('\n', at), text.size());
      continue;
    }
    if (c == '[' || c == '{') ++depth;
    if (c == ']' || c == '}') depth = std::max(depth - 1, 0);
    dots = c == '\n' ? 0 : dots + (c == '.' ? 1 : 0);
    if (depth > nesting_max || dots > dots_per_line_max)
      return static_cast<std::uint32_t>(std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(at), '\n') +
                                        1);
    ++at;
  }
  return std::nullopt;
}

struct SyntaxFault {
  std::uint32_t line;
  std::string what;
};

/// The parser's message without the name of its own function and the final full stop.
std::string plain_words(std::string text) {
  if (const std::size_t name = text.find("toml::"); name != text.npos) {
    const std::size_t colon = text.find(':', name + 6);
    text.erase(0, colon == text.npos ? text.size() : std::min(colon + 2, text.size()));
  }
  if (constexpr std::string_view mark = "[error] "; text.starts_with(mark)) text.erase(0, mark.size());
  while (text.ends_with('.') || text.ends_with(' ')) text.pop_back();
  return text == "here" ? "" : text;
}

/// toml11 draws a picture of several lines: "[error] toml::parse_x: what", then for each position "12 | the line" and "
/// | ^--- comment". Returns the last position (for a key written twice: the second) and the message.
SyntaxFault read_picture(const std::string& picture, std::uint32_t line) {
  std::istringstream lines(picture);
  std::string text;
  std::getline(lines, text);
  const std::string what = plain_words(text);
  std::string comment;
  while (std::getline(lines, text)) {
    const std::size_t bar = text.find(" | ");
    const std::size_t first = text.find_first_not_of(' ');
    if (bar == text.npos) continue;
    if (first < bar && text.find_first_not_of("0123456789", first) == bar) {
      line = static_cast<std::uint32_t>(std::stoul(text.substr(first, bar - first)));
    } else if (const std::size_t mark = text.find_first_of("^~", bar); mark != text.npos) {
      const std::size_t words = text.find_first_not_of("^~- ", mark);
      comment = words == text.npos ? "" : plain_words(text.substr(words));
    }
  }
  return {line, what + (what.empty() || comment.empty() ? "" : ": ") + comment};
}

TomlNode convert(const ParsedValue& value, std::size_t file) {
  TomlNode node;
  node.position = {file, value.location().line()};
  switch (value.type()) {
    case toml::value_t::table:
      for (const auto& [key, member] : value.as_table(std::nothrow)) node.members.emplace(key, convert(member, file));
      break;
    case toml::value_t::array:
      node.kind = TomlNode::Kind::array;
      for (const ParsedValue& item : value.as_array(std::nothrow)) node.items.push_back(convert(item, file));
      break;
    case toml::value_t::string:
      node.kind = TomlNode::Kind::text;
      node.text = value.as_string(std::nothrow).str;
      break;
    case toml::value_t::boolean:
      node.kind = TomlNode::Kind::boolean;
      node.integer = value.as_boolean(std::nothrow) ? 1 : 0;
      break;
    case toml::value_t::integer:
      node.kind = TomlNode::Kind::integer;
      node.integer = value.as_integer(std::nothrow);
      break;
    case toml::value_t::floating:
    case toml::value_t::offset_datetime:
    case toml::value_t::local_datetime:
    case toml::value_t::local_date:
    case toml::value_t::local_time:
    case toml::value_t::empty: node.kind = TomlNode::Kind::other; break;
  }
  return node;
}

Result<TomlNode> parse(const std::string& text, const std::string& label, std::size_t file) {
  const auto syntax_fault = [&](std::uint32_t line, std::string_view what) {
    return fail("config.syntax", fmt::format("{}:{}: {}", label, line, what));
  };
  if (const auto line = find_deep_nesting(text)) return syntax_fault(*line, "nested too deeply");
  try {
    std::istringstream stream(text);
    return convert(toml::parse<toml::discard_comments, std::map, std::vector>(stream, "-"), file);
  } catch (const toml::exception& error) {
    const SyntaxFault fault = read_picture(error.what(), error.location().line());
    return syntax_fault(fault.line, fmt::format("not TOML: {}", fault.what));
  } catch (const std::exception& error) {
    return syntax_fault(1, fmt::format("not TOML: {}", error.what()));
  }
}

Result<std::string> read_text(const fs::path& file) {
  std::error_code error;
  if (fs::is_directory(file, error)) return fail("config.unreadable", fmt::format("{}: is a directory", file.string()));
  errno = 0;
  std::ifstream stream(file, std::ios::binary);
  std::string text(file_bytes_max + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!stream.is_open() || stream.bad()) {
    return fail("config.unreadable",
                fmt::format("{}: cannot be read: {}", file.string(), std::generic_category().message(errno)));
  }
  text.resize(static_cast<std::size_t>(stream.gcount()));
  if (text.size() > file_bytes_max) {
    return fail("config.unreadable", fmt::format("{}: has more than 1 MiB; is it the right file?", file.string()));
  }
  return text;
}

std::vector<fs::path> find_drop_ins(const fs::path& file) {
  std::vector<fs::path> found;
  std::error_code error;
  for (fs::directory_iterator entry(file.string() + ".d", error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    // A leading dot means an editor's spare copy, or Kubernetes' own files in a mounted directory.
    if (name.ends_with(".toml") && !name.starts_with('.')) found.push_back(entry->path());
  }
  std::ranges::sort(found);
  return found;
}

bool is_list_of_tables(const TomlNode& node) {
  return node.kind == TomlNode::Kind::array && !node.items.empty() &&
         std::ranges::all_of(node.items, [](const TomlNode& item) { return item.kind == TomlNode::Kind::table; });
}

void merge(TomlNode& into, TomlNode&& from) {
  for (auto& [key, value] : from.members) {
    const auto found = into.members.find(key);
    if (found == into.members.end()) {
      into.members.emplace(key, std::move(value));
    } else if (found->second.kind == TomlNode::Kind::table && value.kind == TomlNode::Kind::table) {
      merge(found->second, std::move(value));
    } else if (is_list_of_tables(found->second) && is_list_of_tables(value)) {
      std::ranges::move(value.items, std::back_inserter(found->second.items));
    } else {
      found->second = std::move(value);
    }
  }
}

/// Levenshtein distance.
std::size_t distance(std::string_view left, std::string_view right) {
  std::vector<std::size_t> row(right.size() + 1);
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = i;
  for (std::size_t i = 0; i < left.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < right.size(); ++j) {
      const std::size_t replaced = diagonal + (left[i] == right[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, diagonal + 1, row[j] + 1});
    }
  }
  return row.back();
}

std::string suggestion(std::string_view key, const std::set<std::string, std::less<>>& known) {
  constexpr std::size_t longest_key = 64;
  std::string_view best;
  std::size_t best_distance = key.size() / 3 + 2;
  for (const std::string& candidate : known) {
    const std::size_t apart = key.size() > longest_key ? best_distance : distance(key, candidate);
    if (apart >= best_distance) continue;
    best_distance = apart;
    best = candidate;
  }
  if (!best.empty()) return fmt::format("unknown key; did you mean \"{}\"?", best);
  std::string all;
  for (const std::string& candidate : known) all += (all.empty() ? "" : ", ") + candidate;
  return fmt::format("unknown key; known here: {}", all);
}

/// A key in a form that may be shown: bytes that are not printable become '?'.
std::string printable(std::string_view key) {
  std::string shown(key.substr(0, 80));
  std::ranges::replace_if(shown, [](unsigned char c) { return c < ' ' || c == 127; }, '?');
  return shown;
}

void find_unknown_keys(const TomlNode& table, const std::string& path, std::vector<TomlDocument::Fault>& faults) {
  for (const auto& [key, member] : table.members) {
    const std::string dotted = path.empty() ? printable(key) : path + "." + printable(key);
    if (!table.asked.contains(key)) {
      faults.push_back({member.position, dotted + ": " + suggestion(key, table.asked)});
    } else if (member.kind == TomlNode::Kind::table && member.opened) {
      find_unknown_keys(member, dotted, faults);
    } else if (member.kind == TomlNode::Kind::array && member.opened) {
      for (const TomlNode& item : member.items) {
        if (item.opened) find_unknown_keys(item, dotted, faults);
      }
    }
  }
}

}  // namespace

Result<TomlReader> TomlReader::open(const ConfigSource& source) {
  TomlReader reader;
  TomlDocument& document = *reader.document_;
  if (source.file.empty()) {
    std::error_code error;
    document.files.push_back({source.name(), fs::current_path(error), false});
    auto node = parse(source.text, source.name(), 0);
    if (!node) return std::unexpected(node.error());
    document.root = std::move(*node);
    return reader;
  }
  std::vector<fs::path> paths = find_drop_ins(source.file);
  paths.insert(paths.begin(), source.file);

  std::optional<Error> failure;
  for (const fs::path& path : paths) {
    std::error_code error;
    document.files.push_back({path.string(), fs::absolute(path, error).parent_path()});
    auto text = read_text(path);
    auto node = text ? parse(*text, path.string(), document.files.size() - 1) : std::unexpected(text.error());
    if (node) {
      merge(document.root, std::move(*node));
    } else if (!failure) {
      failure = std::move(node.error());
    } else {
      failure->text += "\n" + node.error().text;
    }
  }
  if (failure) return std::unexpected(std::move(*failure));
  return reader;
}

TomlReader TomlReader::describe() {
  TomlReader reader;
  reader.document_->describing = true;
  reader.document_->files.push_back({"nothing", "/"});
  return reader;
}

Result<void> TomlReader::finish() {
  std::vector<TomlDocument::Fault>& faults = document_->faults;
  find_unknown_keys(document_->root, "", faults);
  if (faults.empty()) return {};
  const auto in_order = [](const TomlDocument::Fault& fault) {
    return std::tie(fault.position.file, fault.position.line, fault.text);
  };
  std::ranges::sort(faults, {}, in_order);
  // A table that two readers open has noted its faults twice.
  const auto repeated = std::ranges::unique(faults, {}, in_order);
  faults.erase(repeated.begin(), repeated.end());
  std::string text;
  for (const auto& [position, what] : faults) {
    if (!text.empty()) text += '\n';
    text += fmt::format("{}: {}", document_->place(position), what);
  }
  return fail("config.invalid", std::move(text));
}

}  // namespace culvert
