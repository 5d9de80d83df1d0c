// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>

#include <boost/asio/awaitable.hpp>

#include "server/kubernetes/api_client.hpp"
#include "server/kubernetes/published_service.hpp"
#include "server/kubernetes/service_policy.hpp"

namespace culvert::server {

/// Writes the Services and EndpointSlices of objects, as a ServicePolicy says. At home.
class ServiceWriter {
 public:
  /// `client` outlives it.
  explicit ServiceWriter(ApiClient& client) : client_(client) {}

  /// `version` of discovery.k8s.io. Call it before the first carry_out().
  void use_version(std::string version) { version_ = std::move(version); }
  /// Errors: "kubernetes.name_taken", "kubernetes.refused", and those of ApiClient::call().
  boost::asio::awaitable<Result<void>> carry_out(ServiceWork work);

 private:
  boost::asio::awaitable<Result<void>> put(std::string collection, boost::json::object wanted, ServiceOwner owner);
  boost::asio::awaitable<Result<void>> withdraw(std::string collection, ServiceOwner owner);
  boost::asio::awaitable<Result<std::optional<boost::json::object>>> find(std::string path);
  boost::asio::awaitable<Result<void>> write(std::string collection, std::string name, ObjectWrite write);

  ApiClient& client_;
  std::string version_;
};

}  // namespace culvert::server
