// SPDX-License-Identifier: Apache-2.0
#include "common/upstream/target_check.hpp"

#include <algorithm>
#include <utility>

#include "common/admin/defect.hpp"

namespace culvert {

struct TargetCheck::Round {
  std::vector<StreamTarget> targets;
  std::vector<Outcome> outcomes;
  std::size_t next = 0;
  std::size_t left = 0;
  std::chrono::steady_clock::time_point deadline;
  Done done;
};

boost::json::array to_json(const std::vector<TargetCheck::Outcome>& outcomes) {
  boost::json::array all;
  for (const TargetCheck::Outcome& outcome : outcomes) {
    all.push_back({{"target", outcome.name},
                   {"internal", to_string(outcome.endpoint)},
                   {"answers", outcome.error.code.empty()},
                   {"code", outcome.error.code},
                   {"text", outcome.error.text}});
  }
  return all;
}

TargetCheck::TargetCheck(Worker& worker, Log& log)
    : dialer_(worker.context().get_executor()), lanes_(worker.context().get_executor(), report_defect(log, "check")) {}

void TargetCheck::start(std::vector<StreamTarget> targets, Done done) {
  if (lanes_.is_stopping()) return;
  auto round = std::make_shared<Round>();
  for (const StreamTarget& target : targets)
    round->outcomes.push_back(
        {target.name, target.endpoint, {"target.not_checked", "not checked: the time for all targets is used up"}});
  round->left = targets.size();
  round->targets = std::move(targets);
  round->deadline = std::chrono::steady_clock::now() + time_max;
  round->done = std::move(done);
  if (round->left == 0) return round->done({});
  for (std::size_t lane = 0; lane < std::min(dials_max, round->left); ++lane) lanes_.spawn(run(round));
}

boost::asio::awaitable<void> TargetCheck::run(std::shared_ptr<Round> round) {
  while (round->next < round->targets.size()) {
    const std::size_t index = round->next++;
    StreamTarget& target = round->targets[index];
    target.connect_time_max = std::min<std::chrono::milliseconds>(target.connect_time_max, dial_time_max);
    if (std::chrono::steady_clock::now() + target.connect_time_max <= round->deadline) {
      auto reached = co_await reach(dialer_, target);
      round->outcomes[index].error = reached ? Error{} : reached.error();
      if (reached) (void)reached->finish();
    }
    if (--round->left == 0) round->done(std::move(round->outcomes));
  }
}

}  // namespace culvert
