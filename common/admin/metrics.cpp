// SPDX-License-Identifier: Apache-2.0
#include "common/admin/metrics.hpp"

#include <fstream>
#include <limits>
#include <map>
#include <sstream>
#include <unordered_map>

#include <dirent.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <sys/resource.h>
#include <unistd.h>

#include "protocol/check.hpp"

namespace culvert {

struct MetricsPage::Families {
  struct Family {
    prometheus::MetricFamily content;
    std::unordered_map<std::string, std::size_t> index_of_labels;
  };

  prometheus::ClientMetric& at(std::string_view name, std::string_view help, prometheus::MetricType type,
                               Labels labels) {
    auto found = by_name.find(name);
    if (found == by_name.end()) {
      found = by_name.emplace(std::string(name), Family{{std::string(name), std::string(help), type, {}}, {}}).first;
    }
    Family& family = found->second;
    check(family.content.type == type, "a metric has one type");
    std::string key = key_of(labels);
    const bool known = family.index_of_labels.contains(key);
    const bool full = !known && series >= series_max;
    if (full) {
      ++overflowed;
      key = "\xff";  // No label value can be this byte, so no real series has this key.
    }
    const auto [entry, is_new] = family.index_of_labels.try_emplace(std::move(key), family.content.metric.size());
    if (is_new) {
      family.content.metric.push_back(make_series(labels, full));
      ++series;
    }
    return family.content.metric[entry->second];
  }

  static std::string key_of(Labels labels) {
    std::string key;
    for (const auto& [label, value] : labels) key.append(label).append("\x1f").append(value).append("\x1e");
    return key;
  }

  static prometheus::ClientMetric make_series(Labels labels, bool overflow) {
    prometheus::ClientMetric metric;
    for (const auto& [label, value] : labels)
      metric.label.push_back({std::string(label), overflow ? "other" : std::string(value)});
    return metric;
  }

  std::map<std::string, Family, std::less<>> by_name;
  std::size_t series = 0;
  std::uint64_t overflowed = 0;
};

MetricsPage::MetricsPage() : families_(std::make_unique<Families>()) {}
MetricsPage::~MetricsPage() = default;

void MetricsPage::counter(std::string_view name, std::string_view help, Labels labels, std::uint64_t value) {
  families_->at(name, help, prometheus::MetricType::Counter, labels).counter.value += static_cast<double>(value);
}

void MetricsPage::counter(std::string_view name, std::string_view help, Labels labels,
                          std::chrono::duration<double> value) {
  families_->at(name, help, prometheus::MetricType::Counter, labels).counter.value += value.count();
}

void MetricsPage::gauge(std::string_view name, std::string_view help, Labels labels, double value) {
  families_->at(name, help, prometheus::MetricType::Gauge, labels).gauge.value += value;
}

void MetricsPage::histogram(std::string_view name, std::string_view help, Labels labels, std::span<const double> bounds,
                            std::span<const std::uint64_t> counts, std::chrono::duration<double> sum) {
  check(counts.size() == bounds.size() + 1, "a histogram has one bucket above its last bound");
  auto& histogram = families_->at(name, help, prometheus::MetricType::Histogram, labels).histogram;
  histogram.bucket.resize(counts.size());
  std::uint64_t up_to = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    up_to += counts[i];
    histogram.bucket[i].upper_bound = i < bounds.size() ? bounds[i] : std::numeric_limits<double>::infinity();
    histogram.bucket[i].cumulative_count += up_to;
  }
  histogram.sample_count += up_to;
  histogram.sample_sum += sum.count();
}

std::string MetricsPage::text() const {
  std::vector<prometheus::MetricFamily> all;
  all.reserve(families_->by_name.size() + 1);
  for (const auto& [name, family] : families_->by_name) all.push_back(family.content);
  prometheus::ClientMetric overflowed;
  overflowed.gauge.value = static_cast<double>(families_->overflowed);
  all.push_back({"culvert_metrics_overflowed",
                 "Numbers of this page that had to share a series labelled other.",
                 prometheus::MetricType::Gauge,
                 {overflowed}});
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, all);
  return std::move(out).str();
}

namespace {

double resident_memory_bytes() {
  std::ifstream statm("/proc/self/statm");
  double pages_virtual = 0;
  double pages_resident = 0;
  statm >> pages_virtual >> pages_resident;
  return pages_resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

double open_fds() {
  DIR* const directory = ::opendir("/proc/self/fd");
  if (directory == nullptr) return 0;
  double count = -3;  // The iterator's own descriptor, "." and "..".
  while (::readdir(directory) != nullptr) ++count;
  ::closedir(directory);
  return count;
}

/// Seconds since the epoch: the boot time plus field 22 of /proc/self/stat, which counts clock ticks since boot
/// (proc(5)).
double start_time_seconds() {
  std::ifstream stat("/proc/self/stat");
  std::string text;
  std::getline(stat, text);
  // The program's name, field 2, may contain blanks and parentheses, so fields are counted from the last parenthesis.
  std::istringstream fields(text.substr(text.rfind(')') + 1));
  std::string skipped;
  for (int field = 3; field < 22; ++field) fields >> skipped;
  double ticks = 0;
  fields >> ticks;

  std::ifstream boot("/proc/stat");
  std::string key;
  double boot_seconds = 0;
  while (boot >> key && key != "btime") std::getline(boot, skipped);
  boot >> boot_seconds;
  return boot_seconds + ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

std::chrono::duration<double> cpu_time() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return std::chrono::seconds(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
         std::chrono::microseconds(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/// Names and meanings follow Prometheus' convention for processes.
void collect_process(MetricsPage& page) {
  static const double started = start_time_seconds();
  page.gauge("culvert_build_info", "Always 1; the version is in the label.", {{"version", CULVERT_VERSION}}, 1);
  page.gauge("process_resident_memory_bytes", "Memory of the process that is in RAM.", {}, resident_memory_bytes());
  page.gauge("process_open_fds", "File descriptors that are open.", {}, open_fds());
  page.gauge("process_start_time_seconds", "When the process started, since the epoch.", {}, started);
  page.counter("process_cpu_seconds_total", "User and system time that the process has used.", {}, cpu_time());
}

}  // namespace

Metrics::Metrics() {
  add_collector(collect_process);
}

void Metrics::add_collector(Collector collector) {
  const std::lock_guard lock(mutex_);
  collectors_.push_back(std::move(collector));
}

std::string Metrics::scrape() const {
  MetricsPage page;
  const std::lock_guard lock(mutex_);
  for (const Collector& collect : collectors_) collect(page);
  return page.text();
}

}  // namespace culvert
