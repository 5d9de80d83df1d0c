// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace culvert {

/// The page of one scrape, which collectors write their numbers to. Lives for one scrape, on the thread that scrapes.
///
/// Labels come from closed sets and configured names only, never from a peer (URL, host, address). If code breaks this
/// rule, memory stays bounded: beyond `series_max` series, numbers are added up in one series of their family, whose
/// label values are all "other" (threats E16).
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
  /// For time spent, in seconds; `name` ends in _seconds_total.
  void counter(std::string_view name, std::string_view help, Labels labels, std::chrono::duration<double> value);
  /// Like counter(). Times are in seconds and sizes in bytes, never in multiples of them.
  void gauge(std::string_view name, std::string_view help, Labels labels, double value);

  /// For times, in seconds; `name` ends in _seconds. `counts` has those up to each of the ascending `bounds`, then
  /// those above the last. The same name and labels again add to the series, and must have the same bounds.
  void histogram(std::string_view name, std::string_view help, Labels labels, std::span<const double> bounds,
                 std::span<const std::uint64_t> counts, std::chrono::duration<double> sum);

  /// The page in Prometheus' text format 0.0.4.
  std::string text() const;

 private:
  struct Families;
  std::unique_ptr<Families> families_;
};

/// All numbers of the program. Each part registers a collector; nothing is stored here between two scrapes. main makes
/// it; it outlives the parts' threads. Any thread.
class Metrics {
 public:
  using Collector = std::function<void(MetricsPage&)>;

  /// Also adds culvert_build_info and Prometheus' process_… metrics.
  Metrics();

  /// `collector` runs on any thread that scrapes: it may only read Counters and Gauges or what its part has published,
  /// and must not wait. What it refers to must outlive the last scrape.
  void add_collector(Collector collector);

  /// Calls every collector, in the order in which they were added.
  std::string scrape() const;

 private:
  mutable std::mutex mutex_;
  std::vector<Collector> collectors_;
};

}  // namespace culvert
