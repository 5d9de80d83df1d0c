// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/identity_keeper.hpp"

#include <algorithm>
#include <utility>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fmt/core.h>

#include "agent/identity/join_command.hpp"
#include "agent/identity/join_connection.hpp"
#include "common/admin/defect.hpp"
#include "common/base/chance.hpp"
#include "common/base/utc_time.hpp"
#include "common/tls/authority.hpp"
#include "common/tls/verify_peer.hpp"

namespace culvert::agent {
namespace {

namespace asio = boost::asio;

/// The wall clock may jump, so it is looked at again after so long.
constexpr std::chrono::seconds look_again{30};
constexpr std::chrono::seconds work_time_max{30};
constexpr std::chrono::seconds answer_time_max = protocol::enrolment_time_max + std::chrono::seconds(5);
constexpr std::chrono::seconds pause_first{1};
constexpr std::chrono::seconds pause_last{600};
/// Without a valid certificate nothing works, so it is tried more often.
constexpr std::chrono::seconds pause_last_when_invalid{20};

std::unexpected<Error> too_slow(const std::filesystem::path& directory) {
  return fail("identity.not_written", fmt::format("{}: the disk did not answer in time", directory.string()));
}

/// When the certificate was written, since signers date certificates back.
std::chrono::sys_seconds issued_at(const std::filesystem::path& file, const CertificateFacts& facts) {
  std::error_code failed;
  const auto written = std::filesystem::last_write_time(file, failed);
  if (failed) return facts.not_before;
  const auto time = std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::file_clock::to_sys(written));
  return std::clamp(time, facts.not_before, facts.not_after);
}

/// An identity whose certificate may have ended.
struct LastIdentity {
  Secret key;
  std::vector<std::byte> certificate;
  CertificateFacts facts;
  std::chrono::sys_seconds issued_at;
  TlsContext tls;  ///< For a join connection.
};

Result<LastIdentity> read_last(const CredentialFiles& files) {
  auto key = read_secret_file(files.private_key);
  if (!key) return std::unexpected(key.error());
  auto leaf = read_certificate(files.certificate);
  if (!leaf) return std::unexpected(leaf.error());
  auto facts = facts_of(*leaf);
  if (!facts) return std::unexpected(facts.error());
  auto tls = TlsContext::for_joining(files.ca);
  if (!tls) return std::unexpected(tls.error());
  const auto since = issued_at(files.certificate, *facts);
  return LastIdentity{std::move(*key), std::move(*leaf), std::move(*facts), since, std::move(*tls)};
}

}  // namespace

IdentityKeeper::IdentityKeeper(Worker& home, Log& log, Offload& offload, Server server,
                               const std::optional<TlsContext>& tls, Hooks hooks)
    : home_(home),
      log_(log),
      offload_(offload),
      server_(std::move(server)),
      hooks_(std::move(hooks)),
      tasks_(home.context().get_executor(), report_defect(log, "identity " + server_.name)) {
  if (tls) facts_ = tls->own_certificate();
}

void IdentityKeeper::start() {
  tasks_.spawn(run());
}

asio::awaitable<void> IdentityKeeper::run() {
  if (facts_) {
    const std::function when = [file = server_.credentials.certificate, facts = *facts_] {
      return issued_at(file, facts);
    };
    const auto found = co_await offload_.run(when, std::chrono::steady_clock::now() + work_time_max);
    issued_at_ = found.value_or(facts_->not_before);
  }
  for (;;) {
    co_await wait_until_due();
    const Result<void> done = co_await enrol();
    if (done) {
      failures_ = 0;
      last_error_.clear();
      continue;
    }
    const auto pause = pause_after_failure();
    note_failure(done.error(), pause);
    co_await wait_for(pause);
  }
}

/// The time is drawn once for each certificate.
asio::awaitable<void> IdentityKeeper::wait_until_due() {
  if (!facts_ || failures_ > 0) co_return;
  const auto due = renewal_due(issued_at_, facts_->not_after, chance());
  for (auto now = wall_clock_now(); now < due; now = wall_clock_now())
    co_await wait_for(std::min<std::chrono::seconds>(due - now, look_again));
}

asio::awaitable<Result<void>> IdentityKeeper::enrol() {
  if (!facts_) {
    // A certificate that has ended may be there, and is not in force.
    const std::function look = [directory = server_.identity] { return IdentityDirectory(directory).has_identity(); };
    const auto has_identity = co_await offload_.run(look, std::chrono::steady_clock::now() + work_time_max);
    if (!has_identity) co_return too_slow(server_.identity);
    if (!*has_identity) co_return co_await join();
    co_return co_await renew_late();
  }
  if (wall_clock_now() < facts_->not_after) {
    auto renewed = co_await renew();
    if (renewed || renewed.error().code != "identity.no_tunnel") co_return renewed;
  }
  co_return co_await renew_late();
}

std::string IdentityKeeper::identity_name() const {
  constexpr std::string_view uri = "URI:";
  return facts_ && facts_->names.starts_with(uri) ? facts_->names.substr(uri.size()) : "";
}

asio::awaitable<Result<KeyAndRequest>> IdentityKeeper::new_key(std::string identity) {
  const std::function make = [identity = std::move(identity)] { return make_key_and_request(KeyKind::p256, identity); };
  auto made = co_await offload_.run(make, std::chrono::steady_clock::now() + work_time_max);
  if (!made) co_return fail("tls.failed", "no key was made in time");
  co_return std::move(*made);
}

// ---- the three ways

