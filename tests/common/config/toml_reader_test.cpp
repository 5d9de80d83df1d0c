// SPDX-License-Identifier: Apache-2.0
#include "common/config/toml_reader.hpp"

#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include "tests/testing/temporary_directory.hpp"

namespace culvert {
namespace {

using namespace std::chrono_literals;
using testing::TemporaryDirectory;

enum class Colour { red, green };

/// Reads values of every kind.
void read_all(const TomlTable& root) {
  const TomlTable table = root.table("table");
  table.text("text");
  table.number("number", {1, 8});
  table.duration("duration", 100ms, 5min);
  table.size("size", {1024, 1ull << 30});
  table.path("path");
  table.word<Colour>("colour", {{"red", Colour::red}, {"green", Colour::green}});
  table.parsed_list("list", [](std::string_view text) -> Result<std::string> {
    if (text.empty()) return fail("x", "must not be empty");
    return std::string(text);
  });
  for (const TomlTable& entry : root.tables("entry")) {
    entry.require({"name"});
    entry.text("name");
  }
}

/// The text of all faults, with only the last part of each file name.
std::string faults_of(std::string_view text) {
  const TemporaryDirectory directory;
  const auto file = directory.write("x.toml", text);
  auto reader = TomlReader::open(file);
  std::string faults;
  if (reader) {
    read_all(reader->root());
    const auto checked = reader->finish();
    if (!checked) faults = checked.error().text;
  } else {
    faults = reader.error().text;
  }
  const std::string prefix = directory.path().string() + "/";
  for (auto at = faults.find(prefix); at != faults.npos; at = faults.find(prefix)) faults.erase(at, prefix.size());
  return faults;
}

TEST(TomlReader, yields_typed_values) {
  const TemporaryDirectory directory;
  const auto file =
      directory.write("x.toml",
                      "[table]\ntext = 'a'\nnumber = 8\nduration = '5m'\nsize = '64KiB'\npath = 'sub/../ca.pem'\n"
                      "colour = 'green'\nlist = ['a', 'b']\n[[entry]]\nname = 'first'\n[[entry]]\nname = 'second'\n");
  auto reader = TomlReader::open(file);
  ASSERT_TRUE(reader);
  const TomlTable table = reader->root().table("table");
  EXPECT_EQ(table.text("text"), "a");
  EXPECT_EQ(table.number("number", {1, 8}), 8u);
  EXPECT_EQ(table.duration("duration", 100ms, 5min), 5min);
  EXPECT_EQ(table.size("size", {1024, 1ull << 30}), 65536u);
  EXPECT_EQ(table.path("path"), directory.path() / "ca.pem");
  const auto colour = table.word<Colour>("colour", {{"red", Colour::red}, {"green", Colour::green}});
  EXPECT_EQ(colour, Colour::green);
  EXPECT_EQ(table.parsed_list("list", [](std::string_view text) -> Result<std::string> { return std::string(text); }),
            (std::vector<std::string>{"a", "b"}));
  const auto entries = reader->root().tables("entry");
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].text("name"), "first");
  EXPECT_EQ(entries[1].text("name"), "second");
  EXPECT_EQ(table.text("none"), std::nullopt);
  EXPECT_TRUE(reader->finish());
}

struct Row {
  std::string_view text;
  std::string_view fault;
};

