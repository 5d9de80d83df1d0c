// SPDX-License-Identifier: Apache-2.0
#include "common/admin/control_socket.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <future>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/net/unique_fd.hpp"

namespace culvert {
namespace {

using namespace std::chrono_literals;
using Answer = ControlCommand::Answer;
using Done = std::function<void(Answer)>;

sockaddr_un address_of(const std::filesystem::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::ranges::copy(path.native(), address.sun_path);
  return address;
}

/// A temporary directory with a socket that has a few commands.
class ControlSocketTest : public testing::Test {
 protected:
  ControlSocketTest() {
    char name[] = "/tmp/culvert-control-XXXXXX";
    directory_ = ::mkdtemp(name);
    path_ = directory_ / "server.sock";
  }
  ~ControlSocketTest() override {
    socket_.reset();
    std::filesystem::remove_all(directory_);
  }

  Result<std::unique_ptr<ControlSocket>> open(ControlSocket::Limits limits = {}) {
    return ControlSocket::open(path_, commands_, log_, limits);
  }
  void serve(ControlSocket::Limits limits = {}) {
    auto opened = open(limits);
    ASSERT_TRUE(opened) << opened.error().text;
    socket_ = std::move(*opened);
  }
  UniqueFd connect() {
    UniqueFd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un address = address_of(path_);
    if (::connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) client.close();
    return client;
  }
  static std::string request(const UniqueFd& client, const std::string& words) {
    (void)!::send(client.get(), words.data(), words.size(), MSG_NOSIGNAL);
    std::string all;
    char block[4096];
    for (ssize_t size; (size = ::recv(client.get(), block, sizeof block, 0)) > 0;) {
      all.append(block, static_cast<std::size_t>(size));
    }
    return all;
  }
  Answer ask(std::string_view command) { return ask_control_socket(path_, command); }

  std::filesystem::path directory_;
  std::filesystem::path path_;
  std::vector<ControlCommand> commands_{
      {"echo", "echo [words]: prints them", [](std::string words, const Done& done) { done(words); }},
      {"fail", "fail: always",
       [](const std::string&, const Done& done) { done(fail("config.invalid", "line 1\nline 2")); }}};
  Log log_{{}, 2};
  std::unique_ptr<ControlSocket> socket_;
};

TEST_F(ControlSocketTest, answers_a_command_with_its_arguments) {
  serve();
  EXPECT_EQ(ask("echo  some words "), "some words\n");
  EXPECT_EQ(request(connect(), "echo x\n"), "ok\nx\n");
  EXPECT_EQ(request(connect(), "echo\r\n"), "ok\n");
}

TEST_F(ControlSocketTest, reports_why_a_command_failed) {
  serve();
  const Answer answer = ask("fail");
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code, "config.invalid");
  EXPECT_EQ(answer.error().text, "line 1\nline 2");
}

TEST_F(ControlSocketTest, names_the_commands_when_one_is_unknown) {
  serve();
  EXPECT_EQ(request(connect(), "stats\n"),
            "error admin.unknown_command unknown command \"stats\"; the commands are help, echo, fail\n");
  EXPECT_EQ(ask("help"), "help: this list\necho [words]: prints them\nfail: always\n");
}

TEST_F(ControlSocketTest, takes_an_answer_from_another_thread) {
  std::thread worker;
  commands_.push_back({"status", "status",
                       [&](const std::string&, const Done& done) { worker = std::thread([done] { done("fine"); }); }});
  serve();
  EXPECT_EQ(ask("status"), "fine\n");
  worker.join();
}

TEST_F(ControlSocketTest, does_not_wait_for_ever_for_a_command) {
  commands_.push_back({"hang", "hang", [](const std::string&, const Done&) {}});
  serve({.line = 10s, .answer = 20ms});
  EXPECT_EQ(ask("hang").error().code, "admin.timeout");
}

TEST_F(ControlSocketTest, ends_though_a_command_runs) {
  std::promise<void> asked;
  commands_.push_back({"hang", "hang", [&](const std::string&, const Done&) { asked.set_value(); }});
  serve({.line = 60s, .answer = 60s});
  const UniqueFd silent = connect();
  auto answer = std::async(std::launch::async, [&] { return ask("hang"); });
  ASSERT_EQ(asked.get_future().wait_for(10s), std::future_status::ready);
  socket_.reset();
  EXPECT_EQ(answer.get().error().code, "admin.no_answer");
}

TEST_F(ControlSocketTest, limits_the_line) {
  serve();
  const std::string words(ControlSocket::line_bytes_max - std::string_view("echo \n").size(), 'x');
  EXPECT_EQ(ask("echo " + words), words + "\n");
  EXPECT_EQ(ask("echo x" + words).error().code, "admin.line_too_long");
}

TEST_F(ControlSocketTest, gives_up_on_a_line_that_does_not_end) {
  serve({.line = 50ms, .answer = 10s});
  EXPECT_EQ(request(connect(), "ech"), "");
}

TEST_F(ControlSocketTest, belongs_to_its_owner_alone) {
  serve();
  struct stat file{};
  ASSERT_EQ(::lstat(path_.c_str(), &file), 0);
  EXPECT_TRUE(S_ISSOCK(file.st_mode));
  EXPECT_EQ(file.st_mode & 0777u, 0600u);
}

TEST_F(ControlSocketTest, obeys_no_other_user_even_if_the_file_lets_him_in) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root to become another user";
  serve();
  ::chmod(directory_.c_str(), 0755);
  ::chmod(path_.c_str(), 0666);
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const UniqueFd reader(ends[0]);
  UniqueFd writer(ends[1]);
  const pid_t child = ::fork();
  if (child == 0) {
    if (::setuid(65534) != 0) ::_exit(1);
    const std::string answer = request(connect(), "echo x\n");
    (void)!::write(writer.get(), answer.data(), answer.size());
    ::_exit(0);
  }
  writer.close();
  ::waitpid(child, nullptr, 0);
  std::string answer(4096, '\0');
  answer.resize(static_cast<std::size_t>(std::max<ssize_t>(0, ::read(reader.get(), answer.data(), answer.size()))));
  EXPECT_TRUE(answer.starts_with("error admin.forbidden ")) << answer;
}

