// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>

#include <boost/asio/awaitable.hpp>

#include "common/base/error.hpp"
#include "protocol/enrolment.hpp"
#include "server/enrolment/agent_store.hpp"
#include "server/enrolment/state_directory.hpp"

namespace culvert::server {

/// `culvert-server agents …`: manages the agents of a state directory. Lives at home.
class AgentsCommand {
 public:
  /// Makes the text of a join token: one line, without its newline.
  using TokenText =
      std::function<std::string(const AgentRecord& agent, std::string_view id, const protocol::TokenSecret& secret)>;
  /// Range of `--lifetime`.
  struct Lifetimes {
    std::chrono::seconds min = std::chrono::hours(1);
    std::chrono::seconds max = std::chrono::days(365);
  };

  AgentsCommand(StateDirectory& directory, TokenText token_text, Lifetimes lifetimes)
      : directory_(directory), token_text_(std::move(token_text)), lifetimes_(lifetimes) {}
  AgentsCommand(StateDirectory& directory, TokenText token_text)
      : AgentsCommand(directory, std::move(token_text), Lifetimes{}) {}

  /// One line for the help of the admin socket.
  static std::string_view help();

  /// Runs the part of the line behind "agents" and returns the text to print: of `add` and `token`, only the token.
  /// Codes: "admin.bad_argument", and those of StateDirectory.
  boost::asio::awaitable<Result<std::string>> run(std::string line);

 private:
  struct Request;
  Result<Request> parse(std::string_view line) const;
  Result<Request> accept(Request request) const;
  boost::asio::awaitable<Result<std::string>> add(Request request);
  boost::asio::awaitable<Result<std::string>> make_token(Request request);
  boost::asio::awaitable<Result<std::string>> set_enabled(Request request, bool enabled);
  boost::asio::awaitable<Result<std::string>> remove(Request request);
  std::string list(bool json) const;
  Result<std::string> show(const Request& request) const;
  Result<std::string> print(const Result<NewToken>& token, const Request& request) const;

  StateDirectory& directory_;
  TokenText token_text_;
  Lifetimes lifetimes_;
};

}  // namespace culvert::server