TEST(TomlReader, reports_file_line_key_and_remedy) {
  for (const Row& row : {
           Row{"[table]\ntext = 1", "x.toml:2: table.text: must be text in quotes, is a whole number"},
           Row{"[table]\n\nnumber = '1'", "x.toml:3: table.number: must be a whole number from 1 to 8, is text"},
           Row{"[table]\nnumber = 9", "x.toml:2: table.number: is 9, must be a whole number from 1 to 8"},
           Row{"[table]\nnumber = 0", "table.number: is 0, must be"},
           Row{"[table]\nnumber = -1", "table.number: is -1, must be"},
           Row{"[table]\nnumber = 1.5", "must be a whole number from 1 to 8, is a value of another type"},
           Row{"[table]\nduration = '10'",
               "x.toml:2: table.duration: is \"10\", must be a time from \"100ms\" to \"5m\""},
           Row{"[table]\nduration = '99ms'", "table.duration: is \"99ms\", must be a time"},
           Row{"[table]\nduration = '301s'", "table.duration: is \"301s\", must be a time"},
           Row{"[table]\nduration = '-1s'", "table.duration: is \"-1s\", must be a time"},
           Row{"[table]\nduration = '1 s'", "table.duration: is \"1 s\", must be a time"},
           Row{"[table]\nduration = 10", "table.duration: must be a time"},
           Row{"[table]\nduration = '18446744073709551615h'", "table.duration: is"},
           Row{"[table]\nsize = '64KB'", "table.size: is \"64KB\", must be a size from \"1KiB\" to \"1GiB\""},
           Row{"[table]\nsize = '2GiB'", "table.size: is \"2GiB\", must be a size"},
           Row{"[table]\nsize = '1023B'", "table.size: is \"1023B\", must be a size"},
           Row{"[table]\nsize = '99999999999999TiB'", "table.size: is"},
           Row{"[table]\npath = ''", "table.path: must be the path of a file"},
           Row{"[table]\npath = \"a\\u0000b\"", "table.path: must be the path of a file"},
           Row{"[table]\ncolour = 'blue'", "table.colour: is \"blue\", must be one of \"red\", \"green\""},
           Row{"[table]\nlist = 'a'", "table.list: must be a list of texts"},
           Row{"[table]\nlist = [\n'a',\n1]",
               "x.toml:4: table.list: must hold texts in quotes only, holds a whole number"},
           Row{"[table]\nlist = [\n'a',\n'']", "x.toml:4: table.list: must not be empty"},
           Row{"table = 1", "x.toml:1: table: must be a table, is a whole number"},
           Row{"[entry]\nname = 'a'", "x.toml:1: entry: must be a list of tables, written [[entry]], is a table"},
           Row{"entry = [1]", "x.toml:1: entry: must be a list of tables, written [[entry]], holds a whole number"},
           Row{"[[entry]]\nname = 'a'\n[[entry]]\n", "x.toml:3: entry.name: is missing; this table needs it"},
           Row{"[table]\ntxet = 'a'", "x.toml:2: table.txet: unknown key; did you mean \"text\"?"},
           Row{"[[entry]]\nname = 'a'\nnames = 'a'", "x.toml:3: entry.names: unknown key; did you mean \"name\"?"},
           Row{"[tabel]\ntext = 'a'", "x.toml:1: tabel: unknown key; did you mean \"table\"?"},
           Row{"[quite_different]", "x.toml:1: quite_different: unknown key; known here: entry, table"},
           Row{"[table]\ntext = ", "x.toml:2: "},
           Row{"[table]\ntext = 'a", "x.toml:2: "},
           Row{"[table\ntext = 'a'", "x.toml:1: "},
           Row{"[table]\ntext = 'a'\ntext = 'b'", "x.toml:3: "},
           Row{"\n\nhello", "x.toml:3: "},
           Row{"[table]\nnumber = 99999999999999999999", "x.toml:"},
       }) {
    SCOPED_TRACE(row.text);
    const std::string faults = faults_of(row.text);
    EXPECT_NE(faults.find(row.fault), std::string::npos) << faults;
    EXPECT_EQ(faults.find('\n'), std::string::npos) << faults;
  }
}

TEST(TomlReader, reports_all_faults_in_the_order_of_the_lines) {
  EXPECT_EQ(faults_of("[[entry]]\nnaem = 'a'\n[table]\nnumber = 9\nsize = '1'\nfoo = 1\n"),
            "x.toml:1: entry.name: is missing; this table needs it\n"
            "x.toml:2: entry.naem: unknown key; did you mean \"name\"?\n"
            "x.toml:4: table.number: is 9, must be a whole number from 1 to 8\n"
            "x.toml:5: table.size: is \"1\", must be a size from \"1KiB\" to \"1GiB\", with the unit B, KiB, MiB, GiB "
            "or TiB\n"
            "x.toml:6: table.foo: unknown key; known here: colour, duration, list, number, path, size, text");
}

TEST(TomlReader, shows_nothing_of_the_input_that_is_not_printable) {
  const std::string faults = faults_of("\"\\u001b[31mred\\n\" = 1\n");
  EXPECT_NE(faults.find("x.toml:1: ?[31mred?: unknown key"), std::string::npos) << faults;
}