TEST_F(ControlSocketTest, replaces_the_file_of_a_dead_program) {
  {
    const UniqueFd dead(::socket(AF_UNIX, SOCK_STREAM, 0));
    const sockaddr_un address = address_of(path_);
    ASSERT_EQ(::bind(dead.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    ASSERT_EQ(::listen(dead.get(), 1), 0);
  }
  serve();
  EXPECT_EQ(ask("echo x"), "x\n");
}

TEST_F(ControlSocketTest, leaves_a_living_program_alone) {
  serve();
  const auto second = open();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, "admin.in_use");
  EXPECT_EQ(ask("echo x"), "x\n");
}

TEST_F(ControlSocketTest, removes_no_file_that_is_no_socket) {
  std::ofstream(path_) << "precious";
  EXPECT_EQ(open().error().code, "admin.not_a_socket");
  EXPECT_EQ(std::filesystem::file_size(path_), 8u);
}

TEST_F(ControlSocketTest, refuses_a_path_that_the_system_cannot_hold) {
  path_ = directory_ / std::string(108, 'x');
  EXPECT_EQ(open().error().code, "admin.bad_path");
  path_ = directory_ / "missing" / "server.sock";
  EXPECT_EQ(open().error().code, "admin.refused");
}

TEST_F(ControlSocketTest, removes_its_file_at_the_end_and_the_client_says_so) {
  serve();
  socket_.reset();
  EXPECT_FALSE(std::filesystem::exists(path_));
  EXPECT_EQ(ask("echo x").error().code, "admin.not_running");
}

TEST_F(ControlSocketTest, closes_what_is_beyond_its_connections) {
  serve();
  std::vector<UniqueFd> held;
  for (std::size_t i = 0; i < ControlSocket::connections_max; ++i) held.push_back(connect());
  EXPECT_EQ(request(connect(), "echo x\n"), "");
}

TEST_F(ControlSocketTest, changes_the_log_level) {
  commands_.push_back(log_level_command(log_));
  serve();
  EXPECT_EQ(ask("log-level"), "info\n");
  EXPECT_EQ(ask("log-level warn"), "");
  EXPECT_EQ(log_.level(), Log::Level::warn);
  EXPECT_EQ(ask("log-level loud").error().code, "admin.bad_argument");
}

}  // namespace
}  // namespace culvert
