// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <utility>

#include "server/config/config.hpp"
#include "server/kubernetes/on_premise_object.hpp"
#include "server/kubernetes/service_policy.hpp"

namespace culvert::server {

/// What is to be done about the cluster's OnPremiseServices.
class OnPremisePolicy : public ServicePolicy<OnPremiseObject> {
 public:
  /// `kubernetes` outlives it.
  OnPremisePolicy(const OnPremiseSettings& settings, const KubernetesSettings& kubernetes)
      : ServicePolicy({.ports = settings.ports,
                       .table = "[on_premise_services]",
                       .plan = [settings, &kubernetes](const Objects& objects) {
                         return plan_on_premise(objects, settings, kubernetes);
                       }}) {}
};

}  // namespace culvert::server
