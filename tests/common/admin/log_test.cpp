// SPDX-License-Identifier: Apache-2.0
#include "common/admin/log.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <random>
#include <string>
#include <thread>

#include <boost/json.hpp>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "common/admin/line_limit.hpp"
#include "common/net/unique_fd.hpp"

namespace culvert {
namespace {

using namespace std::chrono_literals;
using Format = LogSettings::Format;
using Level = LogSettings::Level;

constexpr std::chrono::system_clock::time_point noon{std::chrono::milliseconds(1'795'255'200'123)};

std::string text_line(LogFields fields) {
  return format_log_line(Format::text, noon, Level::info, "test", fields);
}
std::string json_line(LogFields fields) {
  return format_log_line(Format::json, noon, Level::info, "test", fields);
}

std::string random_bytes(std::mt19937& random, std::size_t size) {
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random() & 0xff);
  return bytes;
}

/// A pipe as the log's destination.
struct Pipe {
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) std::abort();
    reader = UniqueFd(ends[0]);
    writer = UniqueFd(ends[1]);
  }
  /// Reads until all writers are closed.
  std::string read_all() {
    writer.close();
    std::string all;
    char block[65536];
    for (ssize_t size; (size = ::read(reader.get(), block, sizeof block)) > 0;)
      all.append(block, static_cast<std::size_t>(size));
    return all;
  }
  UniqueFd reader;
  UniqueFd writer;
};

TEST(LogLine, reads_well_as_text) {
  EXPECT_EQ(
      format_log_line(Format::text, noon, Level::info, "tunnel.up", {{"account", "acme"}, {"rtt_ms", 1.2}, {"id", 7u}}),
      "2026-11-21T10:00:00.123Z info tunnel.up account=acme rtt_ms=1.2 id=7");
}

TEST(LogLine, quotes_what_could_be_misread) {
  EXPECT_TRUE(text_line({{"a", "x b=y"}}).ends_with(R"(a="x b=y")"));
  EXPECT_TRUE(text_line({{"a", ""}}).ends_with(R"(a="")"));
  EXPECT_TRUE(text_line({{"a", "say \"hi\""}}).ends_with(R"(a="say \"hi\"")"));
}

TEST(LogLine, shows_harmful_characters_as_hex) {
  EXPECT_TRUE(text_line({{"a", "x\r\n2026 info forged\x1b[2J"}}).ends_with(R"(a="x\x0d\x0a2026 info forged\x1b[2J")"));
  EXPECT_TRUE(text_line({{"a", "\u202egnp.exe"}}).ends_with(R"(a="\xe2\x80\xaegnp.exe")"));
  EXPECT_TRUE(text_line({{"a", "\xff\xc3"}}).ends_with(R"(a="\xff\xc3")"));
  EXPECT_TRUE(text_line({{"a", "\xed\xa0\x80"}}).ends_with(R"(a="\xed\xa0\x80")")) << "a surrogate is no character";
  EXPECT_TRUE(text_line({{"a", "Zürich"}}).ends_with("a=Zürich"));
}

TEST(LogLine, cuts_a_field_at_its_limit_and_says_so) {
  const std::string fits(log_field_bytes_max - 3, 'x');
  EXPECT_TRUE(text_line({{"a", fits}}).ends_with("a=" + fits));
  EXPECT_TRUE(text_line({{"a", fits + "x"}}).ends_with("a=" + fits + "..."));
  EXPECT_LT(text_line({{"a", std::string(1 << 20, '\n')}}).size(), 1200u);
}

TEST(LogLine, any_bytes_stay_one_printable_line) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    const std::string key = random_bytes(random, random() % 8);
    const std::string value = random_bytes(random, random() % 1500);
    for (const std::string& line : {text_line({{key, value}}), json_line({{key, value}})}) {
      ASSERT_TRUE(std::ranges::none_of(line, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }))
          << round;
    }
    boost::json::error_code error;
    boost::json::parse(json_line({{key, value}}), error);
    ASSERT_FALSE(error) << round << ": " << json_line({{key, value}});
  }
}

TEST(LogLine, json_gives_back_what_was_logged) {
  const std::string value = "a \"quoted\" \\ back\r\n\x1b \u202e \U000e0041 Zürich \U0001f600";
  const auto parsed =
      boost::json::parse(json_line({{"value", value}, {"count", -3}, {"good", true}, {"ms", 0.5}})).as_object();
  EXPECT_EQ(parsed.at("time").as_string(), "2026-11-21T10:00:00.123Z");
  EXPECT_EQ(parsed.at("level").as_string(), "info");
  EXPECT_EQ(parsed.at("event").as_string(), "test");
  EXPECT_EQ(std::string(parsed.at("value").as_string()), value);
  EXPECT_EQ(parsed.at("count").as_int64(), -3);
  EXPECT_TRUE(parsed.at("good").as_bool());
  EXPECT_EQ(parsed.at("ms").as_double(), 0.5);
}

