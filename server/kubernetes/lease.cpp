// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/lease.hpp"

#include <utility>

#include <fmt/core.h>

#include "common/net/deadline.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {

namespace asio = boost::asio;
namespace json = boost::json;

namespace {
constexpr std::chrono::seconds call_time_max{3};
}

Lease::Lease(ApiClient& client, Log& log, std::string name_space, std::string name, std::string identity)
    : client_(client),
      log_(log),
      collection_(fmt::format("/apis/coordination.k8s.io/v1/namespaces/{}/leases", name_space)),
      name_(std::move(name)),
      identity_(std::move(identity)) {}

bool Lease::is_ours() const {
  return held_ && Clock::now() - renewed_ < duration - renewal;
}

asio::awaitable<void> Lease::run() {
  while (!leaving_) {
    const bool was_ours = is_ours();
    const auto tried = co_await try_to_hold();
    if (is_ours() != was_ours) log_.info(was_ours ? "lease.lost" : "lease.held", {{"lease", name_}, {"as", identity_}});
    if (!tried)
      log_.limited(Log::Level::warn, "lease.failed",
                   {{"lease", name_}, {"code", tried.error().code}, {"text", tried.error().text}});
    co_await wait_for(held_ ? renewal : retry);
  }
}

json::object Lease::record(const json::object& metadata, std::string_view holder, std::int64_t transitions,
                           std::string_view acquired) const {
  const std::string now = kubernetes_time(true);
  return {{"apiVersion", "coordination.k8s.io/v1"},
          {"kind", "Lease"},
          {"metadata", metadata},
          {"spec",
           {{"holderIdentity", holder},
            {"leaseDurationSeconds", duration.count()},
            {"acquireTime", acquired.empty() ? std::string_view(now) : acquired},
            {"renewTime", now},
            {"leaseTransitions", transitions}}}};
}

/// Who does not answer in time must not cost us the Lease: the next try is made on another connection.
asio::awaitable<Result<ApiAnswer>> Lease::call(std::string_view method, std::string path,
                                               std::optional<json::value> body) {
  co_return co_await client_.call(method, path, std::move(body), "application/json", call_time_max);
}

asio::awaitable<void> Lease::release() {
  leaving_ = true;
  held_ = false;
  auto found = co_await call("GET", collection_ + "/" + name_);
  if (!found || !found->is_good() || !found->body.is_object()) co_return;
  const json::object& lease = found->body.get_object();
  const json::object& spec = object_at(lease, "spec");
  if (text_at(spec, "holderIdentity") != identity_) co_return;
  auto let_go = co_await call("PUT", collection_ + "/" + name_,
                              json::value(record(object_at(lease, "metadata"), "", number_at(spec, "leaseTransitions"),
                                                 text_at(spec, "acquireTime"))));
  if (let_go && let_go->is_good()) log_.info("lease.lost", {{"lease", name_}, {"as", identity_}});
}

asio::awaitable<Result<void>> Lease::try_to_hold() {
  const auto now = Clock::now();
  auto found = co_await call("GET", collection_ + "/" + name_);
  if (!found) co_return std::unexpected(found.error());
  if (found->status == 404) co_return co_await write("POST", {{"name", name_}}, 0, "");
  if (!found->is_good() || !found->body.is_object()) co_return fail("kubernetes.refused", found->complaint());
  const json::object& lease = found->body.get_object();
  const json::object& metadata = object_at(lease, "metadata");
  const json::object& spec = object_at(lease, "spec");
  const std::string version = text_at(metadata, "resourceVersion");
  if (version != seen_version_) {
    seen_version_ = version;
    seen_at_ = now;
  }
  const std::string holder = text_at(spec, "holderIdentity");
  const std::int64_t transitions = number_at(spec, "leaseTransitions");
  if (holder == identity_) co_return co_await write("PUT", metadata, transitions, text_at(spec, "acquireTime"));
  held_ = false;
  const std::chrono::seconds its_duration(number_at(spec, "leaseDurationSeconds"));
  if (!holder.empty() && now - seen_at_ < its_duration) co_return Result<void>();
  co_return co_await write("PUT", metadata, transitions + 1, "");
}

/// Of two who write at once one gets 409: the version in `metadata` is what it saw.
asio::awaitable<Result<void>> Lease::write(std::string_view method, const json::object& metadata,
                                           std::int64_t transitions, std::string_view acquired) {
  const auto began = Clock::now();
  const std::string path = method == "POST" ? collection_ : collection_ + "/" + name_;
  auto written = co_await call(method, path, json::value(record(metadata, identity_, transitions, acquired)));
  if (!written) co_return std::unexpected(written.error());
  held_ = written->is_good() && !leaving_;
  if (held_) renewed_ = began;
  if (written->is_good() || written->status == 409) co_return Result<void>();
  co_return fail("kubernetes.refused", written->complaint());
}

}  // namespace culvert::server