asio::awaitable<Result<void>> IdentityKeeper::join() {
  if (server_.join_token_file.empty()) {
    co_return fail("identity.not_joined",
                   fmt::format("{}: there is no identity yet; run culvert-agent join, or name a join_token_file",
                               server_.identity.string()));
  }
  const std::function read = [file = server_.join_token_file] { return read_token_file(file); };
  auto token = co_await offload_.run(read, std::chrono::steady_clock::now() + work_time_max);
  if (!token) co_return too_slow(server_.join_token_file);
  if (!*token) co_return std::unexpected((*token).error());
  auto answered = co_await join_with_token(std::move(**token), server_, offload_, KeyKind::p256);
  if (!answered) co_return std::unexpected(answered.error());
  co_return co_await keep(std::move(answered->answer), std::move(answered->asked), std::move(answered->identity));
}

asio::awaitable<Result<void>> IdentityKeeper::renew() {
  const std::string identity = identity_name();
  auto asked = co_await new_key(identity);
  if (!asked) co_return std::unexpected(asked.error());
  auto answer = co_await ask_through_tunnel({asked->request, {}, {}});
  if (!answer) co_return fail("identity.no_tunnel", "no tunnel is up through which the certificate could be renewed");
  co_return co_await keep(std::move(*answer), std::move(*asked), identity);
}

asio::awaitable<std::optional<protocol::Enrolled>> IdentityKeeper::ask_through_tunnel(protocol::Renew request) {
  struct Waiting {
    asio::steady_timer timer;
    std::optional<protocol::Enrolled> answer;
  };
  const auto waiting = std::make_shared<Waiting>(asio::steady_timer(home_.context(), answer_time_max), std::nullopt);
  const bool asked = hooks_.ask_through_tunnel(request, [there = std::weak_ptr(waiting)](protocol::Enrolled answer) {
    const auto here = there.lock();
    if (!here) return;
    here->answer = std::move(answer);
    here->timer.cancel();
  });
  if (!asked) co_return std::nullopt;
  (void)co_await waiting->timer.async_wait(asio::as_tuple(asio::use_awaitable));
  if (!waiting->answer) co_await throw_if_stopped();
  co_return std::move(waiting->answer);
}

asio::awaitable<Result<void>> IdentityKeeper::renew_late() {
  const std::function read = [files = server_.credentials] { return read_last(files); };
  auto last = co_await offload_.run(read, std::chrono::steady_clock::now() + work_time_max);
  if (!last) co_return too_slow(server_.identity);
  if (!*last) co_return std::unexpected((*last).error());
  facts_ = (*last)->facts;  // For status and for the name; nothing uses it for a tunnel.
  issued_at_ = (*last)->issued_at;
  const std::string identity = identity_name();
  auto asked = co_await new_key(identity);
  if (!asked) co_return std::unexpected(asked.error());
  const JoinRequest request = [&](const ssl_st* ssl) -> Result<std::vector<std::byte>> {
    auto signature = sign_renewal(ssl, (*last)->key, asked->request);
    if (!signature) return std::unexpected(signature.error());
    return protocol::renew_frame({asked->request, (*last)->certificate, std::move(*signature)});
  };
  auto answer = co_await ask_on_join_connection(server_, offload_, (*last)->tls, request);
  if (!answer) co_return std::unexpected(answer.error());
  co_return co_await keep(std::move(*answer), std::move(*asked), identity);
}

// ---- the outcome

/// Written, loaded again from the disk, and only then in force.
asio::awaitable<Result<void>> IdentityKeeper::keep(protocol::Enrolled answer, KeyAndRequest asked,
                                                   std::string identity) {
  auto fresh = new_identity(answer, std::move(asked), identity, wall_clock_now());
  if (!fresh) co_return std::unexpected(fresh.error());
  const auto shared = std::make_shared<Identity>(std::move(*fresh));
  const std::function write = [shared, server = server_]() -> Result<TlsContext> {
    if (auto written = IdentityDirectory(server.identity).write(*shared); !written)
      return std::unexpected(written.error());
    return TlsContext::for_agent(server.credentials);
  };
  auto loaded = co_await offload_.run(write, std::chrono::steady_clock::now() + work_time_max);
  if (!loaded) co_return too_slow(server_.identity);
  if (!*loaded) co_return std::unexpected((*loaded).error());
  facts_ = (*loaded)->own_certificate();
  issued_at_ = wall_clock_now();
  log_.info("identity.renewed", {{"server", server_.name},
                                 {"names", facts_ ? facts_->names : ""},
                                 {"serial", facts_ ? facts_->serial : ""},
                                 {"not_after", to_text((*loaded)->not_after())}});
  hooks_.adopt(**loaded);
  co_return Result<void>();
}

std::chrono::seconds IdentityKeeper::pause_after_failure() {
  const auto now = wall_clock_now();
  const bool is_valid = facts_ && facts_->not_before <= now + not_before_leeway && now < facts_->not_after;
  const auto last = is_valid ? pause_last : pause_last_when_invalid;
  const auto longest = std::min(pause_first * (1 << std::min(failures_++, 10U)), last);
  const auto half = std::chrono::duration<double>(longest) / 2;
  return std::chrono::ceil<std::chrono::seconds>(half + half * chance());
}

void IdentityKeeper::note_failure(const Error& why, std::chrono::seconds pause) {
  last_error_ = fmt::format("{}: {}", why.code, why.text);
  const std::string not_after = facts_ ? to_text(facts_->not_after) : "none";
  const LogFields fields{{"server", server_.name},
                         {"code", why.code},
                         {"text", why.text},
                         {"not_after", not_after},
                         {"again_in_s", pause.count()}};
  if (!facts_ || renewal_overdue(issued_at_, facts_->not_after) <= wall_clock_now()) {
    log_.warn("identity.not_renewed", fields);  // Not limited: it would hide the other of two servers.
  } else {
    log_.info("identity.not_renewed", fields);
  }
}

}  // namespace culvert::agent
