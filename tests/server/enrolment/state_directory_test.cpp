// SPDX-License-Identifier: Apache-2.0
#include "server/enrolment/state_directory.hpp"

#include <algorithm>
#include <atomic>
#include <future>
#include <set>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <fmt/core.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/server/enrolment/opened_state.hpp"
#include "tests/testing/file_facts.hpp"
#include "tests/testing/temporary_directory.hpp"

namespace culvert::server {
namespace {

namespace asio = boost::asio;
using namespace std::chrono_literals;
using protocol::Denied;
using protocol::Reason;
using testing::claim_of;
using testing::identity_of;
using testing::note_of;
using testing::OpenedState;
using testing::record_of;
using Verdict = EnrolledAgents::Verdict;

constexpr std::chrono::system_clock::time_point start{1'700'000'000s};

class StateDirectoryTest : public ::testing::Test {
 protected:
  StateDirectoryOptions options() {
    StateDirectoryOptions options;
    options.now = [this] { return now_; };
    options.write = [this](const std::filesystem::path& file, std::string_view content, mode_t mode) {
      ++writes_;
      if (until_.valid()) until_.wait();
      return fails_ ? Result<void>(fail("file.not_written", "the disk is full")) : write_durably(file, content, mode);
    };
    return options;
  }
  OpenedState& state() {
    if (!state_) state_.emplace(path(), options());
    return *state_;
  }
  void reopen() { state_.reset(); }
  std::filesystem::path path() const { return directory_.path() / "state"; }
  std::filesystem::path file_of(std::string_view name) const {
    return path() / "agents" / (std::string(name) + ".json");
  }

  NewToken add(AgentRecord record) { return state().wait(state()->add(std::move(record))).value(); }
  Granted<AgentRecord> check(const TokenClaim& claim) { return state().wait(state()->check(claim)); }
  Granted<void> take(const TokenClaim& claim, std::string serial = "1a") {
    const auto record = check(claim);
    if (!record) return std::unexpected(record.error());
    return state().wait(state()->take(claim, *record, note_of(std::move(serial))));
  }
  static Reason reason_of(const auto& answer) { return answer ? Reason::none : answer.error().reason; }

  testing::TemporaryDirectory directory_;
  std::chrono::system_clock::time_point now_ = start;
  std::shared_future<void> until_;  ///< If set, a write waits for it.
  std::atomic<bool> fails_ = false;
  std::atomic<int> writes_ = 0;
  std::optional<OpenedState> state_;
};

// ---- Tokens

TEST_F(StateDirectoryTest, accepts_a_token_without_using_it_up_and_then_takes_it) {
  const NewToken token = add(record_of("edge-1", "acme", "berlin"));
  for (int i = 0; i < 2; ++i) {
    const auto record = check(claim_of(token, i));
    ASSERT_TRUE(record);
    EXPECT_EQ(key_of(*record), "acme/berlin/edge-1");
    EXPECT_EQ(record->certificate, std::nullopt);
  }
  EXPECT_TRUE(take(claim_of(token), "beef"));
  const auto agent = state()->show("edge-1").value();
  EXPECT_EQ(agent.record.certificate, note_of("beef"));
  EXPECT_EQ(agent.joined, start);
  EXPECT_EQ(agent.token->used_by, claim_of(token).key);
  EXPECT_EQ(agent.token->used_at, start);
}

TEST_F(StateDirectoryTest, answers_an_unknown_id_and_a_wrong_secret_alike) {
  const NewToken token = add(record_of("edge-1"));
  TokenClaim wrong_secret = claim_of(token);
  wrong_secret.secret.back() ^= std::byte{1};
  TokenClaim unknown_id = claim_of(token);
  unknown_id.id.back() = unknown_id.id.back() == 'a' ? 'b' : 'a';
  const TokenClaim guess{.id = "", .secret = {}, .key = {}};  // The digest that an unknown id is compared with.
  const auto answer = check(wrong_secret);
  EXPECT_EQ(reason_of(answer), Reason::token_refused);
  EXPECT_EQ(check(unknown_id), answer);
  EXPECT_EQ(check(guess), answer);
  EXPECT_FALSE(answer.error().retryable);
  EXPECT_FALSE(answer.error().text.contains("edge-1"));
  EXPECT_EQ(take(wrong_secret).error(), answer.error());
  EXPECT_EQ(reason_of(state().wait(state()->take(wrong_secret, record_of("edge-1"), note_of("1")))),
            Reason::token_refused);
}

TEST_F(StateDirectoryTest, shows_a_wrong_secret_nothing_of_the_token_or_the_agent) {
  const NewToken token = add(record_of("edge-1"));
  TokenClaim wrong = claim_of(token);
  wrong.secret.front() ^= std::byte{1};
  const auto answer = check(wrong);
  ASSERT_TRUE(take(claim_of(token)));
  EXPECT_EQ(check(wrong), answer);
  EXPECT_TRUE(state().wait(state()->set_enabled("edge-1", false)));
  EXPECT_EQ(check(wrong), answer);
  now_ += 2h;
  EXPECT_EQ(check(wrong), answer);
}

TEST_F(StateDirectoryTest, refuses_a_used_token_to_another_key_and_repeats_itself_to_the_same) {
  const NewToken token = add(record_of("edge-1"));
  ASSERT_TRUE(take(claim_of(token, 1), "01"));
  EXPECT_EQ(reason_of(check(claim_of(token, 2))), Reason::token_used);
  EXPECT_EQ(reason_of(take(claim_of(token, 2))), Reason::token_used);
  now_ += 10min;
  EXPECT_TRUE(take(claim_of(token, 1), "02"));
  EXPECT_EQ(state()->show("edge-1")->record.certificate, note_of("02"));
  EXPECT_EQ(state()->show("edge-1")->token->used_at, start);
  now_ = start + 1h;
  EXPECT_EQ(reason_of(take(claim_of(token, 1), "03")), Reason::token_expired);
  EXPECT_EQ(reason_of(check(claim_of(token, 2))), Reason::token_used);
}

TEST_F(StateDirectoryTest, ends_a_token_after_its_lifetime) {
  const NewToken token = add(record_of("edge-1"));
  EXPECT_EQ(token.not_after, start + 1h);
  now_ = start + 1h - 1s;
  EXPECT_TRUE(check(claim_of(token)));
  now_ = start + 1h;
  EXPECT_EQ(reason_of(check(claim_of(token))), Reason::token_expired);
  state()->set_join_token_lifetime(10min);
  EXPECT_EQ(state().wait(state()->new_token("edge-1"))->not_after, now_ + 10min);
}

TEST_F(StateDirectoryTest, judges_again_when_it_takes) {
  const NewToken token = add(record_of("edge-1"));
  const auto record = check(claim_of(token)).value();
  now_ = start + 1h;
  EXPECT_EQ(reason_of(state().wait(state()->take(claim_of(token), record, note_of("1")))), Reason::token_expired);
  now_ = start;
  ASSERT_TRUE(state().wait(state()->set_enabled("edge-1", false)));
  EXPECT_EQ(reason_of(state().wait(state()->take(claim_of(token), record, note_of("1")))), Reason::agent_disabled);
  ASSERT_TRUE(state().wait(state()->set_enabled("edge-1", true)));
  ASSERT_TRUE(state().wait(state()->new_token("edge-1")));
  EXPECT_EQ(reason_of(state().wait(state()->take(claim_of(token), record, note_of("1")))), Reason::token_refused);
}

TEST_F(StateDirectoryTest, does_not_take_a_token_for_another_agent) {
  const NewToken token = add(record_of("edge-1"));
  add(record_of("edge-2"));
  const auto other = state()->show("edge-2")->record;
  EXPECT_EQ(reason_of(state().wait(state()->take(claim_of(token), other, note_of("1")))), Reason::token_refused);
  EXPECT_TRUE(check(claim_of(token)));
}

TEST_F(StateDirectoryTest, lets_exactly_one_of_1000_keys_take_a_token) {
  const NewToken token = add(record_of("edge-1"));
  const auto record = check(claim_of(token)).value();
  std::vector<Granted<void>> answers;
  int winner = -1;
  for (int key = 0; key < 1000; ++key) {
    auto taking = state()->take(claim_of(token, key), record, note_of(std::to_string(key)));
    asio::co_spawn(state().context(), std::move(taking), [&, key](const std::exception_ptr& thrown, Granted<void> got) {
      EXPECT_FALSE(thrown);
      if (got) winner = key;
      answers.push_back(std::move(got));
    });
  }
  state().run_until([&] { return answers.size() == 1000; });
  EXPECT_EQ(std::ranges::count(answers, Reason::none, [](const auto& each) { return reason_of(each); }), 1);
  EXPECT_EQ(std::ranges::count(answers, Reason::token_used, [](const auto& each) { return reason_of(each); }), 999);
  reopen();
  EXPECT_EQ(state()->show("edge-1")->token->used_by, claim_of(token, winner).key);
  EXPECT_EQ(state()->show("edge-1")->record.certificate->serial, std::to_string(winner));
}

TEST_F(StateDirectoryTest, makes_a_new_token_that_replaces_the_older_one) {
  const NewToken older = add(record_of("edge-1"));
  ASSERT_TRUE(take(claim_of(older, 1)));
  const NewToken newer = state().wait(state()->new_token("edge-1")).value();
  EXPECT_EQ(reason_of(check(claim_of(older, 1))), Reason::token_refused);
  EXPECT_TRUE(take(claim_of(newer, 2), "02"));
  EXPECT_EQ(state()->show("edge-1")->record.certificate, note_of("02"));
  EXPECT_EQ(state().wait(state()->new_token("edge-2")).error().code, "enrolment.unknown");
}

TEST_F(StateDirectoryTest, makes_ids_and_secrets_that_differ) {
  std::set<std::string> ids;
  std::set<protocol::TokenSecret> secrets;
  for (int i = 0; i < 100; ++i) {
    const NewToken token = make_token();
    EXPECT_EQ(token.id.size(), 16u);
    EXPECT_EQ(token.id.find_first_not_of("abcdefghijklmnopqrstuvwxyz234567"), std::string::npos) << token.id;
    ids.insert(token.id);
    secrets.insert(token.secret);
  }
  EXPECT_EQ(ids.size(), 100u);
  EXPECT_EQ(secrets.size(), 100u);
}

// ---- Agents

TEST_F(StateDirectoryTest, knows_nobody_at_first) {
  EXPECT_TRUE(state()->list().empty());
  ASSERT_NE(state()->agents(), nullptr);
  EXPECT_EQ(state()->agents()->verdict(identity_of(record_of("edge-1"))), Verdict::unknown);
  EXPECT_EQ(reason_of(state().wait(state()->find(identity_of(record_of("edge-1"))))), Reason::not_enrolled);
  EXPECT_TRUE(state()->show("edge-1").error().text.contains("none yet"));
}

TEST_F(StateDirectoryTest, disables_an_agent_and_keeps_its_token) {
  const AgentRecord record = record_of("edge-1", "acme", "berlin");
  const NewToken token = add(record);
  int changes = 0;
  std::vector<Verdict> verdicts;
  state()->set_on_change([&] {
    ++changes;
    verdicts.push_back(state()->agents()->verdict(identity_of(record)));
  });
  ASSERT_TRUE(state().wait(state()->set_enabled("edge-1", false)));
  EXPECT_EQ(reason_of(check(claim_of(token))), Reason::agent_disabled);
  EXPECT_EQ(reason_of(state().wait(state()->find(identity_of(record)))), Reason::agent_disabled);
  reopen();
  EXPECT_EQ(state()->agents()->verdict(identity_of(record)), Verdict::disabled);
  state()->set_on_change([&] { verdicts.push_back(state()->agents()->verdict(identity_of(record))); });
  ASSERT_TRUE(state().wait(state()->set_enabled("edge-1", true)));
  EXPECT_TRUE(check(claim_of(token)));
  EXPECT_EQ(state().wait(state()->find(identity_of(record)))->name, "edge-1");
  EXPECT_EQ(changes, 1);
  EXPECT_EQ(verdicts, (std::vector{Verdict::disabled, Verdict::enrolled}));
  EXPECT_EQ(state().wait(state()->set_enabled("edge-2", true)).error().code, "enrolment.unknown");
}

TEST_F(StateDirectoryTest, forgets_a_removed_agent_and_its_token) {
  const AgentRecord record = record_of("edge-1");
  const NewToken token = add(record);
  bool called = false;
  state()->set_on_change([&] { called = true; });
  ASSERT_TRUE(state().wait(state()->remove("edge-1")));
  EXPECT_TRUE(called);
  EXPECT_EQ(state()->agents()->verdict(identity_of(record)), Verdict::unknown);
  EXPECT_EQ(reason_of(check(claim_of(token))), Reason::token_refused);
  EXPECT_EQ(reason_of(state().wait(state()->find(identity_of(record)))), Reason::not_enrolled);
  EXPECT_FALSE(std::filesystem::exists(file_of("edge-1")));
  EXPECT_EQ(state().wait(state()->remove("edge-1")).error().code, "enrolment.unknown");
  reopen();
  EXPECT_TRUE(state()->list().empty());
  add(record);
}

TEST_F(StateDirectoryTest, refuses_a_name_or_an_agent_that_exists) {
  AgentRecord first = record_of("edge-1");
  first.agent = "edge";
  add(first);
  const auto same_name = state().wait(state()->add(record_of("edge-1", "other")));
  EXPECT_EQ(same_name.error().code, "enrolment.exists");
  AgentRecord twin = record_of("edge");  // acme//edge too.
  EXPECT_EQ(state().wait(state()->add(twin)).error().code, "enrolment.exists");
  twin.location = "berlin";
  EXPECT_TRUE(state().wait(state()->add(twin)));
  EXPECT_EQ(state()->list().size(), 2u);
}

TEST_F(StateDirectoryTest, adds_one_of_two_that_are_added_at_once) {
  int added = 0;
  int ended = 0;
  for (int i = 0; i < 2; ++i) {
    asio::co_spawn(state().context(), state()->add(record_of("edge-1")),
                   [&](const std::exception_ptr&, const Result<NewToken>& token) {
                     added += token ? 1 : 0;
                     ++ended;
                   });
  }
  state().run_until([&] { return ended == 2; });
  EXPECT_EQ(added, 1);
}

TEST_F(StateDirectoryTest, refuses_names_that_are_no_names) {
  const std::string longest(63, 'x');
  for (const std::string& name : {std::string(), std::string("."), std::string(".."), std::string("a/b"),
                                  std::string("a b"), std::string("ä"), longest + "x"}) {
    EXPECT_EQ(state().wait(state()->add(record_of(name))).error().code, "enrolment.malformed") << name;
    EXPECT_EQ(state().wait(state()->add(record_of("edge", name))).error().code, "enrolment.malformed") << name;
    if (name.empty()) continue;
    EXPECT_EQ(state().wait(state()->add(record_of("edge", "acme", name))).error().code, "enrolment.malformed") << name;
    AgentRecord record = record_of("edge");
    record.agent = name;
    EXPECT_EQ(state().wait(state()->add(record)).error().code, "enrolment.malformed") << name;
  }
  EXPECT_TRUE(testing::names_in(path() / "agents").empty());
  add(record_of(longest, longest, longest));
  reopen();
  EXPECT_EQ(state()->list().size(), 1u);
}

TEST_F(StateDirectoryTest, notes_a_renewal) {
  const NewToken token = add(record_of("edge-1"));
  ASSERT_TRUE(take(claim_of(token), "01"));
  const auto record = state().wait(state()->find(identity_of(record_of("edge-1")))).value();
  state().wait(state()->note_renewal(record, note_of("02")));
  EXPECT_EQ(state()->show("edge-1")->record.certificate, note_of("02"));
  fails_ = true;
  state().wait(state()->note_renewal(record, note_of("03")));
  fails_ = false;
  EXPECT_EQ(state()->show("edge-1")->record.certificate, note_of("02"));
  ASSERT_TRUE(state().wait(state()->remove("edge-1")));
  state().wait(state()->note_renewal(record, note_of("04")));
  EXPECT_TRUE(state()->list().empty());
}

// ---- Files

TEST_F(StateDirectoryTest, finds_everything_when_it_is_opened_again) {
  AgentRecord record = record_of("edge-1", "acme", "berlin");
  record.lifetime = 12h;
  record.agent = "Edge_1.x";
  const NewToken token = add(record);
  ASSERT_TRUE(take(claim_of(token), "beef"));
  add(record_of("edge-2"));
  ASSERT_TRUE(state().wait(state()->set_enabled("edge-2", false)));
  const auto agents = state()->list();
  ASSERT_EQ(agents.size(), 2u);
  reopen();
  EXPECT_EQ(state()->list(), agents);
  EXPECT_EQ(state()->list().front().record.lifetime, 12h);
  EXPECT_EQ(reason_of(check(claim_of(token, 2))), Reason::token_used);
  EXPECT_TRUE(take(claim_of(token), "beef"));
}

TEST_F(StateDirectoryTest, keeps_files_private_and_secrets_out_of_them) {
  const NewToken token = add(record_of("edge-1"));
  const std::string content = testing::content_of(file_of("edge-1"));
  EXPECT_TRUE(content.contains(token.id));
  std::string hex;
  for (const std::byte byte : token.secret) hex += fmt::format("{:02x}", std::to_integer<unsigned>(byte));
  EXPECT_FALSE(content.contains(hex));
  EXPECT_EQ(testing::mode_of(file_of("edge-1")), 0600u);
  EXPECT_EQ(testing::mode_of(path()), 0700u);
  EXPECT_EQ(testing::mode_of(path() / "agents"), 0700u);
  EXPECT_EQ(testing::mode_of(path() / "lock"), 0600u);
}

TEST_F(StateDirectoryTest, belongs_to_one_process) {
  state();
  const auto second = StateFiles::open(path(), &write_durably);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, "enrolment.in_use");
  EXPECT_TRUE(second.error().text.contains(path().string()));
  EXPECT_TRUE(second.error().text.contains("one server process owns a state directory"));
  const auto opens_elsewhere = [this] {
    const pid_t child = ::fork();
    if (child == 0) {
      const auto files = StateFiles::open(path(), &write_durably);
      ::_exit(files ? 0 : files.error().code == "enrolment.in_use" ? 1 : 2);
    }
    int status = 0;
    ::waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  };
  EXPECT_EQ(opens_elsewhere(), 1);
  state_.reset();
  EXPECT_EQ(opens_elsewhere(), 0);
}

TEST_F(StateDirectoryTest, names_a_folder_that_it_cannot_use) {
  const auto missing = StateFiles::open(directory_.path() / "a" / "b", &write_durably);
  EXPECT_EQ(missing.error().code, "enrolment.unusable");
  EXPECT_TRUE(missing.error().text.contains((directory_.path() / "a" / "b").string()));
  const auto file = directory_.write("file", "");
  EXPECT_EQ(StateFiles::open(file, &write_durably).error().code, "enrolment.unusable");
  EXPECT_TRUE(StateFiles::open(directory_.path() / "slash/", &write_durably));
}

TEST_F(StateDirectoryTest, refuses_to_open_with_a_file_that_it_does_not_understand) {
  add(record_of("edge-1"));
  const std::string good = testing::content_of(file_of("edge-1"));
  state_.reset();
  const auto fault_of = [this](const std::string& name, const std::string& content) {
    const auto file = directory_.write("state/agents/" + name, content);
    const auto opened = StateFiles::open(path(), &write_durably).value().load();
    std::filesystem::remove(file);
    if (opened) throw std::runtime_error(name + " was accepted");
    EXPECT_EQ(opened.error().code, "enrolment.malformed");
    EXPECT_TRUE(opened.error().text.contains(file.string())) << opened.error().text;
    return opened.error().text;
  };
  EXPECT_TRUE(fault_of("edge-2.json", good).contains("same agent"));
  std::string same_token = good;
  same_token.replace(same_token.find("acme"), 4, "ecma");
  EXPECT_TRUE(fault_of("edge-2.json", same_token).contains("join token of"));
  fault_of("README", "");
  fault_of("edge-2.json~", good);
  fault_of("edge 2.json", good);
  fault_of("edge-2.json", std::string(70'000, ' '));
  fault_of("edge-1.json", good + good);
  for (std::size_t size = 0; size + 2 < good.size(); ++size) fault_of("edge-1.json", good.substr(0, size));
}

TEST_F(StateDirectoryTest, removes_what_a_crash_has_left_of_a_write) {
  add(record_of("edge-1"));
  state_.reset();
  const auto rest = directory_.write("state/agents/edge-1.json.new", "{\"acc");
  EXPECT_EQ(state()->list().size(), 1u);
  EXPECT_FALSE(std::filesystem::exists(rest));
}

// ---- Failures and slow disks

TEST_F(StateDirectoryTest, changes_nothing_that_it_cannot_write) {
  const NewToken token = add(record_of("edge-1"));
  const auto before = state()->list();
  state()->set_on_change([] { FAIL() << "nothing has changed"; });
  fails_ = true;
  const auto taken = take(claim_of(token));
  EXPECT_EQ(reason_of(taken), Reason::enrolment_unavailable);
  EXPECT_TRUE(taken.error().retryable);
  EXPECT_EQ(state().wait(state()->add(record_of("edge-2"))).error().code, "file.not_written");
  EXPECT_EQ(state().wait(state()->new_token("edge-1")).error().code, "file.not_written");
  EXPECT_EQ(state().wait(state()->set_enabled("edge-1", false)).error().code, "file.not_written");
  EXPECT_EQ(state()->list(), before);
  EXPECT_EQ(state()->agents()->verdict(identity_of(record_of("edge-2"))), Verdict::unknown);
  state()->set_on_change({});
  fails_ = false;
  EXPECT_TRUE(take(claim_of(token, 2)));
}

TEST_F(StateDirectoryTest, keeps_an_agent_whose_file_it_cannot_remove) {
  add(record_of("edge-1"));
  std::filesystem::remove(file_of("edge-1"));
  directory_.write("state/agents/edge-1.json/x", "");
  EXPECT_EQ(state().wait(state()->remove("edge-1")).error().code, "file.not_written");
  EXPECT_TRUE(state()->show("edge-1"));
  std::filesystem::remove_all(file_of("edge-1"));
  EXPECT_TRUE(state().wait(state()->remove("edge-1")));  // Already gone is no error: a failed removal is repeated.
}

TEST_F(StateDirectoryTest, does_not_hold_up_its_home_and_finishes_what_was_begun) {
  const NewToken token = add(record_of("edge-1"));
  const auto record = check(claim_of(token)).value();
  std::promise<void> disk;
  until_ = disk.get_future().share();
  writes_ = 0;
  asio::cancellation_signal signal;
  bool ended = false;
  asio::co_spawn(state().context(), state()->take(claim_of(token, 1), record, note_of("01")),
                 asio::bind_cancellation_slot(signal.slot(), [&](const std::exception_ptr& thrown, Granted<void>) {
                   EXPECT_TRUE(thrown);
                   ended = true;
                 }));
  std::optional<Granted<void>> second;
  asio::co_spawn(state().context(), state()->take(claim_of(token, 2), record, note_of("02")),
                 [&](const std::exception_ptr&, Granted<void> got) { second = std::move(got); });
  state().run_until([&] { return writes_ == 1; });
  EXPECT_TRUE(check(claim_of(token, 3)));  // Not written yet, so not known yet.
  asio::post(state().context(), [&] { signal.emit(asio::cancellation_type::terminal); });
  state().run_until([&] { return ended; });
  disk.set_value();
  state().run_until([&] { return second.has_value(); });
  EXPECT_EQ(reason_of(*second), Reason::token_used);
  EXPECT_EQ(state()->show("edge-1")->token->used_by, claim_of(token, 1).key);
}

TEST_F(StateDirectoryTest, does_not_begin_what_nobody_waits_for) {
  add(record_of("edge-1"));
  std::promise<void> disk;
  until_ = disk.get_future().share();
  writes_ = 0;
  asio::cancellation_signal signal;
  int ended = 0;
  asio::co_spawn(state().context(), state()->set_enabled("edge-1", false),
                 [&](const std::exception_ptr&, const Result<void>&) { ++ended; });
  asio::co_spawn(state().context(), state()->add(record_of("edge-2")),
                 asio::bind_cancellation_slot(signal.slot(),
                                              [&](const std::exception_ptr&, const Result<NewToken>&) { ++ended; }));
  state().run_until([&] { return writes_ == 1; });
  asio::post(state().context(), [&] { signal.emit(asio::cancellation_type::terminal); });
  state().run_until([&] { return ended == 1; });
  disk.set_value();
  state().run_until([&] { return ended == 2; });
  add(record_of("edge-3"));
  EXPECT_EQ(writes_, 2);
  EXPECT_EQ(state()->show("edge-2").error().code, "enrolment.unknown");
}

TEST_F(StateDirectoryTest, gives_up_waiting_for_a_slow_disk_and_counts_a_late_success) {
  StateDirectoryOptions quick = options();
  quick.write_max = 20ms;
  std::promise<void> disk;
  until_ = disk.get_future().share();
  state_.emplace(path(), std::move(quick));
  EXPECT_EQ(state().wait(state()->add(record_of("edge-1"))).error().code, "enrolment.not_written");
  EXPECT_EQ(state().wait(state()->add(record_of("edge-2"))).error().code, "enrolment.not_written");
  disk.set_value();
  state().run_until([&] { return state()->show("edge-1").has_value(); });
  EXPECT_FALSE(state()->show("edge-2"));
}

TEST_F(StateDirectoryTest, limits_how_many_changes_wait) {
  add(record_of("edge-1"));
  std::promise<void> disk;
  until_ = disk.get_future().share();
  std::size_t refused = 0;
  std::size_t ended = 0;
  constexpr std::size_t count = StateDirectory::changes_waiting_max + 2;
  for (std::size_t i = 0; i < count; ++i) {
    asio::co_spawn(state().context(), state()->remove("edge-1"),
                   [&](const std::exception_ptr&, const Result<void>& done) {
                     refused += !done && done.error().code == "enrolment.not_written" ? 1 : 0;
                     ++ended;
                   });
  }
  state().run_until([&] { return ended > 0; });
  EXPECT_GE(refused, 1u);
  disk.set_value();
  state().run_until([&] { return ended == count; });
  EXPECT_LE(refused, 2u);
}

}  // namespace
}  // namespace culvert::server
