// SPDX-License-Identifier: Apache-2.0
#include "server/kubernetes/lease.hpp"

#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/core.h>

#include "common/net/deadline.hpp"
#include "server/kubernetes/object.hpp"

namespace culvert::server {

namespace asio = boost::asio;
namespace json = boost::json;

namespace {
/// Short, so that one silent connection does not cost us the Lease: the next attempt uses another one.
constexpr std::chrono::seconds call_time_max{3};
}  // namespace

Lease::Lease(const asio::any_io_executor& executor, ApiClient& client, Log& log, std::string name_space,
             std::string name, std::string identity)
    : client_(client),
      log_(log),
      collection_(fmt::format("/apis/coordination.k8s.io/v1/namespaces/{}/leases", name_space)),
      name_(std::move(name)),
      identity_(std::move(identity)),
      policy_(identity_),
      wait_(executor) {}

asio::awaitable<void> Lease::run() {
  LeasePolicy::Outcome outcome;
  for (;;) {
    const LeasePolicy::Step step = policy_.next(outcome, LeasePolicy::Clock::now());
    log_holder();
    if (std::holds_alternative<LeasePolicy::End>(step)) break;
    if (const auto* pause = std::get_if<LeasePolicy::Wait>(&step)) {
      co_await wait(pause->time);
      outcome = LeasePolicy::Begun{};
    } else {
      outcome = co_await carry_out(step);
    }
  }
  has_left_ = true;
}

void Lease::leave() {
  policy_.leave();
  wait_.cancel();
}

asio::awaitable<void> Lease::wait(std::chrono::steady_clock::duration time) {
  wait_.expires_after(time);
  (void)co_await wait_.async_wait(asio::as_tuple(asio::use_awaitable));
  co_await throw_if_stopped();
}

void Lease::log_holder() {
  if (const bool was_ours = std::exchange(was_ours_, is_ours()); was_ours != was_ours_)
    log_.info(was_ours ? "lease.lost" : "lease.held", {{"lease", name_}, {"as", identity_}});
}

LeasePolicy::Outcome Lease::failed(const Error& error) {
  log_.limited(Log::Level::warn, "lease.failed", {{"lease", name_}, {"code", error.code}, {"text", error.text}});
  return LeasePolicy::Failed{};
}

json::object Lease::record(json::object metadata, std::string_view holder, std::int64_t transitions,
                           std::string_view acquired) const {
  const std::string now = micro_time();
  return {{"apiVersion", "coordination.k8s.io/v1"},
          {"kind", "Lease"},
          {"metadata", std::move(metadata)},
          {"spec",
           {{"holderIdentity", holder},
            {"leaseDurationSeconds", LeasePolicy::duration.count()},
            {"acquireTime", acquired.empty() ? std::string_view(now) : acquired},
            {"renewTime", now},
            {"leaseTransitions", transitions}}}};
}

asio::awaitable<Result<ApiAnswer>> Lease::call(std::string_view method, std::string path,
                                               std::optional<json::value> body) {
  co_return co_await client_.call(method, path, std::move(body), "application/json", call_time_max);
}

asio::awaitable<LeasePolicy::Outcome> Lease::carry_out(LeasePolicy::Step step) {
  if (std::holds_alternative<LeasePolicy::Create>(step))
    co_return co_await write("POST", collection_, record({{"name", name_}}, identity_, 0, ""));
  if (const auto* update = std::get_if<LeasePolicy::Update>(&step)) {
    const std::string_view holder = update->releases ? std::string_view() : identity_;
    co_return co_await write("PUT", collection_ + "/" + name_,
                             record(metadata_, holder, update->transitions, update->acquired));
  }
  co_return co_await find();
}

asio::awaitable<LeasePolicy::Outcome> Lease::find() {
  auto answer = co_await call("GET", collection_ + "/" + name_);
  if (!answer) co_return failed(answer.error());
  if (answer->status == 404) co_return LeasePolicy::Missing{};
  const json::object* lease = answer->body.if_object();
  if (!answer->is_good() || lease == nullptr) co_return failed({"kubernetes.refused", answer->error_text()});
  metadata_ = object_at(*lease, "metadata");
  const json::object& spec = object_at(*lease, "spec");
  co_return LeasePolicy::Found{{.version = text_at(metadata_, "resourceVersion"),
                                .holder = text_at(spec, "holderIdentity"),
                                .duration = std::chrono::seconds(number_at(spec, "leaseDurationSeconds")),
                                .transitions = number_at(spec, "leaseTransitions"),
                                .acquired = text_at(spec, "acquireTime")}};
}

/// The metadata has the version that was read: of two replicas that write at once, one gets 409.
asio::awaitable<LeasePolicy::Outcome> Lease::write(std::string_view method, std::string path, json::object lease) {
  auto answer = co_await call(method, std::move(path), json::value(std::move(lease)));
  if (!answer) co_return failed(answer.error());
  if (answer->status == 409) co_return LeasePolicy::Conflict{};
  if (!answer->is_good()) co_return failed({"kubernetes.refused", answer->error_text()});
  co_return LeasePolicy::Written{};
}

}  // namespace culvert::server
