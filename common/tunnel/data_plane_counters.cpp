// SPDX-License-Identifier: Apache-2.0
#include "common/tunnel/data_plane_counters.hpp"

#include <span>
#include <tuple>

#include <fmt/core.h>

namespace culvert {

namespace {

void each_above_zero(std::span<const Counter> counters, const std::function<void(std::size_t, std::uint64_t)>& use) {
  for (std::size_t i = 0; i < counters.size(); ++i) {
    if (counters[i].value() > 0) use(i, counters[i].value());
  }
}

}  // namespace

void ReasonCounters::each(const std::function<void(std::string_view reason, std::uint64_t count)>& use) const {
  use("other", counters_[0].value());
  for (std::size_t i = 1; i < counters_.size(); ++i) {
    if (const auto reason = protocol::reason_of(first + i)) use(protocol::to_string(*reason), counters_[i].value());
  }
}

void DataPlaneCounters::collect(MetricsPage& page) const {
  const auto gauge = [&page](std::string_view name, std::string_view help, const Gauge& value) {
    page.gauge(name, help, {}, static_cast<double>(value.value()));
  };
  const auto counter = [&page](std::string_view name, std::string_view help, MetricsPage::Label label,
                               std::uint64_t value) { page.counter(name, help, {label}, value); };
  gauge("culvert_tunnels", "Tunnels that exist, in any state.", tunnels);
  gauge("culvert_streams", "Open streams.", streams);
  gauge("culvert_relays", "Sockets joined with streams, and those being dialled.", relays);
  gauge("culvert_clients", "Connections of clients to ports that speak HTTP or SOCKS.", clients);
  gauge("culvert_stream_buffer_bytes", "Bytes that wait for slow sockets.", buffered_bytes);
  gauge("culvert_stream_window_bytes", "Bytes of windows granted to peers.", window_bytes);
  gauge("culvert_dials_in_flight", "Connections to targets that are being made.", dials);
  for (const auto& [direction, tunnel, stream] :
       {std::tuple{"in", &tunnel_bytes_in, &stream_bytes_in}, {"out", &tunnel_bytes_out, &stream_bytes_out}}) {
    counter("culvert_tunnel_bytes_total", "Bytes on tunnels, TLS included.", {"direction", direction}, tunnel->value());
    counter("culvert_stream_bytes_total", "Bytes of streams.", {"direction", direction}, stream->value());
  }
  for (const auto& [opener, count] : {std::pair{"self", &streams_opened}, {"peer", &streams_accepted}})
    counter("culvert_streams_total", "Streams since the start, by the side that opened them.", {"opener", opener},
            count->value());
  page.counter("culvert_streams_relieved_total",
               "Streams that were reset since memory was used up and they stood still.", {}, streams_relieved.value());
  streams_rejected.each([&](std::string_view reason, std::uint64_t count) {
    counter("culvert_streams_rejected_total", "Streams that were refused, by either side.", {"reason", reason}, count);
  });
  streams_reset.each([&](std::string_view reason, std::uint64_t count) {
    counter("culvert_streams_reset_total", "Streams that the peer reset.", {"reason", reason}, count);
  });
  // Shown once they are above 0: a program without proxies or HTTP mappings has none of these.
  each_above_zero(http_response_classes_, [&](std::size_t status, std::uint64_t count) {
    counter("culvert_http_responses_total", "Responses of back ends to HTTP requests.",
            {"status", fmt::format("{}xx", status)}, count);
  });
  each_above_zero(http_errors_, [&](std::size_t status, std::uint64_t count) {
    counter("culvert_http_errors_total", "HTTP requests that the proxy answered itself.",
            {"status", fmt::format("{}", status)}, count);
  });
  each_above_zero(socks5_replies, [&](std::size_t code, std::uint64_t count) {
    counter("culvert_socks5_replies_total", "Answers of the SOCKS5 proxy.", {"code", fmt::format("{}", code)}, count);
  });
}

}  // namespace culvert
