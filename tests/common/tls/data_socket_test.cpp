// SPDX-License-Identifier: Apache-2.0
#include "common/tls/data_socket.hpp"

#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <sys/socket.h>

namespace culvert {
namespace {

using Bytes = std::span<const std::byte>;

/// A relay's socket, and the one that it is connected with.
class RelaySocketTest : public ::testing::Test {
 protected:
  RelaySocketTest() {
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) != 0)
      throw std::runtime_error("socketpair");
    ours_ = DataSocket(UniqueFd(pair[0]));
    peer_ = UniqueFd(pair[1]);
  }

  /// All that has come so far.
  std::string received() {
    std::string all;
    char buffer[65'536];
    for (ssize_t size; (size = ::recv(peer_.get(), buffer, sizeof buffer, 0)) > 0;)
      all.append(buffer, static_cast<std::size_t>(size));
    return all;
  }

  DataSocket ours_;
  UniqueFd peer_;
};

Bytes bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

TEST_F(RelaySocketTest, pieces_arrive_in_order_as_if_they_were_one) {
  const std::vector<Bytes> pieces{bytes_of("first "), bytes_of("second "), bytes_of("third")};
  const auto outcome = ours_.write(pieces);
  EXPECT_EQ(outcome.bytes, 18U);
  EXPECT_EQ(outcome.state, DataSocket::State::ready);
  EXPECT_EQ(received(), "first second third");
}

TEST_F(RelaySocketTest, more_pieces_than_one_call_takes_arrive_too) {
  const std::string letters = "abcdefghijklmnopqrstuvwxyz";
  std::vector<Bytes> pieces;
  for (std::size_t i = 0; i < letters.size(); ++i) pieces.push_back(bytes_of(std::string_view(letters).substr(i, 1)));
  EXPECT_EQ(ours_.write(pieces).bytes, letters.size());
  EXPECT_EQ(received(), letters);
}

TEST_F(RelaySocketTest, what_the_kernel_refuses_of_many_pieces_is_told_to_the_byte) {
  std::vector<std::string> texts;
  for (char letter = 'a'; letter <= 'h'; ++letter) texts.emplace_back(100'000, letter);
  std::string whole;
  std::vector<Bytes> pieces;
  for (const std::string& text : texts) {
    whole += text;
    pieces.push_back(bytes_of(text));
  }
  const auto outcome = ours_.write(pieces);
  EXPECT_EQ(outcome.state, DataSocket::State::blocked);
  ASSERT_GT(outcome.bytes, 0U);
  ASSERT_LT(outcome.bytes, whole.size());
  EXPECT_EQ(received(), whole.substr(0, outcome.bytes));
}

TEST_F(RelaySocketTest, pieces_for_a_peer_that_is_gone_fail) {
  peer_.close();
  const std::vector<Bytes> pieces{bytes_of("first"), bytes_of("second")};
  const auto outcome = ours_.write(pieces);
  EXPECT_EQ(outcome.bytes, 0U);
  EXPECT_EQ(outcome.state, DataSocket::State::failed);
}

}  // namespace
}  // namespace culvert