TEST(TomlReader, merges_drop_ins_in_the_order_of_their_names) {
  const TemporaryDirectory directory;
  const auto file = directory.write("x.toml", "[table]\ntext = 'file'\nlist = ['a']\n[[entry]]\nname = 'file'\n");
  directory.write("x.toml.d/20.toml", "[table]\ntext = 'twenty'\n[[entry]]\nname = 'twenty'\n");
  directory.write("x.toml.d/10.toml", "[table]\ntext = 'ten'\nlist = ['b']\npath = 'here'\n[[entry]]\nname = 'ten'\n");
  directory.write("x.toml.d/.hidden.toml", "not TOML");
  directory.write("x.toml.d/30.toml~", "not TOML");
  auto reader = TomlReader::open(file);
  ASSERT_TRUE(reader) << reader.error().text;
  const TomlTable table = reader->root().table("table");
  EXPECT_EQ(table.text("text"), "twenty");
  EXPECT_EQ(table.path("path"), directory.path() / "x.toml.d/here");
  const auto list =
      table.parsed_list("list", [](std::string_view text) -> Result<std::string> { return std::string(text); });
  EXPECT_EQ(list, (std::vector<std::string>{"b"}));
  std::string names;
  for (const TomlTable& entry : reader->root().tables("entry")) names += *entry.text("name") + " ";
  EXPECT_EQ(names, "file ten twenty ");
}

TEST(TomlReader, names_the_drop_in_that_is_at_fault) {
  const TemporaryDirectory directory;
  const auto file = directory.write("x.toml", "[table]\nnumber = 1\n");
  const auto drop_in = directory.write("x.toml.d/10.toml", "\n[table]\nnumber = 9\n");
  auto reader = TomlReader::open(file);
  ASSERT_TRUE(reader);
  read_all(reader->root());
  const auto checked = reader->finish();
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code, "config.invalid");
  EXPECT_TRUE(checked.error().text.starts_with(drop_in.string() + ":3: table.number:")) << checked.error().text;
}

TEST(TomlReader, reports_the_syntax_error_of_each_file) {
  const TemporaryDirectory directory;
  const auto file = directory.write("x.toml", "[table\n");
  const auto drop_in = directory.write("x.toml.d/10.toml", "\na = \n");
  const auto reader = TomlReader::open(file);
  ASSERT_FALSE(reader);
  EXPECT_EQ(reader.error().code, "config.syntax");
  EXPECT_NE(reader.error().text.find(file.string() + ":1: "), std::string::npos) << reader.error().text;
  EXPECT_NE(reader.error().text.find("\n" + drop_in.string() + ":2: "), std::string::npos) << reader.error().text;
}

TEST(TomlReader, refuses_files_that_it_cannot_read) {
  const TemporaryDirectory directory;
  for (const auto& file :
       {directory.path() / "none", directory.path(), directory.write("big", std::string((1 << 20) + 1, '#'))}) {
    const auto reader = TomlReader::open(file);
    ASSERT_FALSE(reader);
    EXPECT_EQ(reader.error().code, "config.unreadable");
  }
  EXPECT_TRUE(TomlReader::open(directory.write("full", std::string(1 << 20, '#'))));
  EXPECT_TRUE(TomlReader::open(directory.write("empty", "")));
}

TEST(TomlReader, survives_bottomless_nesting) {
  for (const std::string& text :
       {"a = " + std::string(100'000, '['), "a = 'x'\nb = " + std::string(33, '[') + std::string(33, ']'), "a" + [] {
          std::string dots;
          for (int i = 0; i < 100'000; ++i) dots += ".a";
          return dots;
        }() + " = 1"}) {
    EXPECT_NE(faults_of(text).find("nested too deeply"), std::string::npos);
  }
  EXPECT_EQ(faults_of("# " + std::string(100, '[') + "\n[table]\ntext = '''" + std::string(100, '{') + "'''\n"), "");
}

TEST(TomlReader, describes_every_key_without_a_file) {
  TomlReader reader = TomlReader::describe();
  read_all(reader.root());
  EXPECT_EQ(reader.known_keys(),
            (std::vector<std::string>{"entry", "entry.name", "table", "table.colour", "table.duration", "table.list",
                                      "table.number", "table.path", "table.size", "table.text"}));
}

TEST(TomlReader, reads_the_text_of_a_command_line) {
  auto reader = TomlReader::open(ConfigSource::of_command_line("[table]\nfile = 'here'\nnumber = 'x'\n"));
  ASSERT_TRUE(reader) << reader.error().text;
  const TomlTable table = reader->root().table("table");
  EXPECT_EQ(table.path("file"), std::filesystem::current_path() / "here");
  EXPECT_FALSE(table.number("number", {1, 2}));
  const auto finished = reader->finish();
  ASSERT_FALSE(finished);
  EXPECT_TRUE(finished.error().text.starts_with("command line: table.number: ")) << finished.error().text;
}

}  // namespace
}  // namespace culvert
