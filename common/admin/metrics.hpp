// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace culvert {

/// What one scrape shows: collectors write their numbers on it. Lives for one scrape, on the thread that scrapes.
///
/// Labels come from closed sets and configured names only, never from what a peer says (URL, host, address). Should
/// that rule be broken once, memory is safe all the same: beyond `series_max` series, numbers are added up in one
/// series of their family, whose label values are all "other" (threats E16).
class MetricsPage {
 public:
  using Label = std::pair<std::string_view, std::string_view>;
  using Labels = std::initializer_list<Label>;
  static constexpr std::size_t series_max = 10'000;

  MetricsPage();
  MetricsPage(const MetricsPage&) = delete;
  MetricsPage& operator=(const MetricsPage&) = delete;
  ~MetricsPage();

  /// `name` ends in _total. The same name and labels again add to the series, so each worker can report its own share.
  void counter(std::string_view name, std::string_view help, Labels labels, std::uint64_t value);
  /// For time that was spent: shown in seconds; `name` ends in _seconds_total.
  void counter(std::string_view name, std::string_view help, Labels labels, std::chrono::duration<double> value);
  /// As counter; seconds, where the name has a unit of time, and bytes, never multiples of them.
  void gauge(std::string_view name, std::string_view help, Labels labels, double value);

  /// The page in Prometheus' text format 0.0.4.
  std::string text() const;

 private:
  struct Families;
  std::unique_ptr<Families> families_;
};

/// All numbers of the program. Parts register a collector each; nothing is stored here between two scrapes.
/// Made by main, outlives the parts' threads; any thread.
class Metrics {
 public:
  using Collector = std::function<void(MetricsPage&)>;

  /// Also starts culvert_build_info, and what Prometheus expects of every process (process_…).
  Metrics();

  /// `collector` runs on whatever thread scrapes, so it reads Counters and Gauges, or what its part has published, and
  /// never waits. What it refers to must live as long as scrapes can come.
  void add_collector(Collector collector);

  /// Asks every collector, in the order they were added.
  std::string scrape() const;

 private:
  mutable std::mutex mutex_;
  std::vector<Collector> collectors_;
};

}  // namespace culvert
