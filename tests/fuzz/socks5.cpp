// SPDX-License-Identifier: Apache-2.0
#include "server/proxy/socks5.hpp"

#include <algorithm>
#include <string>

#include "protocol/check.hpp"
#include "tests/fuzz/targets.hpp"

namespace culvert::fuzz {
namespace {

using server::Socks5;
using Step = Socks5::Step;

struct Outcome {
  std::string said;
  std::string asked;
  std::string_view why;
  Endpoint target;
  std::size_t taken = 0;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

Outcome negotiate(std::uint8_t how, std::span<const std::byte> input, std::size_t slice) {
  Socks5 talk({.none = (how & 1) != 0, .password = (how & 2) != 0, .token = (how & 4) != 0});
  Outcome outcome;
  while (talk.wanted() > 0 && outcome.taken < input.size()) {
    check(talk.wanted() <= Socks5::token_bytes_max + 1, "what is waited for is bounded");
    const std::size_t size = std::min({slice, talk.wanted(), input.size() - outcome.taken});
    Step step = talk.feed(input.subspan(outcome.taken, size));
    outcome.taken += size;
    check((step == Step::need_more) == (talk.wanted() > 0), "either more is wanted, or somebody else's turn has come");
    if (step == Step::check_password || step == Step::check_token) {
      check(!talk.secret().empty(), "nobody is asked about nothing");
      outcome.asked =
          std::string(talk.user()) + '\0' + std::string(talk.secret()) + '\0' + std::string(talk.location());
      step = talk.verdict((how & 8) == 0);
    }
    outcome.why = talk.why();
    check((step == Step::refused) == !outcome.why.empty(), "a refusal has a reason");
    if (step == Step::connect) {
      outcome.target = talk.target();
      check(outcome.target.port != 0 && parse_host(outcome.target.host) == outcome.target.host, "a canonical target");
      talk.reply(server::Socks5Reply::refused);
    }
    outcome.said += talk.next_output();
  }
  check(outcome.said.size() <= 2 + 2 + 10, "few words");
  return outcome;
}

}  // namespace

void socks5(std::span<const std::byte> input) {
  if (input.size() < 2) return;
  const auto how = static_cast<std::uint8_t>(input[0]);
  const auto slice = 1 + static_cast<std::size_t>(input[1]);
  input = input.subspan(2);
  check(negotiate(how, input, slice) == negotiate(how, input, input.size() + 1),
        "the outcome does not depend on slices");
}

}  // namespace culvert::fuzz
