// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "server/gateway/destinations.hpp"
#include "server/gateway/gateway_context.hpp"
#include "server/proxy/upstream.hpp"

namespace culvert::server {

/// Where SDKs look destinations up: the name follows.
inline constexpr std::string_view look_up_path = "/destination-configuration/v1/destinations/";

/// The answer to a look-up of a destination, for clients that call it themselves: its properties, and what logs in
/// there. If a token cannot be had, the answer says why.
class LookUp final : public Upstream {
 public:
  /// `caller` is the token of the user for whom it is looked up; empty: none.
  LookUp(GatewayContext& gateway, Upstream::Client& client, std::shared_ptr<const Destination> destination,
         std::string caller);

  void start() override;
  void set_readable() override {}
  void take(std::size_t) override {}
  bool is_open() const override { return false; }
  void drop(protocol::Reason) override { is_over_ = true; }
  void on_tick(protocol::Time) override {}

 private:
  void answer(const Result<std::shared_ptr<const Grant>>& grant);

  GatewayContext& gateway_;
  Upstream::Client& client_;
  const std::shared_ptr<const Destination> destination_;
  const std::string caller_;
  bool is_over_ = false;
  std::shared_ptr<char> alive_ = std::make_shared<char>();  ///< Lets an answer of the keeper see whether this exists.
};

}  // namespace culvert::server
