// SPDX-License-Identifier: Apache-2.0
#include "server/enrolment/key_signer.hpp"

#include <functional>

#include "common/base/utc_time.hpp"

namespace culvert::server {

namespace {
constexpr std::chrono::seconds signing_time_max{10};
}  // namespace

boost::asio::awaitable<Granted<SignedCertificate>> KeySigner::sign(std::vector<std::byte> request, std::string identity,
                                                                   std::chrono::seconds lifetime) {
  const std::function work = [authority = authority_, request = std::move(request), identity = std::move(identity),
                              lifetime] {
    const auto now = wall_clock_now();
    return authority.sign(request, identity, lifetime, now);
  };
  auto made = co_await thread_.run(work, std::chrono::steady_clock::now() + signing_time_max);
  const auto unavailable = [](std::string why) {
    return std::unexpected(protocol::Denied{protocol::Reason::enrolment_unavailable, true, std::move(why)});
  };
  if (!made) co_return unavailable("the server is too busy to sign certificates");
  if (*made) co_return std::move(**made);
  // The text names files, which are not the agent's concern.
  const Error& why = made->error();
  log_.error("enrolment.cannot_sign", {{"code", why.code}, {"text", why.text}});
  co_return unavailable("the server cannot sign certificates now; its log says why");
}

}  // namespace culvert::server
