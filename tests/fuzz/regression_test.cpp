// SPDX-License-Identifier: Apache-2.0
// The corpora without libFuzzer: every file through its target, and what each costs in memory (threats A17).
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <new>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <malloc.h>

#include "protocol/limits.hpp"
#include "tests/fuzz/targets.hpp"
#include "tests/testing/session_pair.hpp"

// NOLINTBEGIN(cppcoreguidelines-avoid-non-const-global-variables): counted by operator new.
static std::size_t allocated_bytes = 0;
static std::size_t allocated_bytes_peak = 0;
// NOLINTEND(cppcoreguidelines-avoid-non-const-global-variables)

void* operator new(std::size_t size) {
  void* memory = std::malloc(size);
  if (memory == nullptr) throw std::bad_alloc();
  allocated_bytes += malloc_usable_size(memory);
  allocated_bytes_peak = std::max(allocated_bytes_peak, allocated_bytes);
  return memory;
}
void operator delete(void* memory) noexcept {
  allocated_bytes -= malloc_usable_size(memory);
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  operator delete(memory);
}

namespace culvert::fuzz {
namespace {

using protocol::Bytes;

/// How much more memory than before was held at the worst moment of one call.
std::size_t peak_of(Target target, const Bytes& input) {
  const std::size_t before = allocated_bytes;
  allocated_bytes_peak = before;
  target(input);
  return allocated_bytes_peak - before;
}

std::vector<std::filesystem::path> corpus_of(const std::string& name) {
  const char* folder = std::getenv("CULVERT_CORPUS");
  std::vector<std::filesystem::path> files;
  if (folder == nullptr) return files;
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(folder) / name)) {
    files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

Bytes content_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return protocol::bytes_of(text);
}

struct Named {
  const char* name;
  Target target;
};
class Corpus : public testing::TestWithParam<Named> {};
INSTANTIATE_TEST_SUITE_P(
    , Corpus,
    testing::Values(Named{"enrolment_decode", enrolment_decode}, Named{"frame_decode", frame_decode},
                    Named{"message_decode", message_decode}, Named{"session", session},
                    Named{"http_authority", http_authority}, Named{"http_chunked", http_chunked},
                    Named{"http_path", http_path}, Named{"http_request", http_request},
                    Named{"http_response", http_response}, Named{"certificate_request", certificate_request},
                    Named{"join_token", join_token}, Named{"socks5", socks5}, Named{"token", token},
                    Named{"gateway_path", gateway_path}, Named{"token_answer", token_answer},
                    Named{"request_parameters", request_parameters}, Named{"destination", destination}),
    [](const auto& info) { return std::string(info.param.name); });

TEST_P(Corpus, is_there_and_no_file_of_it_breaks_a_law) {
  const auto files = corpus_of(GetParam().name);
  ASSERT_FALSE(files.empty()) << "set CULVERT_CORPUS to tests/fuzz/corpus";
  for (const auto& path : files) {
    SCOPED_TRACE(path);
    GetParam().target(content_of(path));
  }
}

/// Ten times the input, 4 KiB per stream, and what an empty session and its test driver hold.
std::size_t allowance(std::size_t input_bytes, std::size_t streams) {
  constexpr std::size_t fixed_bytes = 24 * 1024;
  return 10 * input_bytes + 4'096 * streams + fixed_bytes;
}

TEST(Amplification, no_file_of_the_session_corpus_costs_more_memory_than_ten_times_its_size) {
  for (const auto& path : corpus_of("session")) {
    const Bytes input = content_of(path);
    const std::size_t peak = peak_of(session, input);
    EXPECT_LE(peak, allowance(input.size(), session_streams_max())) << path;
  }
}

TEST(Amplification, neither_does_any_file_of_the_other_corpora) {
  for (const auto& [name, target] :
       {Named{"enrolment_decode", enrolment_decode}, Named{"http_authority", http_authority},
        Named{"http_chunked", http_chunked}, Named{"http_path", http_path}, Named{"http_request", http_request},
        Named{"http_response", http_response}, Named{"socks5", socks5}, Named{"token", token},
        Named{"gateway_path", gateway_path}, Named{"token_answer", token_answer},
        Named{"request_parameters", request_parameters}, Named{"destination", destination}}) {
    for (const auto& path : corpus_of(name)) {
      const Bytes input = content_of(path);
      EXPECT_LE(peak_of(target, input), allowance(input.size(), 0)) << path;
    }
  }
}

/// A server that was greeted hears this in one piece.
std::size_t peak_of_session(const Bytes& wire) {
  return peak_of(session, protocol::joined({Bytes{std::byte{3}, std::byte{0}}, wire}));
}

TEST(Amplification, neither_do_many_streams) {
  Bytes wire;
  for (protocol::StreamId id = 1; id < 20'000; id += 2) {
    const Bytes open = protocol::open_frame(id);
    wire.insert(wire.end(), open.begin(), open.end());
  }
  const std::size_t peak = peak_of_session(wire);
  EXPECT_LE(peak, allowance(wire.size(), 50)) << "refused beyond 50, and their answers unread";
}

TEST(Amplification, nor_does_the_message_with_the_most_elements) {
  // {"k": [1,024 empty strings], …}: each string is one byte here, and a string_view there.
  Bytes message{std::byte{0x83}};
  for (const char key : {'a', 'b', 'c'}) {
    message =
        protocol::joined({message,
                          {std::byte{0xa1}, static_cast<std::byte>(key), std::byte{0xdc}, std::byte{4}, std::byte{0}},
                          Bytes(protocol::message_array_entries_max, std::byte{0xa0})});
  }
  const std::size_t peak = peak_of(message_decode, message);
  RecordProperty("peak_bytes", static_cast<int>(peak));
  EXPECT_LE(peak, allowance(message.size(), 0));
  EXPECT_LE(peak_of_session(protocol::frame(protocol::FrameType::open, 1, message)), allowance(message.size(), 1));
}

TEST(Amplification, a_header_that_claims_4_GiB_costs_nothing) {
  Bytes header = protocol::frame(protocol::FrameType::open, 1);
  for (std::size_t i = 8; i < 12; ++i) header[i] = std::byte{0xff};
  EXPECT_LE(peak_of_session(header), allowance(header.size(), 0));
}

}  // namespace
}  // namespace culvert::fuzz