TEST(LogLine, knows_its_levels_by_name) {
  EXPECT_EQ(parse_log_level("debug"), Level::debug);
  EXPECT_EQ(parse_log_level("warning"), std::nullopt);
}

TEST(LineLimit, admits_one_line_per_second_and_kind_and_counts_the_others) {
  LineLimit limit;
  const LineLimit::Time start{};
  EXPECT_EQ(limit.admit("a", start), 0u);
  for (int i = 0; i < 41; ++i) EXPECT_EQ(limit.admit("a", start + 999ms), std::nullopt);
  EXPECT_EQ(limit.admit("b", start + 999ms), 0u) << "another kind has its own second";
  EXPECT_EQ(limit.admit("a", start + 1s), 41u);
  EXPECT_EQ(limit.admit("a", start + 2s), 0u);
}

TEST(Log, writes_one_line_per_event_whatever_the_bytes) {
  Pipe pipe;
  {
    Log log({}, pipe.writer.get());
    std::mt19937 random(2);
    for (int i = 0; i < 40; ++i) log.info("test", {{"bytes", random_bytes(random, 900)}});
  }
  const std::string seen = pipe.read_all();
  EXPECT_EQ(std::ranges::count(seen, '\n'), 40);
}

TEST(Log, changes_level_and_format_while_it_runs) {
  Pipe pipe;
  {
    Log log({.level = Level::info, .format = Format::text}, pipe.writer.get());
    log.debug("unseen");
    log.set_level(Level::debug);
    log.set_format(Format::json);
    log.debug("seen");
  }
  const std::string seen = pipe.read_all();
  EXPECT_EQ(boost::json::parse(seen).as_object().at("event").as_string(), "seen");
}

TEST(Log, a_peer_cannot_fill_it) {
  Pipe pipe;
  {
    Log log({}, pipe.writer.get());
    for (int i = 0; i < 100'000; ++i) log.limited(Level::warn, "channel.refused", {{"source", "192.0.2.1"}});
  }
  const auto lines = std::ranges::count(pipe.read_all(), '\n');
  EXPECT_GE(lines, 1);
  EXPECT_LE(lines, 10) << "one, and one per second that the machine took";
}

TEST(Log, a_stalled_reader_delays_nobody_and_loses_the_oldest) {
  Pipe pipe;
  const std::string filler(900, 'x');
  const auto started = std::chrono::steady_clock::now();
  {
    Log log({}, pipe.writer.get());
    for (int i = 0; i < 20'000; ++i) log.info("test", {{"i", i}, {"filler", filler}});
    EXPECT_GT(log.dropped(), 10'000u);
  }
  EXPECT_LT(std::chrono::steady_clock::now() - started, 10s) << "the end of the program waits a second at most";
  EXPECT_NE(pipe.read_all().find("i=0 "), std::string::npos);
}

TEST(Log, reports_how_many_lines_were_lost_once_the_reader_is_back) {
  Pipe pipe;
  constexpr int lines = 6000;
  std::string seen;
  std::atomic<std::uint64_t> lines_seen = 0;
  std::thread reader;
  std::uint64_t dropped = 0;
  {
    Log log({}, pipe.writer.get());
    for (int i = 0; i < lines; ++i) log.info("test", {{"filler", std::string(900, 'x')}});
    dropped = log.dropped();
    reader = std::thread([&] {
      char block[65536];
      for (ssize_t size; (size = ::read(pipe.reader.get(), block, sizeof block)) > 0;) {
        seen.append(block, static_cast<std::size_t>(size));
        lines_seen += static_cast<std::uint64_t>(std::count(block, block + size, '\n'));
      }
    });
    const auto deadline = std::chrono::steady_clock::now() + 10s;
    while (lines_seen < lines - dropped && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
    log.info("after");
  }
  pipe.writer.close();
  reader.join();
  EXPECT_GT(dropped, 0u);
  EXPECT_NE(seen.find("warn log.dropped lines=" + std::to_string(dropped) + "\n"), std::string::npos);
  EXPECT_TRUE(seen.ends_with("info after\n"));
}

}  // namespace
}  // namespace culvert
