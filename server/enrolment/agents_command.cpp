// SPDX-License-Identifier: Apache-2.0
#include "server/enrolment/agents_command.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/core.h>

#include "common/base/utc_time.hpp"
#include "common/config/toml_table.hpp"

namespace culvert::server {

namespace asio = boost::asio;
namespace json = boost::json;

namespace {

constexpr std::string_view usage =
    "write agents add NAME --account ACCOUNT [--location LOCATION] [--agent AGENT] [--lifetime 30d], agents list, or "
    "agents token|show|disable|enable|remove NAME; each takes --json too";

std::unexpected<Error> bad_argument(std::string text) {
  return fail("admin.bad_argument", std::move(text));
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  for (;;) {
    const std::size_t begin = line.find_first_not_of(" \t");
    if (begin == line.npos) return words;
    line.remove_prefix(begin);
    const std::size_t end = std::min(line.find_first_of(" \t"), line.size());
    words.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
}

/// As a duration of the configuration files: "30d".
Result<std::chrono::seconds> parse_lifetime(std::string_view text, std::chrono::seconds min, std::chrono::seconds max) {
  constexpr std::string_view key = "--lifetime";
  TomlDocument document;
  TomlNode& node = document.root.members[std::string(key)];
  node.kind = TomlNode::Kind::text;
  node.text = text;
  const auto time = TomlTable(document, document.root, "").duration(key, min, max);
  if (!time) return bad_argument(document.faults.front().text);
  return std::chrono::duration_cast<std::chrono::seconds>(*time);
}

/// Prints with the largest unit that divides it.
std::string lifetime_text(std::chrono::seconds lifetime) {
  const std::int64_t seconds = lifetime.count();
  if (seconds % 86'400 == 0) return fmt::format("{}d", seconds / 86'400);
  if (seconds % 3'600 == 0) return fmt::format("{}h", seconds / 3'600);
  return seconds % 60 == 0 ? fmt::format("{}m", seconds / 60) : fmt::format("{}s", seconds);
}

/// What an agent needs next, in one word.
std::string_view state_of(const StoredAgent& agent, std::chrono::sys_seconds now) {
  if (!agent.record.enabled) return "disabled";
  const bool can_join = agent.token && !agent.token->used_by && now < agent.token->not_after;
  if (agent.record.certificate && now < agent.record.certificate->not_after) return "joined";
  if (can_join) return "waiting";
  return agent.record.certificate ? "expired" : "token-expired";
}

json::object object_of(const StoredAgent& agent, std::chrono::sys_seconds now) {
  const AgentRecord& record = agent.record;
  json::object object{{"name", record.name},
                      {"account", record.account},
                      {"location", record.location},
                      {"agent", record.agent},
                      {"state", state_of(agent, now)},
                      {"enabled", record.enabled},
                      {"created", utc_text(agent.created)}};
  if (record.lifetime) object["lifetime"] = lifetime_text(*record.lifetime);
  if (agent.joined) object["joined"] = utc_text(*agent.joined);
  if (record.certificate) {
    object["serial"] = record.certificate->serial;
    object["issued"] = utc_text(record.certificate->issued_at);
    object["expires"] = utc_text(record.certificate->not_after);
  }
  if (agent.token) {
    object["token_expires"] = utc_text(agent.token->not_after);
    object["token_used"] = agent.token->used_by.has_value();
  }
  return object;
}

std::string table_of(const std::vector<StoredAgent>& agents, std::chrono::sys_seconds now) {
  using Row = std::array<std::string, 7>;
  std::vector<Row> rows{{"NAME", "ACCOUNT", "LOCATION", "AGENT", "STATE", "JOINED", "EXPIRES"}};
  for (const StoredAgent& agent : agents) {
    const AgentRecord& record = agent.record;
    rows.push_back({record.name, record.account, record.location.empty() ? "-" : record.location, record.agent,
                    std::string(state_of(agent, now)), agent.joined ? utc_text(*agent.joined) : "-",
                    record.certificate ? utc_text(record.certificate->not_after) : "-"});
  }
  std::array<std::size_t, 7> widths{};
  for (const Row& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  std::string text;
  for (const Row& row : rows) {
    for (std::size_t i = 0; i + 1 < row.size(); ++i) text += fmt::format("{:<{}}  ", row[i], widths[i]);
    text += row.back() + "\n";
  }
  return text;
}

}  // namespace

struct AgentsCommand::Request {
  enum class Verb : std::uint8_t { add, token, list, show, disable, enable, remove };
  Verb verb = Verb::list;
  AgentRecord record;
  bool json = false;
};

std::string_view AgentsCommand::help() {
  return "agents add|list|show|disable|enable|remove|token [NAME] [--json]: manages the agents that may join";
}

Result<AgentsCommand::Request> AgentsCommand::parse(std::string_view line) const {
  using Verb = Request::Verb;
  constexpr std::array<std::pair<std::string_view, Verb>, 7> verbs{{{"add", Verb::add},
                                                                    {"token", Verb::token},
                                                                    {"list", Verb::list},
                                                                    {"show", Verb::show},
                                                                    {"disable", Verb::disable},
                                                                    {"enable", Verb::enable},
                                                                    {"remove", Verb::remove}}};
  const std::vector<std::string_view> words = words_of(line);
  const auto* const verb =
      std::ranges::find(verbs, words.empty() ? "" : words.front(), &decltype(verbs)::value_type::first);
  if (verb == verbs.end()) return bad_argument(std::string(usage));
  Request request{.verb = verb->second, .record = {}, .json = false};
  AgentRecord& record = request.record;
  const std::array<std::pair<std::string_view, std::string*>, 3> options{
      {{"--account", &record.account}, {"--location", &record.location}, {"--agent", &record.agent}}};
  for (std::size_t i = 1; i < words.size(); ++i) {
    const std::string_view word = words[i];
    const bool is_add = request.verb == Verb::add;
    const auto* const option = std::ranges::find(options, word, &decltype(options)::value_type::first);
    const bool takes_value = is_add && (option != options.end() || word == "--lifetime");
    if (takes_value && (i + 1 == words.size() || words[i + 1].starts_with('-')))
      return bad_argument(fmt::format("{} needs a value; {}", word, usage));
    if (word == "--json") {
      request.json = true;
    } else if (takes_value && option != options.end()) {
      if (!option->second->empty()) return bad_argument(fmt::format("{} is there twice; {}", word, usage));
      *option->second = words[++i];
    } else if (takes_value) {
      const auto lifetime = parse_lifetime(words[++i], lifetimes_.min, lifetimes_.max);
      if (!lifetime) return std::unexpected(lifetime.error());
      record.lifetime = *lifetime;
    } else if (!word.starts_with('-') && record.name.empty() && request.verb != Verb::list) {
      record.name = word;
    } else {
      return bad_argument(fmt::format("agents {} does not take \"{}\"; {}", verb->first, word, usage));
    }
  }
  return accept(std::move(request));
}

Result<AgentsCommand::Request> AgentsCommand::accept(Request request) const {
  const AgentRecord& record = request.record;
  if (request.verb != Request::Verb::list && record.name.empty())
    return bad_argument(fmt::format("the agent's name is missing; {}", usage));
  if (request.verb != Request::Verb::add) return request;
  if (record.account.empty()) return bad_argument(fmt::format("--account is missing; {}", usage));
  for (const std::string& name : {record.name, record.account, record.location, record.agent}) {
    if (!name.empty() && !is_agent_name(name))
      return bad_argument(
          fmt::format("\"{}\" is not a valid name: write 1 to {} letters, digits, \".\", \"_\" and \"-\"", name,
                      agent_name_bytes_max));
  }
  return request;
}

asio::awaitable<Result<std::string>> AgentsCommand::run(std::string line) {
  using Verb = Request::Verb;
  auto request = parse(line);
  if (!request) co_return std::unexpected(std::move(request.error()));
  switch (request->verb) {
    case Verb::add: co_return co_await add(std::move(*request));
    case Verb::token: co_return co_await make_token(std::move(*request));
    case Verb::list: co_return list(request->json);
    case Verb::show: co_return show(*request);
    case Verb::disable: co_return co_await set_enabled(std::move(*request), false);
    case Verb::enable: co_return co_await set_enabled(std::move(*request), true);
    case Verb::remove: co_return co_await remove(std::move(*request));
  }
  co_return bad_argument(std::string(usage));
}

asio::awaitable<Result<std::string>> AgentsCommand::add(Request request) {
  const auto token = co_await directory_.add(request.record);
  co_return print(token, request);
}

asio::awaitable<Result<std::string>> AgentsCommand::make_token(Request request) {
  const auto token = co_await directory_.new_token(request.record.name);
  co_return print(token, request);
}

Result<std::string> AgentsCommand::print(const Result<NewToken>& token, const Request& request) const {
  if (!token) return std::unexpected(token.error());
  // As it was stored: with the default for what was not given.
  const auto agent = directory_.show(request.record.name);
  if (!agent) return std::unexpected(agent.error());
  const std::string text = token_text_(agent->record, token->id, token->secret);
  if (!request.json) return text + "\n";
  const json::object object{{"name", agent->record.name}, {"token", text}, {"expires", utc_text(token->not_after)}};
  return json::serialize(object) + "\n";
}

asio::awaitable<Result<std::string>> AgentsCommand::set_enabled(Request request, bool enabled) {
  const std::string& name = request.record.name;
  const auto done = co_await directory_.set_enabled(name, enabled);
  if (!done) co_return std::unexpected(done.error());
  if (request.json) co_return json::serialize(json::object{{"name", name}, {"enabled", enabled}}) + "\n";
  co_return enabled ? fmt::format("agent \"{}\" is enabled: it may connect and join\n", name)
                    : fmt::format("agent \"{}\" is disabled: its tunnels end, and new ones are refused\n", name);
}

asio::awaitable<Result<std::string>> AgentsCommand::remove(Request request) {
  const std::string& name = request.record.name;
  const auto done = co_await directory_.remove(name);
  if (!done) co_return std::unexpected(done.error());
  if (request.json) co_return json::serialize(json::object{{"name", name}, {"removed", true}}) + "\n";
  co_return fmt::format("agent \"{}\" is removed: the server does not know it any more\n", name);
}

std::string AgentsCommand::list(bool json) const {
  const auto agents = directory_.list();
  if (!json) return table_of(agents, directory_.now());
  json::array all;
  for (const StoredAgent& agent : agents) all.push_back(object_of(agent, directory_.now()));
  return json::serialize(all) + "\n";
}

Result<std::string> AgentsCommand::show(const Request& request) const {
  const auto agent = directory_.show(request.record.name);
  if (!agent) return std::unexpected(agent.error());
  const json::object object = object_of(*agent, directory_.now());
  if (request.json) return json::serialize(object) + "\n";
  std::string text;
  for (const auto& [key, value] : object) {
    const std::string shown = value.is_string() ? std::string(value.get_string()) : json::serialize(value);
    text += fmt::format("{:<15}{}\n", std::string_view(key), shown.empty() ? "-" : shown);
  }
  return text;
}

}  // namespace culvert::server
