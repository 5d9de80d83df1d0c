// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <msgpack/pack.hpp>

namespace culvert::protocol {

/// msgpack's packer over a growing vector.
class MessageWriter {
 public:
  /// `bytes`: room for most messages, so that the vector need not grow.
  explicit MessageWriter(std::uint32_t pairs, std::size_t bytes = 128) : packer_(sink_) {
    sink_.bytes.reserve(bytes);
    packer_.pack_map(pairs);
  }

  MessageWriter& put(std::string_view key, std::uint64_t value) {
    put_string(key);
    packer_.pack_uint64(value);
    return *this;
  }
  MessageWriter& put(std::string_view key, bool value) {
    put_string(key);
    value ? packer_.pack_true() : packer_.pack_false();
    return *this;
  }
  MessageWriter& put(std::string_view key, std::string_view value) {
    put_string(key);
    put_string(value);
    return *this;
  }
  MessageWriter& put(std::string_view key, std::span<const std::byte> value) {
    put_string(key);
    packer_.pack_bin(static_cast<std::uint32_t>(value.size()));
    packer_.pack_bin_body(reinterpret_cast<const char*>(value.data()), static_cast<std::uint32_t>(value.size()));
    return *this;
  }
  MessageWriter& put(std::string_view key, const std::vector<std::string>& values) {
    put_string(key);
    packer_.pack_array(static_cast<std::uint32_t>(values.size()));
    for (const auto& value : values) put_string(value);
    return *this;
  }
  std::vector<std::byte> take() { return std::move(sink_.bytes); }

 private:
  struct Sink {
    std::vector<std::byte> bytes;
    void write(const char* data, std::size_t size) {
      const auto more = std::as_bytes(std::span(data, size));
      bytes.insert(bytes.end(), more.begin(), more.end());
    }
  };
  void put_string(std::string_view text) {
    packer_.pack_str(static_cast<std::uint32_t>(text.size()));
    packer_.pack_str_body(text.data(), static_cast<std::uint32_t>(text.size()));
  }

  Sink sink_;
  msgpack::packer<Sink> packer_;
};

/// The text in a form that the peer accepts: well-formed UTF-8, cut between two characters. Texts quote systems and
/// peers, and one malformed REJECT would end the tunnel.
std::string sendable(std::string text);

}  // namespace culvert::protocol
