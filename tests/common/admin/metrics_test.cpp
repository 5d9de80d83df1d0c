// SPDX-License-Identifier: Apache-2.0
#include "common/admin/metrics.hpp"

#include <algorithm>
#include <regex>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "common/base/counter.hpp"

namespace culvert {
namespace {

/// The value of one series as it is on the page, or nothing.
std::string value_of(const std::string& page, const std::string& series) {
  std::istringstream lines(page);
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(series + " ")) return line.substr(series.size() + 1);
  }
  return "";
}

TEST(Metrics, every_line_of_a_page_parses) {
  Metrics metrics;
  metrics.add_collector([](MetricsPage& page) {
    page.counter("culvert_tunnel_bytes_total", "Bytes.", {{"direction", "in"}, {"tunnel", "a \"b\"\\\nc"}}, 7);
    page.gauge("culvert_streams", "Open streams.", {}, -1.5);
  });
  const std::regex comment(R"(# (HELP|TYPE) [a-z_]+ .*)");
  const std::regex sample(R"re([a-z_]+(\{([a-z_]+="([^"\\]|\\["\\n])*",?)+\})? -?[0-9.e+]+)re");
  std::istringstream lines(metrics.scrape());
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    EXPECT_TRUE(std::regex_match(line, comment) || std::regex_match(line, sample)) << line;
  }
  EXPECT_GT(count, 20);
}

TEST(Metrics, shows_what_each_collector_reports_at_the_moment) {
  Counter bytes;
  Gauge streams;
  Metrics metrics;
  metrics.add_collector([&](MetricsPage& page) {
    page.counter("culvert_tunnel_bytes_total", "Bytes.", {{"direction", "in"}}, bytes.value());
    page.gauge("culvert_streams", "Streams.", {}, static_cast<double>(streams.value()));
  });
  bytes.add(5);
  bytes.add();
  streams.add(3);
  streams.sub();
  const std::string page = metrics.scrape();
  EXPECT_EQ(value_of(page, R"(culvert_tunnel_bytes_total{direction="in"})"), "6");
  EXPECT_EQ(value_of(page, "culvert_streams"), "2");
  streams.sub(2);
  EXPECT_EQ(value_of(metrics.scrape(), "culvert_streams"), "0");
}

TEST(Metrics, adds_up_what_several_workers_report_for_one_series) {
  MetricsPage page;
  page.counter("streams_total", "Streams.", {{"side", "agent"}}, 2);
  page.counter("streams_total", "Streams.", {{"side", "agent"}}, 3);
  EXPECT_EQ(value_of(page.text(), R"(streams_total{side="agent"})"), "5");
}

TEST(Metrics, reports_about_the_process) {
  const std::string page = Metrics().scrape();
  EXPECT_EQ(value_of(page, R"(culvert_build_info{version=")" CULVERT_VERSION R"("})"), "1");
  EXPECT_GT(std::stod(value_of(page, "process_resident_memory_bytes")), 1e6);
  EXPECT_GE(std::stod(value_of(page, "process_open_fds")), 3);
  const double now = static_cast<double>(::time(nullptr));
  EXPECT_NEAR(std::stod(value_of(page, "process_start_time_seconds")), now, 3600);
  EXPECT_NE(value_of(page, "process_cpu_seconds_total"), "");
}

TEST(Metrics, a_million_label_values_become_one_series_called_other) {
  MetricsPage page;
  for (std::size_t i = 0; i < 1'000'000; ++i) page.counter("hosts_total", "Hosts.", {{"host", std::to_string(i)}}, 1);
  const std::string text = page.text();
  EXPECT_EQ(std::ranges::count(text, '{'), static_cast<std::ptrdiff_t>(MetricsPage::series_max + 1));
  EXPECT_EQ(value_of(text, R"(hosts_total{host="9999"})"), "1") << "what fits is shown by itself";
  EXPECT_EQ(std::stod(value_of(text, R"(hosts_total{host="other"})")), 990'000);
  EXPECT_EQ(std::stod(value_of(text, "culvert_metrics_overflowed")), 990'000);
}

}  // namespace
}  // namespace culvert
