// SPDX-License-Identifier: Apache-2.0
#include "agent/identity/join_command.hpp"

#include <cstdio>
#include <cstring>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <fmt/core.h>
#include <unistd.h>

#include "agent/identity/identity_directory.hpp"
#include "agent/identity/join_connection.hpp"
#include "agent/identity/new_identity.hpp"
#include "common/base/utc_time.hpp"
#include "common/config/durable_file.hpp"
#include "common/net/task_group.hpp"
#include "common/program/trial.hpp"
#include "common/tls/peer_identity.hpp"

namespace culvert::agent {
namespace {

namespace asio = boost::asio;
namespace fs = std::filesystem;

constexpr std::size_t token_bytes_max = 4'096;
constexpr std::chrono::seconds work_time_max{30};
const fs::path state_folder = "/var/lib/culvert-agent";

/// A key whose certificate was asked for before, or a new one, which is kept before it is asked for.
Result<KeyAndRequest> prepare_key(const fs::path& directory, KeyKind kind, const std::string& identity) {
  IdentityDirectory place(directory);
  if (auto read = place.pending(); read) {
    if (std::optional<Secret>& pending = *read; pending) {
      if (auto request = make_request(*pending, identity))
        return KeyAndRequest{std::move(*pending), std::move(*request)};
    }
  }
  auto made = make_key_and_request(kind, identity);
  if (!made) return made;
  if (auto kept = place.keep_pending(made->key); !kept) return std::unexpected(kept.error());
  return made;
}

asio::awaitable<Result<protocol::Enrolled>> ask_each_address(const JoinToken& token, Server& server, Offload& offload,
                                                             const std::vector<std::byte>& request) {
  Error last;
  for (const Endpoint& address : token.addresses) {
    server.address = address;
    server.server_name = token.server_name.empty() ? address.host : token.server_name;
    auto tls = TlsContext::for_joining(token.pin);
    if (!tls) co_return std::unexpected(tls.error());
    const JoinRequest frame = [&](const ssl_st*) -> Result<std::vector<std::byte>> {
      protocol::Join join{token.id, token.secret, "culvert-agent " CULVERT_VERSION, request};
      auto bytes = protocol::join_frame(join);
      ::explicit_bzero(join.secret.data(), join.secret.size());
      return bytes;
    };
    auto answer = co_await ask_on_join_connection(server, offload, std::move(*tls), frame);
    if (answer) co_return std::move(*answer);
    last = fail(answer.error().code, fmt::format("{}: {}", to_string(address), answer.error().text)).error();
  }
  co_return std::unexpected(last);
}

// ---- the command

/// Standard input; a person at a terminal is asked for it.
Result<JoinToken> read_token_from_input() {
  if (::isatty(STDIN_FILENO) != 0) std::fputs("Paste the join token, and press Enter:\n", stderr);
  std::vector<char> line(token_bytes_max);
  if (std::fgets(line.data(), static_cast<int>(line.size()), stdin) == nullptr)
    return fail("token.malformed", "standard input is empty; give the join token there, or name it by --token-file");
  line.resize(std::strlen(line.data()));
  const Secret token(std::move(line));
  return parse_join_token(token.reveal());
}

std::string option(const Trial::Values& values, const std::string& name, const std::string& usual = "") {
  const auto found = values.find(name);
  return found == values.end() ? usual : found->second.front();
}

/// The [[server]] of the drop-in.
std::string server_table(const JoinToken& token, const Endpoint& address, const fs::path& directory,
                         const Trial::Values& values) {
  std::string text = "[[server]]\n" + toml_line("address", to_string(address));
  if (!token.server_name.empty()) text += toml_line("server_name", token.server_name);
  text += toml_line("identity", fs::absolute(directory).string());
  for (const auto& [name, key] : {std::pair{"--proxy", "proxy"},
                                  {"--proxy-user", "proxy_user"},
                                  {"--proxy-password-file", "proxy_password_file"}}) {
    if (values.contains(name)) text += toml_line(key, option(values, name));
  }
  return text;
}

/// Runs one coroutine to its end on this thread.
template <typename T>
Result<T> run_alone(asio::io_context& context, asio::awaitable<Result<T>> work) {
  Result<T> outcome = fail("join.failed", "it was stopped");
  {
    TaskGroup tasks(context.get_executor(),
                    [&outcome](const std::exception_ptr&) { outcome = fail("join.failed", "an unexpected error"); });
    tasks.spawn([](asio::awaitable<Result<T>> inner, Result<T>& result) -> asio::awaitable<void> {
      result = co_await std::move(inner);
    }(std::move(work), outcome));
    context.run();
  }
  return outcome;
}

Result<std::string> place_of(const Trial::Values& values, const JoinToken& token) {
  std::string name = option(values, "--name", token.addresses.front().host);
  if (!is_identity_segment(name))
    return fail("join.bad_name", fmt::format("\"{}\" cannot be the name of a directory; give one with --name", name));
  return name;
}

/// Adds the server to the configuration, unless a file of that name is there already. Returns a text for the user.
Result<std::string> write_drop_in(const fs::path& config, const std::string& name, const std::string& table) {
  const fs::path file = fs::path(config).concat(".d") / (name + ".toml");
  std::error_code ignored;
  if (!fs::exists(config, ignored)) return fmt::format("add this to the agent's configuration:\n{}", table);
  if (fs::exists(file, ignored)) return fmt::format("{} is there already, and was left as it is", file.string());
  // The agent must be able to read it, whatever the umask of the one who joins is.
  if (fs::create_directory(file.parent_path(), ignored)) fs::permissions(file.parent_path(), fs::perms(0755), ignored);
  const std::string text = "# Made by culvert-agent join. The certificate renews itself.\n" + table;
  if (auto written = write_durably(file, text, 0644); !written) {
    return fail(written.error().code, fmt::format("{}; the agent has joined: add this to its configuration:\n{}",
                                                  written.error().text, table));
  }
  return fmt::format("{} has the server", file.string());
}

Result<std::string> join(const Trial::Values& values, const fs::path& config) {
  auto token =
      values.contains("--token-file") ? read_token_file(option(values, "--token-file")) : read_token_from_input();
  if (!token) return std::unexpected(token.error());
  const auto name = place_of(values, *token);
  if (!name) return name;
  const fs::path directory = option(values, "--directory", state_folder / *name);
  // Read as a file's table would be, so that there is one way to check it.
  const auto checked =
      load_config(ConfigSource::of_command_line(server_table(*token, token->addresses.front(), directory, values)));
  if (!checked) return std::unexpected(checked.error());
  const KeyKind kind = values.contains("--rsa") ? KeyKind::rsa3072 : KeyKind::p256;

  asio::io_context context(1);
  Offload offload;
  Server server = checked->servers.front();
  auto joined = run_alone(context, join_with_token(*token, server, offload, kind));
  ::explicit_bzero(token->secret.data(), token->secret.size());
  if (!joined) return std::unexpected(joined.error());
  const auto now = wall_clock_now();
  const auto identity = new_identity(joined->answer, std::move(joined->asked), joined->identity, now);
  if (!identity) return std::unexpected(identity.error());
  if (auto written = IdentityDirectory(directory).write(*identity); !written) return std::unexpected(written.error());
  auto said = write_drop_in(config, *name, server_table(*token, joined->address, directory, values));
  if (!said) return said;
  return fmt::format("joined as {}\n{}: key, certificate and authorities\n{}", joined->identity, directory.string(),
                     *said);
}

int run(const Trial::Values& values, const fs::path& config) {
  const auto said = join(values, config);
  if (!said) {
    std::fprintf(stderr, "culvert-agent: %s (%s)\n", said.error().text.c_str(), said.error().code.c_str());
    return static_cast<int>(said.error().code.starts_with("join.") || said.error().code.starts_with("dial.")
                                ? ExitStatus::try_again
                                : ExitStatus::configuration);
  }
  std::printf("%s\n", said->c_str());
  return 0;
}

}  // namespace

Result<JoinToken> read_token_file(const fs::path& file) {
  const auto secret = read_secret_file(file);
  if (!secret) return std::unexpected(secret.error());
  return parse_join_token(secret->reveal());
}

asio::awaitable<Result<Joined>> join_with_token(JoinToken token, Server server, Offload& offload, KeyKind kind) {
  const std::function prepare = [directory = server.identity, kind, identity = token.identity] {
    return prepare_key(directory, kind, identity);
  };
  auto asked = co_await offload.run(prepare, std::chrono::steady_clock::now() + work_time_max);
  if (!asked)
    co_return fail("identity.not_written",
                   fmt::format("{}: the disk did not answer in time", server.identity.string()));
  if (!*asked) co_return std::unexpected((*asked).error());
  auto answer = co_await ask_each_address(token, server, offload, (*asked)->request);
  ::explicit_bzero(token.secret.data(), token.secret.size());
  if (!answer) co_return std::unexpected(answer.error());
  co_return Joined{std::move(*answer), std::move(**asked), token.identity, server.address};
}

Program::Tool join_tool() {
  using enum Trial::Count;
  return {"join",
          "Get this agent's certificate with a join token, which is read from standard input",
          {{"--token-file", "FILE", "Read the token from this file, which only its owner may read", optional},
           {"--name", "NAME", "Of the directory and of the drop-in; default: the server's host", optional},
           {"--directory", "DIR", "Where key and certificate are kept; default /var/lib/culvert-agent/NAME", optional},
           {"--rsa", "", "Make an RSA key of 3,072 bits; default: an EC key (P-256)", optional},
           {"--proxy", "URL", "The HTTP proxy between the agent and the server", optional},
           {"--proxy-user", "NAME", "Its user", optional},
           {"--proxy-password-file", "FILE", "Its password", optional}},
          run};
}

}  // namespace culvert::agent
